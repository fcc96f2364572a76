// What Anthropic's API is, whoever's credential a request carries. Header and body lists are open here:
// what a client of today sends as a pair must arrive as a pair, so `anthropic-*` and `x-claude-code-*`
// pass as they came.

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
  /** As it is when a request asks for it. */
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
/** Where a client says none, it means the one that has always been there. */
const VERSION = '2023-06-01'

/** Those that tell one caller nothing of another: batches and files are everybody's of one key. */
const SHARED: readonly string[] = [
  'POST /v1/messages',
  'POST /v1/messages/count_tokens',
  'POST /v1/complete',
  'GET /v1/models',
  'GET /v1/models/:id',
]
export const servesAnthropic = serving('anthropic', SHARED)

/** What belongs to an account is the caller's own. */
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

/** What of a client's headers Anthropic reads; no credential is among them. */
export function clientHeaders(client: Headers): Record<string, string> {
  const headers = copyAllowed(TO_UPSTREAM, client)
  // Going through them one by one costs twice as much.
  const all: Readonly<Record<string, string>> = client.toJSON()
  for (const name in all) if (OPEN_PREFIXES.test(name)) headers[name] = all[name] ?? ''
  headers['anthropic-version'] ??= VERSION
  return headers
}

const meter: Upstream['meter'] = ({ method, path }, status, headers) => {
  if (path === '/v1/messages' && status < 300) {
    return anthropicUsageMeter(headers['content-type'], headers['content-encoding'])
  }
  // Messages that failed, legacy completions, and batches when they start, say nothing; the rest
  // uses nothing.
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
