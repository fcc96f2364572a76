// What a caller is told of an upstream's answer that opens no WebSocket.

import type { End } from '../end.ts'
import type { UpstreamAnswer } from '../http1/transport.ts'
import { isOverload, QUOTED, unfitStatus, unreadable } from '../relay/unanswered.ts'
import { type Refusal, refused } from '../refusal.ts'
import type { Echo } from '../upstream/echo.ts'
import { holdAnswer } from '../upstream/held-answer.ts'
import type { Upstream } from '../upstream/upstream.ts'

export interface RefusedRequest {
  readonly refusal: Refusal
  readonly end: End
  /** The upstream's own words, which pass in the place of the refusal. */
  readonly passes?: {
    readonly status: number
    readonly body: Uint8Array
    to(headers: Headers): void
  }
  /** The upstream is healthy, and has too much to do. */
  readonly isOverload?: boolean
  /** The status that told of our key. */
  readonly keyStatus?: number
}

export async function refusedBy(
  upstream: Upstream,
  head: UpstreamAnswer,
  echo: Echo,
): Promise<RefusedRequest> {
  const { status, headers } = head
  if (status < 300) return noWebSocket(status)
  const unfit = unfitStatus(status)
  if (unfit) return { refusal: unfit, end: 'upstream_error' }
  const held = await holdAnswer(head)
  if (!held.ok) return unreadable(held.why)
  const quotes =
    upstream.passes(headers).some((value) => echo.inValue(value)) ||
    echo.inBody(held.text) ||
    echo.inBody(held.raw)
  const about = upstream.credentialRefused(status, status === 401 || quotes ? '' : held.text)
  const overloaded = status >= 500 && isOverload(status, headers, held)
  if (about) {
    const isOurKey = about.code === 'upstream_auth'
    return { refusal: about, end: 'refused', ...(isOurKey && { keyStatus: status }) }
  }
  if (quotes) return QUOTED
  return {
    refusal: refused('upstream_invalid', { reason: `upstream status ${status}` }),
    end: 'complete',
    isOverload: overloaded,
    passes: {
      status,
      body: Buffer.from(held.raw, 'latin1'),
      to: (own) => upstream.answerHeaders(headers, own),
    },
  }
}

const noWebSocket = (status: number): RefusedRequest => ({
  refusal: refused('upstream_invalid', { reason: `handshake: upstream status ${status}` }),
  end: 'upstream_error',
})
