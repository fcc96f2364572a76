// The routes of OpenAI's API that an upstream of this kind serves, by the groups in its settings.

import { OPENAI_GROUPS, type RouteGroup } from '../../names.ts'
import { serving, type Upstream } from '../upstream.ts'

/** Files and batches are everybody's of one key, so none is served here; of responses and conversations
 * their owners are known. */
const PATHS: Readonly<Record<(typeof OPENAI_GROUPS)[number], readonly string[]>> = {
  models: ['GET /v1/models', 'GET /v1/models/:id'],
  chat: ['POST /v1/chat/completions'],
  completions: ['POST /v1/completions'],
  responses: [
    'POST /v1/responses',
    'POST /v1/responses/compact',
    'POST /v1/responses/input_tokens',
    'GET /v1/responses/:id',
    'DELETE /v1/responses/:id',
    'POST /v1/responses/:id/cancel',
    'GET /v1/responses/:id/input_items',
  ],
  embeddings: ['POST /v1/embeddings'],
  moderations: ['POST /v1/moderations'],
  images: ['POST /v1/images/generations', 'POST /v1/images/edits'],
  conversations: [
    'POST /v1/conversations',
    'GET /v1/conversations/:id',
    'POST /v1/conversations/:id',
    'DELETE /v1/conversations/:id',
    'POST /v1/conversations/:id/items',
    'GET /v1/conversations/:id/items',
    'GET /v1/conversations/:id/items/:item',
    'DELETE /v1/conversations/:id/items/:item',
  ],
  stored_chat: [
    'GET /v1/chat/completions/:id',
    'POST /v1/chat/completions/:id',
    'DELETE /v1/chat/completions/:id',
    'GET /v1/chat/completions/:id/messages',
  ],
  audio: ['POST /v1/audio/transcriptions', 'POST /v1/audio/translations', 'POST /v1/audio/speech'],
}

export const servesOpenAi = (groups: readonly RouteGroup[]): Upstream['serves'] =>
  serving(
    'openai',
    OPENAI_GROUPS.filter((group) => groups.includes(group)).flatMap((group) => PATHS[group]),
  )

export const servesAllOfOpenAi = servesOpenAi(OPENAI_GROUPS)
