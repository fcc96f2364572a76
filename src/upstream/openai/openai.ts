// Any server that speaks OpenAI's API: OpenAI and Azure, OpenRouter, Groq, Together, Mistral, vLLM,
// Ollama, llama.cpp. Bodies pass unchanged in both directions; headers about the operator's account are
// not passed to clients.

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
import { referringTo } from './references.ts'
import { servesOpenAi } from './routes.ts'

export interface OpenAiOptions {
  readonly name?: string
  /**
   * As clients of the API write it, with `/v1` or its replacement. Its query, such as `api-version`, is
   * sent with every request.
   */
  readonly baseUrl: URL
  /** Undefined for a server that needs none. */
  readonly apiKey: Revealing | undefined
  readonly keyHeader: KeyHeader
  /** Headers for every request; names in lower case. */
  readonly headers: readonly (readonly [name: string, value: string])[]
  readonly routes: readonly RouteGroup[]
  /** Callers of this gate make files and the like, at this upstream or another with its key. */
  readonly hasFiles: boolean
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
/** The paths in our own table begin with it, and the base URL ends in it or in its replacement. */
const VERSION = '/v1'
export function openAi(options: OpenAiOptions): Upstream {
  const { name = 'openai', baseUrl, apiKey } = options
  const placeOf = placesWithQuery(baseUrl)
  const keepsChats = options.routes.includes('stored_chat')
  const kept = { hasFiles: options.hasFiles, keepsChats }
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
    meter: openAiMeter(keepsChats),
    referring: (path) => referringTo(path, kept),
    invalid: () => undefined,
  }
}
