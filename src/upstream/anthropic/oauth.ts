// Anthropic for the person who has signed in: their own account, with a renewable token. A request
// contains what its program sent, the token, and the one value of `anthropic-beta` without which the API
// accepts no tokens. The gate imitates no other client, adds nothing to a prompt, and uses only the
// account of the session.

import { type Refusal, refused } from '../../refusal.ts'
import type { AnswerHeaders } from '../../http1/fields.ts'
import { errorMessage } from '../forbidden.ts'
import { allowedValues, setAllowed, type Upstream } from '../upstream.ts'
import {
  anthropicApi,
  type AnthropicApiOptions,
  clientHeaders,
  servesAllOfAnthropic,
  TO_CLIENT,
} from './api.ts'

export interface AnthropicOAuthOptions extends AnthropicApiOptions {
  readonly accessToken: NonNullable<Upstream['credential']>
}

const BETA = 'oauth-2025-04-20'
/** The account's limits are the caller's own. Our own limit's headers are not overwritten. */
const ACCOUNT_LIMITS = /^anthropic-ratelimit-[a-z-]{1,64}$/
const MAX_LIMIT_LENGTH = 64

export function anthropicOAuth(options: AnthropicOAuthOptions): Upstream {
  const { name = 'anthropic-oauth', accessToken } = options
  return {
    ...anthropicApi(options),
    name,
    kind: 'anthropic-oauth',
    serves: servesAllOfAnthropic,
    // Refreshing a token for a check would take it from the running gate.
    checks: [],
    async credential(identity, now, rejected) {
      const token = await accessToken(identity, now, rejected)
      return token.ok || token.code !== 'upstream_auth' ? token : notAccepted(token.reason)
    },
    requestHeaders(client, credential) {
      // Sending a request without a token would hide the bug.
      if (credential === undefined) throw new Error('no access token was asked for')
      const headers = clientHeaders(client)
      headers['anthropic-beta'] = withBeta(headers['anthropic-beta'] ?? '')
      return { ...headers, authorization: `Bearer ${credential}` }
    },
    answerHeaders(upstream, to) {
      setAllowed(TO_CLIENT, upstream, to)
      for (const [name, value] of limitsOf(upstream)) if (!to.has(name)) to.set(name, value)
    },
    passes: (upstream) => [
      ...allowedValues(TO_CLIENT, upstream),
      ...limitsOf(upstream).map(([, value]) => value),
    ],
    credentialRefused(status, body) {
      if (status === 401) return notAccepted('upstream status 401')
      if (status !== 403) return undefined
      // Only Anthropic can say what a plan or an organisation forbids.
      const words = errorMessage(body)
      return refused('upstream_forbidden', {
        reason: 'upstream status 403',
        ...(words !== undefined && { message: words }),
      })
    },
  }
}

/** The caller's own values unchanged, and ours once. */
function withBeta(values: string): string {
  const listed = values.split(',').map((each) => each.trim())
  if (listed.includes(BETA)) return values
  return values.trim() === '' ? BETA : `${values},${BETA}`
}

const REFUSED_SIGN_IN =
  'the API does not accept this sign-in; sign in again at /auth/device or with postern login'

function notAccepted(reason = 'refused'): Refusal {
  return refused('session_ended', { reason, message: REFUSED_SIGN_IN })
}

function limitsOf(upstream: AnswerHeaders): [string, string][] {
  return Object.entries(upstream).flatMap(([name, value]): [string, string][] =>
    value !== undefined && value.length <= MAX_LIMIT_LENGTH && ACCOUNT_LIMITS.test(name)
      ? [[name, value]]
      : [],
  )
}
