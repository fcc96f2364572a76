// Anthropic's API, whatever credential a request uses. The list of headers is open: clients send new
// headers and members in pairs, which must arrive together, so `anthropic-*` and `x-claude-code-*` pass
// unchanged.

import { inspectPlain } from '../inspected.ts'
import { placesWithQuery } from '../places.ts'
import { NO_USAGE } from '../reading/tally.ts'
import { copyAllowed, serving, type Upstream } from '../upstream.ts'
import { anthropicCost, foreignCost } from './cost.ts'
import { anthropicUsageMeter } from './usage.ts'

export interface AnthropicApiOptions {
  readonly name?: string
  /** Without `/v1`. Its query goes out with every request. */
  readonly baseUrl: URL
  /** Read for each request. */
  readonly maxBodyBytes: number
}

type AnthropicApi = Pick<
  Upstream,
  'bodies' | 'inspect' | 'costOf' | 'destination' | 'meter' | 'invalid'
>

const OWN_HOST = /(?:^|\.)anthropic\.com$/
const TO_UPSTREAM = ['content-type', 'content-encoding', 'accept', 'accept-encoding']
const OPEN_PREFIXES = /^(?:anthropic-|x-claude-code-)/
export const TO_CLIENT: readonly string[] = [
  'content-type',
  'content-encoding',
  'cache-control',
  'retry-after',
  'x-should-retry',
  'request-id',
]
/** A client that sends no version means the first one. */
const VERSION = '2023-06-01'

/** Routes that reveal nothing about other callers: all callers of one key share its batches and files. */
const SHARED: readonly string[] = [
  'POST /v1/messages',
  'POST /v1/messages/count_tokens',
  'POST /v1/complete',
  'GET /v1/models',
  'GET /v1/models/:id',
]
export const servesAnthropic = serving('anthropic', SHARED)

/** The account is the caller's own, so all of its routes are served. */
export const servesAccount = serving('anthropic', [
  ...SHARED,
  'POST /v1/messages/batches',
  'GET /v1/messages/batches',
  'GET /v1/messages/batches/:id',
  'POST /v1/messages/batches/:id/cancel',
  'GET /v1/messages/batches/:id/results',
  'DELETE /v1/messages/batches/:id',
  'POST /v1/files',
  'GET /v1/files',
  'GET /v1/files/:id',
  'GET /v1/files/:id/content',
  'DELETE /v1/files/:id',
])

/** The client's headers that Anthropic reads, without credentials. */
export function clientHeaders(client: Headers): Record<string, string> {
  const headers = copyAllowed(TO_UPSTREAM, client)
  // Iterating over them costs twice as much.
  const all: Readonly<Record<string, string>> = client.toJSON()
  for (const name in all) if (OPEN_PREFIXES.test(name)) headers[name] = all[name] ?? ''
  headers['anthropic-version'] ??= VERSION
  return headers
}

const meter: Upstream['meter'] = ({ method, path }, status, headers) => {
  if (path === '/v1/messages' && status < 300) {
    return anthropicUsageMeter(headers['content-type'], headers['content-encoding'])
  }
  // Failed messages, legacy completions and new batches report no usage; other routes use nothing.
  const silent = method === 'POST' && SILENT.has(path)
  return { end: () => (silent ? undefined : NO_USAGE) }
}

const SILENT = new Set(['/v1/messages', '/v1/complete', '/v1/messages/batches'])

export function anthropicApi(options: AnthropicApiOptions): AnthropicApi {
  const placeOf = placesWithQuery(options.baseUrl)
  return {
    bodies: 'plain',
    inspect: (headers, hasBody) => inspectPlain(headers, hasBody, options.maxBodyBytes),
    costOf: OWN_HOST.test(options.baseUrl.hostname) ? anthropicCost : foreignCost,
    destination: ({ path, search }) => placeOf(path, search),
    meter,
    invalid: () => undefined,
  }
}
