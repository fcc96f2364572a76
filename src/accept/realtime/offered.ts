// The sub-protocols that a client of the realtime API offers (RFC 6455 §11.3.4). A browser can send no
// header of its own with a WebSocket, so that its credential is one of them. It is taken out here: it is
// neither answered nor sent on. Pure.

import { IDEMPOTENCY } from '../../dispatch/idempotency.ts'
import { type Decision, granted, refused } from '../../refusal.ts'

export const REALTIME = 'realtime'
const KEY = 'openai-insecure-api-key.'
const BETA = 'openai-beta.realtime-v1'
const HEADER = 'sec-websocket-protocol'

export interface OfferedProtocols {
  /** What is answered, and offered to the upstream. */
  readonly protocol: typeof REALTIME | undefined
  readonly token: string | undefined
  /** Asks for the API as it was in its beta, as `OpenAI-Beta: realtime=v1` does. */
  readonly isBeta: boolean
}

export function offeredIn(headers: Headers): Decision<OfferedProtocols> {
  const offered = (headers.get(HEADER) ?? '').split(',').map((each) => each.trim())
  const tokens = offered.filter((each) => each.startsWith(KEY))
  if (tokens.length > 1) {
    return refused('ambiguous_credentials', { reason: 'two credentials in sub-protocols' })
  }
  return granted({
    protocol: offered.includes(REALTIME) ? REALTIME : undefined,
    token: tokens[0]?.slice(KEY.length),
    isBeta: offered.includes(BETA),
  })
}

const CREDENTIALS = ['authorization', 'x-api-key', 'api-key'] as const
const BETA_HEADER = 'openai-beta'

/**
 * The headers with that credential where all others look for it. A refusal if another one was sent too.
 */
export function headersWith(sent: Headers, { token, isBeta }: OfferedProtocols): Decision<Headers> {
  const headers = new Headers(sent)
  headers.delete(HEADER)
  // Other callers have the same keys for theirs (dispatch/idempotency.ts), and a session is never repeated.
  headers.delete(IDEMPOTENCY)
  if (isBeta && !headers.has(BETA_HEADER)) headers.set(BETA_HEADER, 'realtime=v1')
  if (token === undefined) return granted(headers)
  if (CREDENTIALS.some((each) => headers.has(each))) {
    return refused('ambiguous_credentials', {
      message: 'a sub-protocol and a header both carry a credential; send one',
    })
  }
  headers.set('authorization', `Bearer ${token}`)
  return granted(headers)
}
