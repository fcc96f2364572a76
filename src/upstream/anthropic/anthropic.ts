// Anthropic with the operator's key. What describes the operator's account does not come back.

import type { Revealing } from '../../secret.ts'
import { allowedValues, operatorsKeyRefused, setAllowed, type Upstream } from '../upstream.ts'
import {
  anthropicApi,
  type AnthropicApiOptions,
  clientHeaders,
  servesAnthropic,
  TO_CLIENT,
} from './api.ts'

export interface AnthropicOptions extends AnthropicApiOptions {
  readonly apiKey: Revealing
}

export function anthropic(options: AnthropicOptions): Upstream {
  const { name = 'anthropic', apiKey } = options
  return {
    ...anthropicApi(options),
    name,
    kind: 'anthropic',
    serves: servesAnthropic,
    checks: [{ path: '/v1/models', withKey: true }],
    requestHeaders(client) {
      const headers = clientHeaders(client)
      headers['x-api-key'] = apiKey.reveal()
      return headers
    },
    answerHeaders: (upstream, to) => setAllowed(TO_CLIENT, upstream, to),
    passes: (upstream) => allowedValues(TO_CLIENT, upstream),
    credentialRefused: operatorsKeyRefused,
  }
}
