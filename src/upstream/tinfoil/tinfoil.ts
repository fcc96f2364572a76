// The upstream Tinfoil. Its enclaves read bodies that the gate cannot; they report usage in a header, or in a
// trailer after a stream.

import type { Revealing } from '../../secret.ts'
import { type Decision, granted } from '../../refusal.ts'
import type { Lookup } from './enclave.ts'
import { openAiCost } from '../reading/openai-cost.ts'
import { tinfoilMeter } from './meter.ts'
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
} from '../upstream.ts'

export interface TinfoilOptions extends SealRules {
  readonly name?: string
  readonly baseUrl: URL
  readonly apiKey: Revealing
  readonly lookup?: Lookup
  /** Whether a host is reached through a proxy, which then resolves its name; the gate may have no DNS. */
  readonly isProxied?: (hostname: string, port: number) => boolean
}

const RESPONSE_NONCE = 'ehbp-response-nonce'

/** Bodies pass unchanged in both directions, and so do their content codings. */
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

export const servesTinfoil = serving('openai', [
  'GET /v1/models',
  'POST /v1/chat/completions',
  'POST /v1/chat/completions/input_tokens',
  'POST /v1/completions',
  'POST /v1/responses',
  'POST /v1/responses/input_tokens',
  'POST /v1/embeddings',
  'POST /v1/audio/transcriptions',
  'POST /v1/audio/translations',
  'POST /v1/audio/speech',
  'POST /v1/convert/file',
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
    // TLS still verifies the name, and the list of allowed hosts still applies.
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
    meter: tinfoilMeter,
    // EHBP: the enclave did not produce a 2xx to a sealed request without the nonce.
    invalid: ({ sealed }, status, headers) =>
      sealed && status < 300 && !NONCE.test(String(headers[RESPONSE_NONCE]))
        ? 'sealed request, answer without nonce'
        : undefined,
  }
}
