// The routes that an upstream may serve, for any upstream and any caller. Routes of our own are declared
// beside their handlers. Every other request is 404 or 405.

import { CALLER_KINDS, type CallerKind, type RouteGroup } from '../names.ts'
import type { Choices } from '../dispatch/choose.ts'
import type { Dialect } from '../refusal.ts'
import type { Endpoint } from '../upstream/upstream.ts'
import { KEPT_ROUTES } from './kept-routes.ts'
import type { RelayedRoute } from './relayed-route.ts'

/** A route that this gate serves, in one of its dialects. */
export interface ServedRoute extends Omit<RelayedRoute, 'dialects'> {
  readonly dialect: Dialect
  readonly choices: Choices
  /** The kinds of callers that reach an upstream. */
  readonly kinds: readonly CallerKind[]
}

/** dispatch/choose.ts decides which upstream serves a route, and for whom. */
export const RELAYED_ROUTES: readonly RelayedRoute[] = [
  {
    method: 'GET',
    path: '/v1/models',
    group: 'models',
    dialects: ['openai', 'anthropic'],
    about: "Lists models; in Anthropic's form if `anthropic-version` or `x-api-key` is sent.",
  },
  {
    method: 'GET',
    path: '/v1/models/:id',
    group: 'models',
    dialects: ['openai', 'anthropic'],
    about: 'Describes one model.',
  },
  openai('GET', '/v1/models/:id/:item', 'models', 'Describes one model whose name has a slash.'),
  openai('POST', '/v1/chat/completions', 'chat', 'Creates a chat completion.'),
  openai(
    'POST',
    '/v1/chat/completions/input_tokens',
    'chat',
    'Counts the input tokens of a chat completion.',
  ),
  openai('POST', '/v1/completions', 'completions', 'Creates a text completion.'),
  openai('POST', '/v1/responses', 'responses', 'Creates a response.'),
  openai('POST', '/v1/responses/compact', 'responses', 'Compacts a conversation.'),
  openai(
    'POST',
    '/v1/responses/input_tokens',
    'responses',
    'Counts the input tokens of a response.',
  ),
  openai('GET', '/v1/responses/:id', 'responses', "Returns the caller's own stored response."),
  openai('DELETE', '/v1/responses/:id', 'responses', 'Deletes a stored response.'),
  openai('POST', '/v1/responses/:id/cancel', 'responses', 'Cancels a background response.'),
  openai('GET', '/v1/responses/:id/input_items', 'responses', 'Lists the input of a response.'),
  {
    ...openai(
      'GET',
      '/v1/chat/completions',
      'stored_chat',
      "Lists the caller's own stored chat completions.",
    ),
    lists: true,
  },
  storedChat('GET', '', "Returns the caller's own stored chat completion."),
  storedChat('POST', '', 'Changes the metadata of a stored chat completion.'),
  storedChat('DELETE', '', 'Deletes a stored chat completion.'),
  storedChat('GET', '/messages', 'Lists the messages of a stored chat completion.'),
  conversation('POST', '', 'Creates a conversation of the caller.'),
  conversation('GET', '/:id', "Returns the caller's own conversation."),
  conversation('POST', '/:id', 'Changes the metadata of a conversation.'),
  conversation('DELETE', '/:id', 'Deletes a conversation.'),
  conversation('POST', '/:id/items', 'Adds items to a conversation.'),
  conversation('GET', '/:id/items', 'Lists the items of a conversation.'),
  conversation('GET', '/:id/items/:item', 'Returns one item.'),
  conversation('DELETE', '/:id/items/:item', 'Deletes one item.'),
  openai('POST', '/v1/embeddings', 'embeddings', 'Creates embeddings.'),
  openai('POST', '/v1/moderations', 'moderations', 'Moderates text or images.'),
  openai('POST', '/v1/images/generations', 'images', 'Creates images from text.'),
  openai('POST', '/v1/images/edits', 'images', 'Edits images.'),
  openai('POST', '/v1/images/variations', 'images', 'Creates variations of an image.'),
  openai('POST', '/v1/audio/transcriptions', 'audio', 'Transcribes speech.'),
  openai('POST', '/v1/audio/translations', 'audio', 'Translates speech into English text.'),
  openai('POST', '/v1/audio/speech', 'audio', 'Converts text to speech.'),
  {
    ...openai('POST', '/v1/convert/file', 'documents', 'Converts a document to text.'),
    unpriced: 'a document to convert',
  },
  anthropic('POST', '/v1/messages', 'messages', 'Creates a message.'),
  anthropic(
    'POST',
    '/v1/messages/count_tokens',
    'messages',
    'Counts the input tokens of a message.',
  ),
  anthropic('POST', '/v1/complete', 'completions', 'Creates a legacy completion.'),
  ...KEPT_ROUTES,
]

/** A WebSocket: realtime/realtime.ts is its door. */
export const REALTIME_ROUTE: RelayedRoute = openai(
  'GET',
  '/v1/realtime',
  'realtime',
  'Opens a realtime session, by WebSocket.',
)

export const CLIENT_SECRETS_ROUTE: RelayedRoute = openai(
  'POST',
  '/v1/realtime/client_secrets',
  'realtime',
  'Creates a secret of this gate with which a browser opens realtime sessions.',
)

/**
 * `choose` returns the upstreams that each caller reaches on a route. A route that nobody reaches is not
 * served.
 */
export function servedRoutes(
  choose: (endpoint: Endpoint) => Choices,
  routes: readonly RelayedRoute[] = RELAYED_ROUTES,
): readonly ServedRoute[] {
  return routes.flatMap(({ dialects, ...route }) =>
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
