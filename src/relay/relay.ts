// The relay: an outgoing request becomes an answer whose bytes nobody here reads. Whatever happens,
// each request ends exactly once, its lease is given back then, and a broken answer looks broken.

import { BodyRefused } from '../dispatch/body.ts'
import type { Outgoing } from '../dispatch/dispatch.ts'
import type { Verdict } from '../budget/breaker.ts'
import type { Charge } from '../budget/charge.ts'
import type { Reserved } from '../budget/budget.ts'
import type { End, Exchange } from '../exchange.ts'
import { type Refusal, refusalResponse, refused, statusOf } from '../refusal.ts'
import type { Settle } from '../settle/settle.ts'
import type { Call, Failure, Timeouts, Transport } from '../upstream/transport.ts'
import type { UsageMeter } from '../upstream/upstream.ts'
import type { Client } from './client.ts'
import { type Passage, passage } from './passage.ts'

export interface Relay {
  send(outgoing: Outgoing, taken: Taken, exchange: Exchange, client: Client): Promise<Response>
  /** Breaks every stream that still runs; each is recorded as drained. */
  breakAll(): void
  readonly running: number
}

/** What was taken for this request, and is given back or settled when it has ended. */
export interface Taken {
  readonly reserved: Reserved
  readonly charge: Charge
}

export interface RelayOptions {
  readonly transport: Transport
  readonly timeouts: Timeouts
  /** How long neither side may move a byte. */
  readonly idleMs: number
  readonly settle: Settle
}

interface Running {
  check(now: number): void
  break(end: End): void
}

/** How exactly idle time is kept: one timer for all streams, none reset on each chunk. */
const WATCH_INTERVAL_MS = 500

