// The routes of OpenAI's API that an upstream of this kind serves, by the groups in its settings.

import { OPENAI_GROUPS, type RouteGroup } from '../../names.ts'
import { serving, type Upstream } from '../upstream.ts'

const kept = (path: string, ...methods: readonly string[]): readonly string[] =>
  methods.map((method) => `${method} ${path}`)

const PATHS: Readonly<Record<(typeof OPENAI_GROUPS)[number], readonly string[]>> = {
  models: ['GET /v1/models', 'GET /v1/models/:id', 'GET /v1/models/:id/:item'],
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
  images: ['generations', 'edits', 'variations'].map((made) => `POST /v1/images/${made}`),
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
    'GET /v1/chat/completions',
    'GET /v1/chat/completions/:id',
    'POST /v1/chat/completions/:id',
    'DELETE /v1/chat/completions/:id',
    'GET /v1/chat/completions/:id/messages',
  ],
  files: [
    ...kept('/v1/files', 'POST', 'GET'),
    ...kept('/v1/files/:id', 'GET', 'DELETE'),
    'GET /v1/files/:id/content',
  ],
  uploads: [
    'POST /v1/uploads',
    'POST /v1/uploads/:id/parts',
    'POST /v1/uploads/:id/complete',
    'POST /v1/uploads/:id/cancel',
  ],
  batches: [
    ...kept('/v1/batches', 'POST', 'GET'),
    'GET /v1/batches/:id',
    'POST /v1/batches/:id/cancel',
  ],
  vector_stores: [
    ...kept('/v1/vector_stores', 'POST', 'GET'),
    ...kept('/v1/vector_stores/:id', 'GET', 'POST', 'DELETE'),
    'POST /v1/vector_stores/:id/search',
    ...kept('/v1/vector_stores/:id/files', 'POST', 'GET'),
    ...kept('/v1/vector_stores/:id/files/:item', 'GET', 'POST', 'DELETE'),
    'GET /v1/vector_stores/:id/files/:item/content',
    'POST /v1/vector_stores/:id/file_batches',
    'GET /v1/vector_stores/:id/file_batches/:item',
    'POST /v1/vector_stores/:id/file_batches/:item/cancel',
    'GET /v1/vector_stores/:id/file_batches/:item/files',
  ],
  containers: [
    ...kept('/v1/containers', 'POST', 'GET'),
    ...kept('/v1/containers/:id', 'GET', 'DELETE'),
    ...kept('/v1/containers/:id/files', 'POST', 'GET'),
    ...kept('/v1/containers/:id/files/:item', 'GET', 'DELETE'),
    'GET /v1/containers/:id/files/:item/content',
  ],
  fine_tuning: [
    ...kept('/v1/fine_tuning/jobs', 'POST', 'GET'),
    'GET /v1/fine_tuning/jobs/:id',
    'POST /v1/fine_tuning/jobs/:id/cancel',
    'POST /v1/fine_tuning/jobs/:id/pause',
    'POST /v1/fine_tuning/jobs/:id/resume',
    'GET /v1/fine_tuning/jobs/:id/events',
    'GET /v1/fine_tuning/jobs/:id/checkpoints',
  ],
  realtime: ['GET /v1/realtime', 'POST /v1/realtime/client_secrets'],
  audio: ['POST /v1/audio/transcriptions', 'POST /v1/audio/translations', 'POST /v1/audio/speech'],
}

export const servesOpenAi = (groups: readonly RouteGroup[]): Upstream['serves'] =>
  serving(
    'openai',
    OPENAI_GROUPS.filter((group) => groups.includes(group)).flatMap((group) => PATHS[group]),
  )

export const servesAllOfOpenAi = servesOpenAi(OPENAI_GROUPS)
