// Any server that speaks OpenAI's API: OpenAI and Azure, OpenRouter, Groq, Together, Mistral, vLLM,
// Ollama, llama.cpp. Bodies go and answers come back as they are; what describes the operator's account
// there does not come back.

import type { KeyHeader, RouteGroup } from '../../names.ts'
import type { Revealing } from '../../secret.ts'
import { inspectPlain } from '../inspected.ts'
import { placesWithQuery } from '../places.ts'
import { openAiCost } from '../reading/openai-cost.ts'
import {
  allowedValues,
  copyAllowed,
  operatorsKeyRefused,
  setAllowed,
  type Upstream,
} from '../upstream.ts'
import { openAiMeter } from './meter.ts'
import { referencesIn } from './references.ts'
import { servesOpenAi } from './routes.ts'

export interface OpenAiOptions {
  readonly name?: string
  /**
   * As clients of the API have it, with `/v1` or what stands in its place. Its query goes out with
   * every request: `api-version`.
   */
  readonly baseUrl: URL
  /** Undefined for a server that asks for none. */
  readonly apiKey: Revealing | undefined
  readonly keyHeader: KeyHeader
  /** That go out with every request; names in lower case. */
  readonly headers: readonly (readonly [name: string, value: string])[]
  readonly routes: readonly RouteGroup[]
  readonly maxBodyBytes: number
}

const TO_UPSTREAM = [
  'content-type',
  'content-encoding',
  'accept',
  'accept-encoding',
  'openai-beta',
  'idempotency-key',
]
const TO_CLIENT = [
  'content-type',
  'content-encoding',
  'content-language',
  'content-disposition',
  'cache-control',
  'retry-after',
  'retry-after-ms',
  'x-should-retry',
  'openai-processing-ms',
]
/** The paths of our own table begin with it, and the base URL ends in it or in what is there instead. */
const VERSION = '/v1'
/** Of a route's pattern, or of a path. */
const REFERRING =
  /^\/v1\/(?:responses(?:\/compact|\/input_tokens)?|conversations(?:\/[^/]+\/items)?)$/

export function openAi(options: OpenAiOptions): Upstream {
  const { name = 'openai', baseUrl, apiKey } = options
  const placeOf = placesWithQuery(baseUrl)
  return {
    name,
    kind: 'openai',
    serves: servesOpenAi(options.routes),
    bodies: 'plain',
    inspect: (headers, hasBody) => inspectPlain(headers, hasBody, options.maxBodyBytes),
    checks: [{ path: '/v1/models', withKey: apiKey !== undefined }],
    costOf: openAiCost,
    destination: ({ path, search }) => placeOf(path.slice(VERSION.length), search),
    requestHeaders(client) {
      const headers = copyAllowed(TO_UPSTREAM, client)
      for (const [header, value] of options.headers) headers[header] = value
      if (apiKey === undefined) return headers
      const { keyHeader } = options
      headers[keyHeader] = keyHeader === 'api-key' ? apiKey.reveal() : `Bearer ${apiKey.reveal()}`
      return headers
    },
    answerHeaders: (upstream, to) => setAllowed(TO_CLIENT, upstream, to),
    passes: (upstream) => allowedValues(TO_CLIENT, upstream),
    credentialRefused: operatorsKeyRefused,
    meter: openAiMeter(options.routes.includes('stored_chat')),
    referring: (path) => (REFERRING.test(path) ? referencesIn : undefined),
    invalid: () => undefined,
  }
}
