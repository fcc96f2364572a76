// Anthropic's API, whatever credential a request uses. The list of headers is open: clients send new
// headers and members in pairs, which must arrive together, so `anthropic-*` and `x-claude-code-*` pass
// unchanged.

import { ANTHROPIC_GROUPS, type RouteGroup } from '../../names.ts'
import { inspectPlain } from '../inspected.ts'
import { placesWithQuery } from '../places.ts'
import { batchResultsMeter } from '../reading/batch-results.ts'
import { madeMeter } from '../reading/made.ts'
import { NO_USAGE } from '../reading/tally.ts'
import { copyAllowed, serving, type Upstream, type UsageMeter } from '../upstream.ts'
import { anthropicCost, foreignCost } from './cost.ts'
import { namesResults, withOwnResults } from './results-url.ts'
import { anthropicUsageMeter, RESULTS } from './usage.ts'

export interface AnthropicApiOptions {
  readonly name?: string
  /** Without `/v1`. Its query goes out with every request. */
  readonly baseUrl: URL
  /** Read for each request. */
  readonly maxBodyBytes: number
}

type AnthropicApi = Pick<
  Upstream,
  'bodies' | 'inspect' | 'costOf' | 'destination' | 'meter' | 'rewriting' | 'invalid'
>

const OWN_HOST = /(?:^|\.)anthropic\.com$/
const TO_UPSTREAM = ['content-type', 'content-encoding', 'accept', 'accept-encoding']
const OPEN_PREFIXES = /^(?:anthropic-|x-claude-code-)/
export const TO_CLIENT: readonly string[] = [
  'content-type',
  'content-encoding',
  // Of a file.
  'content-disposition',
  'cache-control',
  'retry-after',
  'x-should-retry',
  'request-id',
]
/** A client that sends no version means the first one. */
const VERSION = '2023-06-01'

const PATHS: Readonly<Record<(typeof ANTHROPIC_GROUPS)[number], readonly string[]>> = {
  models: ['GET /v1/models', 'GET /v1/models/:id'],
  messages: ['POST /v1/messages', 'POST /v1/messages/count_tokens'],
  completions: ['POST /v1/complete'],
  batches: [
    'POST /v1/messages/batches',
    'GET /v1/messages/batches',
    'GET /v1/messages/batches/:id',
    'POST /v1/messages/batches/:id/cancel',
    'GET /v1/messages/batches/:id/results',
    'DELETE /v1/messages/batches/:id',
  ],
  files: [
    'POST /v1/files',
    'GET /v1/files',
    'GET /v1/files/:id',
    'GET /v1/files/:id/content',
    'DELETE /v1/files/:id',
  ],
}

export const servesAnthropic = (groups: readonly RouteGroup[]): Upstream['serves'] =>
  serving(
    'anthropic',
    ANTHROPIC_GROUPS.filter((group) => groups.includes(group)).flatMap((group) => PATHS[group]),
  )

export const servesAllOfAnthropic = servesAnthropic(ANTHROPIC_GROUPS)

/** The client's headers that Anthropic reads, without credentials. */
export function clientHeaders(client: Headers): Record<string, string> {
  const headers = copyAllowed(TO_UPSTREAM, client)
  // Iterating over them costs twice as much.
  const all: Readonly<Record<string, string>> = client.toJSON()
  for (const name in all) if (OPEN_PREFIXES.test(name)) headers[name] = all[name] ?? ''
  headers['anthropic-version'] ??= VERSION
  return headers
}

const meter: Upstream['meter'] = ({ method, path }, status, headers, kept) => {
  if (path === '/v1/messages' && status < 300) {
    return anthropicUsageMeter(headers['content-type'], headers['content-encoding'], kept)
  }
  if (method === 'POST' && path === '/v1/files') {
    return status < 300 ? madeMeter(headers, kept) : FREE
  }
  if (method === 'POST' && path === '/v1/messages/batches' && status < 300) {
    const made = madeMeter(headers, kept)
    return { ...made, end: (trailers, isComplete) => void made.end(trailers, isComplete) }
  }
  const [, id] = (method === 'GET' && status === 200 && RESULTS_PATH.exec(path)) || []
  if (id !== undefined) return batchResultsMeter(headers, { id, isFile: false }, RESULTS)
  // Failed messages, legacy completions and new batches report no usage; other routes use nothing.
  return method === 'POST' && SILENT.has(path) ? NOTHING_SAID : FREE
}

const RESULTS_PATH = /^\/v1\/messages\/batches\/([^/]+)\/results$/
const FREE: UsageMeter = { end: () => NO_USAGE }
const NOTHING_SAID: UsageMeter = { end: () => undefined }
const SILENT = new Set(['/v1/messages', '/v1/complete', '/v1/messages/batches'])

export function anthropicApi(options: AnthropicApiOptions): AnthropicApi {
  const placeOf = placesWithQuery(options.baseUrl)
  return {
    bodies: 'plain',
    inspect: (headers, hasBody) => inspectPlain(headers, hasBody, options.maxBodyBytes),
    costOf: OWN_HOST.test(options.baseUrl.hostname) ? anthropicCost : foreignCost,
    destination: ({ path, search }) => placeOf(path, search),
    meter,
    rewriting: (method, path) => (namesResults(method, path) ? withOwnResults : undefined),
    invalid: () => undefined,
  }
}
