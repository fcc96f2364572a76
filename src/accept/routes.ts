// The routes that an upstream may serve, for any upstream and any caller. Routes of our own are declared
// beside their handlers. Every other request is 404 or 405.

import { CALLER_KINDS, type CallerKind, type RouteGroup } from '../names.ts'
import type { Choices } from '../dispatch/choose.ts'
import type { Dialect } from '../refusal.ts'
import type { Endpoint } from '../upstream/upstream.ts'

/** A route that an upstream may serve, in each dialect that has it. */
export interface RelayedRoute {
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** The segments `:id` and `:item` are names: of a model, a batch, a file. */
  readonly path: string
  readonly group: RouteGroup
  /** It runs no model: what it sends is kept, and paid for where it is used. */
  readonly runsNothing?: true
  /** If there are two, the request's headers decide. */
  readonly dialects: readonly Dialect[]
  readonly about: string
}

/** A route that this gate serves, in one of its dialects. */
export interface ServedRoute extends Omit<RelayedRoute, 'dialects'> {
  readonly dialect: Dialect
  readonly choices: Choices
  /** The kinds of callers that reach an upstream. */
  readonly kinds: readonly CallerKind[]
}

/** dispatch/choose.ts says which upstream serves a route, and for whom. */
export const RELAYED_ROUTES: readonly RelayedRoute[] = [
  {
    method: 'GET',
    path: '/v1/models',
    group: 'models',
    dialects: ['openai', 'anthropic'],
    about: "The models on offer; Anthropic's where `anthropic-version` or `x-api-key` is sent.",
  },
  {
    method: 'GET',
    path: '/v1/models/:id',
    group: 'models',
    dialects: ['openai', 'anthropic'],
    about: 'One of the models.',
  },
  openai('POST', '/v1/chat/completions', 'chat', 'Chat completions.'),
  openai('POST', '/v1/completions', 'completions', 'Text completions.'),
  openai('POST', '/v1/responses', 'responses', 'Responses.'),
  openai('POST', '/v1/responses/compact', 'responses', 'Sums up what was said.'),
  openai('POST', '/v1/responses/input_tokens', 'responses', 'Counts what a response would read.'),
  openai('GET', '/v1/responses/:id', 'responses', 'One that was stored, for its own caller.'),
  openai('DELETE', '/v1/responses/:id', 'responses', 'Deletes it.'),
  openai('POST', '/v1/responses/:id/cancel', 'responses', 'Ends one in the background.'),
  openai('GET', '/v1/responses/:id/input_items', 'responses', 'What it was asked.'),
  storedChat('GET', '', 'One that was stored, for its own caller.'),
  storedChat('POST', '', 'Changes its metadata.'),
  storedChat('DELETE', '', 'Deletes it.'),
  storedChat('GET', '/messages', 'What it was asked.'),
  conversation('POST', '', 'Begins a conversation, which is for its own caller.'),
  conversation('GET', '/:id', 'One of them.'),
  conversation('POST', '/:id', 'Changes its metadata.'),
  conversation('DELETE', '/:id', 'Deletes it.'),
  conversation('POST', '/:id/items', 'Adds items to it.'),
  conversation('GET', '/:id/items', 'Its items.'),
  conversation('GET', '/:id/items/:item', 'One of them.'),
  conversation('DELETE', '/:id/items/:item', 'Deletes one.'),
  openai('POST', '/v1/embeddings', 'embeddings', 'Embeddings.'),
  openai('POST', '/v1/moderations', 'moderations', 'Moderations.'),
  openai('POST', '/v1/images/generations', 'images', 'Pictures from text.'),
  openai('POST', '/v1/images/edits', 'images', 'Pictures from pictures.'),
  openai('POST', '/v1/audio/transcriptions', 'audio', 'Speech to text.'),
  openai('POST', '/v1/audio/translations', 'audio', 'Speech to English text.'),
  openai('POST', '/v1/audio/speech', 'audio', 'Text to speech.'),
  anthropic('POST', '/v1/messages', 'messages', 'Messages.'),
  anthropic('POST', '/v1/messages/count_tokens', 'messages', 'Counts tokens.'),
  anthropic('POST', '/v1/complete', 'completions', 'Legacy completions.'),
  anthropic('POST', '/v1/messages/batches', 'batches', 'Starts a batch.'),
  anthropic('GET', '/v1/messages/batches', 'batches', 'The batches.'),
  anthropic('GET', '/v1/messages/batches/:id', 'batches', 'One of them.'),
  anthropic('POST', '/v1/messages/batches/:id/cancel', 'batches', 'Ends it early.'),
  anthropic('GET', '/v1/messages/batches/:id/results', 'batches', 'Its results.'),
  anthropic('DELETE', '/v1/messages/batches/:id', 'batches', 'Deletes it.'),
  anthropic('POST', '/v1/files', 'files', 'Uploads a file.'),
  anthropic('GET', '/v1/files', 'files', 'The files.'),
  anthropic('GET', '/v1/files/:id', 'files', "A file's metadata."),
  anthropic('GET', '/v1/files/:id/content', 'files', 'Its content.'),
  anthropic('DELETE', '/v1/files/:id', 'files', 'Deletes it.'),
]

/** `choose` says who reaches which upstream on a route. A route that nobody reaches is not served. */
export function servedRoutes(choose: (endpoint: Endpoint) => Choices): readonly ServedRoute[] {
  return RELAYED_ROUTES.flatMap(({ dialects, ...route }) =>
    dialects.flatMap((dialect): ServedRoute[] => {
      const { method, path } = route
      const choices = choose({ dialect, method, path })
      const kinds = CALLER_KINDS.filter((kind) => choices[kind].length > 0)
      return kinds.length === 0 ? [] : [{ ...route, dialect, choices, kinds }]
    }),
  )
}

function openai(
  method: RelayedRoute['method'],
  path: string,
  group: RouteGroup,
  about: string,
): RelayedRoute {
  return { method, path, group, dialects: ['openai'], about }
}

function storedChat(method: RelayedRoute['method'], below: string, about: string): RelayedRoute {
  const route = openai(method, `/v1/chat/completions/:id${below}`, 'stored_chat', about)
  return { ...route, runsNothing: true }
}

function conversation(method: RelayedRoute['method'], below: string, about: string): RelayedRoute {
  const route = openai(method, `/v1/conversations${below}`, 'conversations', about)
  return { ...route, runsNothing: true }
}

function anthropic(
  method: RelayedRoute['method'],
  path: string,
  group: RouteGroup,
  about: string,
): RelayedRoute {
  return { method, path, group, dialects: ['anthropic'], about }
}
