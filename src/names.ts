// The words that settings, policies and the gate share: the groups of routes, and the kinds of callers
// and of upstreams. A word that is added here does not compile until every table has a row for it.

/** Which routes a policy can name; src/accept/routes.ts says which route is of which group. */
export const ROUTE_GROUPS = [
  'models',
  'chat',
  'completions',
  'responses',
  'embeddings',
  'moderations',
  'images',
  'audio',
  'messages',
  'batches',
  'files',
  'conversations',
  'stored_chat',
] as const
export type RouteGroup = (typeof ROUTE_GROUPS)[number]

/** Those of OpenAI's API. */
export const OPENAI_GROUPS = [
  'models',
  'chat',
  'completions',
  'responses',
  'embeddings',
  'moderations',
  'images',
  'audio',
  'conversations',
  'stored_chat',
] as const satisfies readonly RouteGroup[]

/** In which header a server of OpenAI's API takes its key. */
export const KEY_HEADERS = ['authorization', 'api-key'] as const
export type KeyHeader = (typeof KEY_HEADERS)[number]

/** The same of Anthropic's API; a server on one's own machine may need none. */
export const ANTHROPIC_KEY_HEADERS = ['x-api-key', 'authorization', 'api-key', 'none'] as const
export type AnthropicKeyHeader = (typeof ANTHROPIC_KEY_HEADERS)[number]

export const CALLER_KINDS = ['user', 'device', 'key', 'session'] as const
export type CallerKind = (typeof CALLER_KINDS)[number]

export const UPSTREAM_KINDS = ['tinfoil', 'anthropic', 'anthropic-oauth', 'openai'] as const
export type UpstreamKind = (typeof UPSTREAM_KINDS)[number]