export function relaying({ transport, timeouts, idleMs, settle }: RelayOptions): Relay {
  const running = new Set<Running>()
  const watch = setInterval(() => {
    const now = performance.now()
    for (const each of running) each.check(now)
  }, WATCH_INTERVAL_MS)
  watch.unref()

  const send: Relay['send'] = async (outgoing, { reserved, charge }, exchange, client) => {
    const { upstream, asked } = outgoing
    let { call } = outgoing
    let flight = transport.send(call, timeouts)
    let ended = false
    let passing: Passage | undefined
    let meter: UsageMeter | undefined
    /** Whether the upstream may count this request as done, and as owed. */
    let owed = true
    /** Why it ends as it does, where we ourselves are the reason. */
    let cause: End | undefined

    const finish = (end: End, verdict: Verdict): void => {
      if (ended) return
      ended = true
      running.delete(self)
      client.signal.removeEventListener('abort', leave)
      charge.pass.report(verdict, performance.now())
      reserved.release()
      settle(exchange, end, {
        reservation: charge.reservation,
        usage: meter?.end(passing?.trailers ?? {}),
        owed,
      })
    }
    const leave = (): void => {
      cause ??= 'client_gone'
      // First: the end of the flight would be taken for the upstream's failure.
      finish(cause, 'neutral')
      client.release()
      passing?.drop()
      flight.cancel()
    }
    const breakWith = (end: End): void => {
      cause ??= end
      flight.cancel()
      passing?.cut()
    }
    const self: Running = {
      break: breakWith,
      check(now) {
        if (!passing || now - passing.movedAt < idleMs) return
        const { stalled } = passing
        breakWith('timeout')
        if (!stalled) return
        finish('timeout', 'neutral')
        passing.reset()
      },
    }
    running.add(self)
    client.signal.addEventListener('abort', leave, { once: true })
    if (client.signal.aborted) leave()

    const refuse = ({ refusal, end, verdict }: Unanswered): Response => {
      client.release()
      exchange.status ??= statusOf(refusal)
      exchange.code = refusal.code
      if (refusal.reason !== undefined) exchange.reason = refusal.reason
      finish(end, verdict)
      return refusalResponse(refusal, exchange)
    }

    let head = await flight.head
    if (head.ok && head.status === 401 && outgoing.renew) {
      owed = false
      flight.cancel()
      const renewed = await outgoing.renew()
      if (cause !== undefined) return refuse(failed(CANCELLED, cause))
      if (!renewed.ok) return refuse(denied(renewed))
      // What was passed on as it came is gone; the credential's next request is the better for it.
      if (!isHeld(call)) return refuse(denied(refused('upstream_auth', BODY_IS_GONE)))
      call = renewed.value
      flight = transport.send(call, timeouts)
      head = await flight.head
    }
    if (!head.ok) {
      owed = head.kind === 'headers_timeout' || head.kind === 'cancelled'
      return refuse(failed(head, cause))
    }
    const { status, headers, body } = head
    charge.pass.answered(status, performance.now())
    owed = status < 300
    if (upstream.denied && (status === 401 || status === 403)) {
      const refusal = await upstream.denied(head, call.headers)
      flight.cancel()
      return refuse(denied(refusal))
    }
    const invalid = upstream.invalid(asked, status, headers)
    const unfit =
      unfitStatus(status) ?? (invalid && refused('upstream_invalid', { reason: invalid }))
    if (unfit) {
      flight.cancel()
      return refuse({ refusal: unfit, end: 'upstream_error', verdict: 'failure' })
    }

    exchange.headersMs = performance.now() - exchange.at.monotonicMs
    meter = upstream.meter(asked, status, headers)
    passing = passage(body, {
      onReceived: meter.push,
      onBytes(bytes) {
        exchange.firstByteMs ??= performance.now() - exchange.at.monotonicMs
        exchange.bytesOut += bytes
      },
      onEnd(end) {
        if (end === 'complete') {
          client.release()
          return finish('complete', 'success')
        }
        finish(cause ?? 'upstream_error', cause === 'drained' ? 'neutral' : 'failure')
        client.breakOff(() => passing?.reset(), cause === 'drained')
      },
      onCancel: leave,
    })
    if (!passing.complete) {
      // Bun holds the end of a head back until there is a body (oven-sh/bun#33660), so that waiting
      // for the first byte delays nothing; and an upstream that dies before it can still be told of.
      if (!(await passing.begun)) return refuse(stillborn(cause))
      // Most short answers have all come a turn later.
      await nextTurn()
    }
    exchange.status = status
    upstream.answerHeaders(headers, exchange.headers)
    const init = { status, headers: exchange.headers }
    if (NULL_BODY_STATUSES.has(status)) {
      flight.cancel()
      passing.cut()
      client.release()
      finish('complete', 'success')
      return new Response(null, init)
    }
    // Sent whole, an answer keeps a Content-Length; Bun would give one without a Content-Type a type
    // of its own, so those go as a stream.
    const whole = exchange.headers.has('content-type') ? passing.whole() : undefined
    return new Response(whole ?? passing.stream(), init)
  }

  return {
    send,
    breakAll() {
      for (const each of running) each.break('drained')
    },
    get running() {
      return running.size
    },
  }
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Statuses that carry no body (RFC 9110 §15.3.5, §15.3.6); 304 answers conditions we never send. */
const NULL_BODY_STATUSES = new Set([204, 205])

/** A status that must not be passed on as it is, and what is said instead. */
function unfitStatus(status: number): Refusal | undefined {
  const reason = `upstream status ${status}`
  if (status < 200 || status > 599) return refused('upstream_invalid', { reason })
  if (status >= 300 && status < 400) return refused('upstream_redirect', { reason })
  // It is our key that was refused: the caller can't mend it, and the body may echo the key.
  if (status === 401 || status === 403) return refused('upstream_auth', { reason })
  return undefined
}

/** How a request ends whose upstream gave no answer to pass on. */
interface Unanswered {
  readonly refusal: Refusal
  readonly end: End
  /** For the circuit breaker: was it the upstream's fault? */
  readonly verdict: Verdict
}

/** What of an own account the caller is told; it says nothing of the upstream's health. */
const denied = (refusal: Refusal): Unanswered => ({ refusal, end: 'refused', verdict: 'neutral' })

/** Of a request that nobody waits for any more, and that is not sent again. */
const CANCELLED: Failure = { ok: false, kind: 'cancelled', reason: 'cancelled' }

const BODY_IS_GONE = {
  reason: 'credential renewed, body is gone',
  message: 'the credential was refused and has been renewed; send the request again',
}

const isHeld = ({ body }: Call): boolean => body === undefined || body instanceof Uint8Array

/** Of an answer that broke before its first byte: nothing of it has been passed on. */
function stillborn(ownCause: End | undefined): Unanswered {
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

function failed({ kind, reason, cause }: Failure, ownCause: End | undefined): Unanswered {
  switch (kind) {
    case 'unreachable':
      return {
        refusal: refused('upstream_unavailable', { reason }),
        end: 'upstream_error',
        verdict: 'failure',
      }
    case 'connect_timeout':
    case 'headers_timeout':
      return {
        refusal: refused('upstream_timeout', { reason }),
        end: 'timeout',
        verdict: 'failure',
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
