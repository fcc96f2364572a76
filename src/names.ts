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
  'uploads',
  'vector_stores',
  'containers',
  'fine_tuning',
  'conversations',
  'stored_chat',
  'realtime',
  'documents',
] as const
export type RouteGroup = (typeof ROUTE_GROUPS)[number]

/** Those of OpenAI's API that a policy has to name. */
const OPENAI_NAMED_GROUPS = [
  'batches',
  'files',
  'uploads',
  'vector_stores',
  'containers',
  'fine_tuning',
  'realtime',
] as const satisfies readonly RouteGroup[]

/**
 * Routes that keep something at the upstream under the operator's key, spend what no answer tells, or
 * spend for as long as a connection lasts: a policy allows them only if it names them.
 */
export const NAMED_GROUPS = [
  ...OPENAI_NAMED_GROUPS,
  'documents',
] as const satisfies readonly RouteGroup[]
const NAMED: ReadonlySet<RouteGroup> = new Set(NAMED_GROUPS)

/** What a policy allows that names no groups. */
export const USUAL_GROUPS: readonly RouteGroup[] = ROUTE_GROUPS.filter((group) => !NAMED.has(group))

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
  ...OPENAI_NAMED_GROUPS,
] as const satisfies readonly RouteGroup[]

/** Those of Anthropic's API. */
export const ANTHROPIC_GROUPS = [
  'models',
  'messages',
  'completions',
  'batches',
  'files',
] as const satisfies readonly RouteGroup[]

/** Those that run a model and keep nothing that has to be found again: another upstream may answer. */
export const FALLBACK_GROUPS = [
  'chat',
  'completions',
  'responses',
  'embeddings',
  'moderations',
  'images',
  'audio',
  'messages',
] as const satisfies readonly RouteGroup[]

/**
 * Why a request may go to another upstream: no connection was made; the circuit is open; the upstream
 * refused for its load; it failed; it closed the connection without an answer. The last two may be billed.
 */
export const FALLBACK_CAUSES = ['unreachable', 'open', 'overloaded', '5xx', 'unanswered'] as const
export type FallbackCause = (typeof FALLBACK_CAUSES)[number]

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
