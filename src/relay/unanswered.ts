// What the client is told, and what the circuit breaker learns, if an upstream gave no response that
// may be passed on. Pure.

import { BodyRefused } from '../dispatch/body.ts'
import { causeOfFailure, causeOfStatus } from '../dispatch/plan.ts'
import type { End } from '../end.ts'
import type { AnswerHeaders } from '../http1/fields.ts'
import type { Failure } from '../http1/transport.ts'
import { type Refusal, refused } from '../refusal.ts'
import type { HeldAnswer } from '../upstream/held-answer.ts'
import type { EndedAttempt } from './again.ts'
import type { Unanswered } from './run.ts'

/** The refusal for a status that must not be passed on. */
export function unfitStatus(status: number): Refusal | undefined {
  const reason = `upstream status ${status}`
  if (status < 200 || status > 599) return refused('upstream_invalid', { reason })
  if (status >= 300 && status < 400) return refused('upstream_redirect', { reason })
  return undefined
}

/** Whether an error says that the upstream is healthy and overloaded. */
export function isOverload(
  status: number,
  headers: AnswerHeaders,
  held: HeldAnswer | undefined,
): boolean {
  if (status === 503 && headers['retry-after'] !== undefined) return true
  if (!held?.ok) return false
  const text = held.text.slice(0, OVERLOAD_CHARS).toLowerCase()
  return OVERLOAD.some((words) => text.includes(words))
}

/** The words of Anthropic, OpenAI and the clouds that serve their models. */
const OVERLOAD = [
  'overloaded',
  'rate limit',
  'rate_limit',
  'ratelimit',
  'throttl',
  'too many requests',
  'resource_exhausted',
  'slow down',
  'slowdown',
]
const OVERLOAD_CHARS = 2000

export const QUOTED: Unanswered = {
  refusal: refused('upstream_invalid', { reason: 'the answer quotes a credential of this gate' }),
  end: 'upstream_error',
  verdict: 'neutral',
}

type Unread = Extract<HeldAnswer, { ok: false }>['why']

/** For an error that could not be read whole. */
export function unreadable(why: Unread): Unanswered {
  if (why === 'broken') return stillborn(undefined)
  const code = why === 'too slow' ? 'upstream_timeout' : 'upstream_invalid'
  const refusal = refused(code, { reason: `error ${why}` })
  return { refusal, end: why === 'too slow' ? 'timeout' : 'upstream_error', verdict: 'neutral' }
}

/** A refused credential says nothing about the upstream's health. */
export const denied = (refusal: Refusal): Unanswered => ({
  refusal,
  end: 'refused',
  verdict: 'neutral',
})

/** For a request that nobody waits for any more, and that is not sent again. */
export const CANCELLED: Failure = { ok: false, kind: 'cancelled', reason: 'cancelled' }

/** For a response that broke before its first byte: nothing of it has been passed on. */
export function stillborn(ownCause: End | undefined): Unanswered {
  const reason = 'broke before the first byte'
  const verdict = ownCause === 'drained' ? 'neutral' : 'failure'
  return ownCause === 'timeout'
    ? { refusal: refused('upstream_timeout', { reason }), end: ownCause, verdict }
    : {
        refusal: refused('upstream_unavailable', { reason }),
        end: ownCause ?? 'upstream_error',
        verdict,
      }
}

export function failed({ kind, reason, cause }: Failure, ownCause: End | undefined): Unanswered {
  switch (kind) {
    case 'unreachable':
    case 'unanswered':
      return {
        refusal: refused('upstream_unavailable', { reason }),
        end: 'upstream_error',
        verdict: kind === 'unreachable' ? kind : 'failure',
      }
    case 'connect_timeout':
    case 'headers_timeout':
      return {
        refusal: refused('upstream_timeout', { reason }),
        end: 'timeout',
        verdict: kind === 'connect_timeout' ? 'unreachable' : 'failure',
      }
    case 'body_timeout':
      return { refusal: refused('request_timeout', { reason }), end: 'timeout', verdict: 'neutral' }
    case 'body_failed':
      return cause instanceof BodyRefused
        ? { refusal: cause.refusal, end: 'refused', verdict: 'neutral' }
        : {
            refusal: refused('bad_request', { reason: 'body ended early' }),
            end: 'client_gone',
            verdict: 'neutral',
          }
    case 'cancelled':
      return {
        refusal: refused('upstream_unavailable', { reason }),
        end: ownCause ?? 'drained',
        verdict: 'neutral',
      }
  }
}

/** Undefined where no other upstream may be asked. */
export function endedByFailure(failure: Failure, begun: boolean): EndedAttempt | undefined {
  const cause = causeOfFailure(failure, begun)
  if (!cause) return undefined
  const { verdict } = failed(failure, undefined)
  return { cause, verdict, reason: failure.reason, status: undefined, headers: {} }
}

/** The same of an answer, which passes then. */
export function endedByStatus(
  status: number,
  headers: AnswerHeaders,
  overload: boolean,
): EndedAttempt | undefined {
  const cause = causeOfStatus(status, overload)
  if (!cause || headers['x-should-retry'] === 'false') return undefined
  return { cause, verdict: 'neutral', reason: `upstream status ${status}`, status, headers }
}
