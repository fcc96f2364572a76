// Anthropic with the operator's key. Header and body lists are open there: what a client of today
// sends as a pair must arrive as a pair, so `anthropic-*` and `x-claude-code-*` pass as they came.
// What describes the operator's account does not come back.

import type { Revealing } from '../../secret.ts'
import { anthropicCost } from './cost.ts'
import { anthropicUsageMeter } from './usage.ts'
import { inspectPlain } from '../inspected.ts'
import { NO_USAGE } from '../reading/tally.ts'
import { placesUnder } from '../places.ts'
import {
  allowedValues,
  copyAllowed,
  operatorsKeyRefused,
  serving,
  setAllowed,
  type Upstream,
} from '../upstream.ts'

export interface AnthropicOptions {
  readonly name?: string
  readonly baseUrl: URL
  readonly apiKey: Revealing
  readonly maxBodyBytes: number
}

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

/** What of a client's headers Anthropic reads; no credential is among them. */
export function clientHeaders(client: Headers): Record<string, string> {
  const headers = copyAllowed(TO_UPSTREAM, client)
  // Going through them one by one costs twice as much.
  const all: Readonly<Record<string, string>> = client.toJSON()
  for (const name in all) if (OPEN_PREFIXES.test(name)) headers[name] = all[name] ?? ''
  headers['anthropic-version'] ??= VERSION
  return headers
}

export const anthropicMeter: Upstream['meter'] = ({ method, path }, status, headers) => {
  if (path === '/v1/messages' && status < 300) {
    return anthropicUsageMeter(headers['content-type'], headers['content-encoding'])
  }
  // Messages that failed, legacy completions, and batches when they start, say nothing; the rest
  // uses nothing.
  const silent = method === 'POST' && SILENT.has(path)
  return { end: () => (silent ? undefined : NO_USAGE) }
}

const SILENT = new Set(['/v1/messages', '/v1/complete', '/v1/messages/batches'])

/** Those that tell one caller nothing of another: batches and files are everybody's of one key. */
export const PATHS: readonly string[] = [
  'POST /v1/messages',
  'POST /v1/messages/count_tokens',
  'POST /v1/complete',
  'GET /v1/models',
  'GET /v1/models/:id',
]
export const servesAnthropic = serving('anthropic', PATHS)

export function anthropic(options: AnthropicOptions): Upstream {
  const { name = 'anthropic', baseUrl, apiKey, maxBodyBytes } = options
  const placeOf = placesUnder(baseUrl)
  return {
    name,
    kind: 'anthropic',
    serves: servesAnthropic,
    bodies: 'plain',
    inspect: (headers, hasBody) => inspectPlain(headers, hasBody, maxBodyBytes),
    checks: [{ path: '/v1/models', withKey: true }],
    costOf: anthropicCost,
    destination: ({ path, search }) => placeOf(path, search),
    requestHeaders(client) {
      const headers = clientHeaders(client)
      headers['x-api-key'] = apiKey.reveal()
      return headers
    },
    answerHeaders: (upstream, to) => setAllowed(TO_CLIENT, upstream, to),
    passes: (upstream) => allowedValues(TO_CLIENT, upstream),
    credentialRefused: operatorsKeyRefused,
    meter: anthropicMeter,
    invalid: () => undefined,
  }
}
