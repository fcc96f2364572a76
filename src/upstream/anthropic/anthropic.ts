// Anthropic with the operator's key, or another server that speaks its dialect. Headers about the
// operator's account are not passed to clients.

import type { AnthropicKeyHeader, RouteGroup } from '../../names.ts'
import type { Revealing } from '../../secret.ts'
import { allowedValues, operatorsKeyRefused, setAllowed, type Upstream } from '../upstream.ts'
import {
  anthropicApi,
  type AnthropicApiOptions,
  clientHeaders,
  servesAnthropic,
  TO_CLIENT,
} from './api.ts'
import { anthropicReferring } from './references.ts'

export interface AnthropicOptions extends AnthropicApiOptions {
  /** Undefined for a server that needs none. */
  readonly apiKey: Revealing | undefined
  readonly keyHeader: AnthropicKeyHeader
  readonly routes: readonly RouteGroup[]
  /** Callers of this gate make files and batches, at this upstream or another with its key. */
  readonly hasFiles: boolean
  /** Headers for every request; names in lower case. */
  readonly headers: readonly (readonly [name: string, value: string])[]
}

export function anthropic(options: AnthropicOptions): Upstream {
  const { name = 'anthropic', apiKey, keyHeader } = options
  return {
    ...anthropicApi(options),
    name,
    kind: 'anthropic',
    serves: servesAnthropic(options.routes),
    checks: [{ path: '/v1/models', withKey: apiKey !== undefined }],
    requestHeaders(client) {
      const headers = clientHeaders(client)
      for (const [header, value] of options.headers) headers[header] = value
      if (apiKey === undefined) return headers
      const key = apiKey.reveal()
      headers[keyHeader] = keyHeader === 'authorization' ? `Bearer ${key}` : key
      return headers
    },
    answerHeaders: (upstream, to) => setAllowed(TO_CLIENT, upstream, to),
    passes: (upstream) => allowedValues(TO_CLIENT, upstream),
    credentialRefused: operatorsKeyRefused,
    referring: (path) => (options.hasFiles ? anthropicReferring(path) : undefined),
  }
}
