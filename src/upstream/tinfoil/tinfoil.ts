// Tinfoil: where a request goes and with whose key. Its enclaves read what we cannot; what they say
// of usage comes in a header, or in a trailer after a stream.

import type { Revealing } from '../../secret.ts'
import { type Decision, granted } from '../../refusal.ts'
import type { Lookup } from './enclave.ts'
import type { AnswerHeaders } from '../../http1/fields.ts'
import type { Meter } from '../reading/metering.ts'
import { openAiCost } from '../reading/openai-cost.ts'
import { openAiUsageMeter } from '../reading/openai-usage.ts'
import { NO_USAGE } from '../reading/tally.ts'
import { parseTinfoilUsage } from './usage.ts'
import { type Destination, destinationOf } from '../../http1/destination.ts'
import { placesUnder } from '../places.ts'
import { ENCAPSULATED_KEY } from '../inspected.ts'
import { inspectSealed, type SealRules } from './inspect.ts'
import { resolving } from './resolving.ts'
import {
  allowedValues,
  copyAllowed,
  operatorsKeyRefused,
  serving,
  setAllowed,
  type Upstream,
  type UsageMeter,
} from '../upstream.ts'

export interface TinfoilOptions extends SealRules {
  readonly name?: string
  readonly baseUrl: URL
  readonly apiKey: Revealing
  readonly lookup?: Lookup
  /** Whether a proxy leads to a host: then that resolves its name, and here there may be no DNS. */
  readonly isProxied?: (hostname: string, port: number) => boolean
}

const RESPONSE_NONCE = 'ehbp-response-nonce'
const USAGE_HEADER = 'x-tinfoil-usage-metrics'

/** A body goes and an answer comes back as it is, so the codings of both pass with them. */
const TO_UPSTREAM = [
  'content-type',
  'content-encoding',
  'accept',
  'accept-encoding',
  ENCAPSULATED_KEY,
]
const TO_CLIENT = [
  'content-type',
  'content-encoding',
  'content-language',
  'content-disposition',
  'cache-control',
  'retry-after',
  RESPONSE_NONCE,
]

/** EHBP 0.3.1: 32 bytes in hexadecimal. */
const NONCE = /^[0-9a-f]{64}$/i

const HTTPS_PORT = 443

const plainMeter = (headers: AnswerHeaders): Meter | undefined =>
  openAiUsageMeter(headers['content-type'], headers['content-encoding'])

/** As bytes: a text would be encoded anew for each chunk. */
const ERROR = Buffer.from('"error"')
const USAGE = Buffer.from('"usage":{')

const asBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

export const servesTinfoil = serving('openai', [
  'GET /v1/models',
  'POST /v1/chat/completions',
  'POST /v1/completions',
  'POST /v1/responses',
  'POST /v1/embeddings',
  'POST /v1/audio/transcriptions',
  'POST /v1/audio/speech',
])

export function tinfoil(options: TinfoilOptions): Upstream {
  const { name = 'tinfoil', baseUrl, apiKey, lookup, isProxied } = options
  const placeOf = placesUnder(baseUrl)
  const enclaves = resolving(lookup)

  const chosen = async (
    host: string,
    target: string,
    identity: string,
    now: number,
  ): Promise<Decision<Destination>> => {
    // The certificate is the name's all the same, and the list is what it was.
    if (isProxied?.(host, HTTPS_PORT))
      return granted(destinationOf(new URL(target, `https://${host}`)))
    const found = await enclaves.resolve(host, identity, now)
    if (!found.ok) return found
    const { url, address } = found.value
    return granted(destinationOf(new URL(target, url), address))
  }

  return {
    name,
    kind: 'tinfoil',
    serves: servesTinfoil,
    bodies: options.requireEhbp ? 'sealed' : 'both',
    inspect: (headers, hasBody) => inspectSealed(headers, hasBody, options),
    checks: [
      { path: '/.well-known/hpke-keys', withKey: false },
      { path: '/v1/models', withKey: true },
    ],
    costOf: openAiCost,
    destination({ path, search, enclaveHost, identity = '' }, now) {
      return enclaveHost === undefined
        ? placeOf(path, search)
        : chosen(enclaveHost, path + search, identity, now)
    },
    requestHeaders(client) {
      const headers = copyAllowed(TO_UPSTREAM, client)
      headers['x-tinfoil-request-usage-metrics'] = 'true'
      headers['authorization'] = `Bearer ${apiKey.reveal()}`
      return headers
    },
    answerHeaders: (upstream, to) => setAllowed(TO_CLIENT, upstream, to),
    passes: (upstream) => allowedValues(TO_CLIENT, upstream),
    credentialRefused: operatorsKeyRefused,
    meter({ method, sealed }, status, headers) {
      const told = parseTinfoilUsage(headers[USAGE_HEADER])
      if (told) return { end: () => told }
      if (method === 'GET') return { end: () => NO_USAGE }
      // Nobody but the client can read what is sealed.
      const plain = sealed || status >= 300 ? undefined : plainMeter(headers)
      const end: UsageMeter['end'] = (trailers, isComplete) => {
        const read = plain?.end(trailers, isComplete)
        const trailer = parseTinfoilUsage(trailers[USAGE_HEADER])
        return trailer && read?.sawError !== undefined
          ? { ...trailer, sawError: read.sawError }
          : (trailer ?? read)
      }
      if (!plain) return { end }
      // The usage comes after the stream: to take each event apart would cost as much as to pass it on.
      // An error, or usage all the same, is read where a chunk holds it.
      const isCoded = headers['content-encoding'] !== undefined
      if (!isCoded && headers['trailer']?.toLowerCase().includes(USAGE_HEADER)) {
        return {
          push: (chunk, now) => {
            const bytes = asBuffer(chunk)
            if (bytes.includes(ERROR) || bytes.includes(USAGE)) plain.push(chunk, now)
          },
          end,
        }
      }
      return { push: (chunk, now) => plain.push(chunk, now), end }
    },
    // EHBP: a 2xx to a sealed request without the nonce was not made by the enclave.
    invalid: ({ sealed }, status, headers) =>
      sealed && status < 300 && !NONCE.test(String(headers[RESPONSE_NONCE]))
        ? 'sealed request, answer without nonce'
        : undefined,
  }
}
