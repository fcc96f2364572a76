// The relay: sends a request upstream and passes the response on without reading it. Whatever happens,
// each request ends exactly once, its lease is released then, and a broken response looks broken.

import type { Outgoing } from '../dispatch/dispatch.ts'
import type { Exchange } from '../exchange.ts'
import { refused } from '../refusal.ts'
import type { Settle, SettleAttempt } from '../settle/settle.ts'
import { type Echo, echoOf, echoOfEither } from '../upstream/echo.ts'
import { holdAnswer, ofBytes } from '../upstream/held-answer.ts'
import type { KeyRefused } from '../upstream/key-refused.ts'
import type { UpstreamRequest } from '../http1/request.ts'
import type { Timeouts, Transport } from '../http1/transport.ts'
import { Unordered } from '../turn/unordered.ts'
import type { Again, EndedAttempt } from './again.ts'
import type { RelayClient } from './client.ts'
import { sayStreamed } from './streamed.ts'
import {
  type IsFirstRead,
  type NoteKept,
  RunningRequest,
  type RequestHoldings,
  type Unanswered,
} from './run.ts'
import {
  CANCELLED,
  denied,
  endedByFailure,
  endedByStatus,
  failed,
  isOverload,
  QUOTED,
  stillborn,
  unfitStatus,
  unreadable,
} from './unanswered.ts'

export interface Relay {
  send(
    outgoing: Outgoing,
    taken: RequestHoldings,
    exchange: Exchange,
    client: RelayClient,
    /** Only for a request that may be sent again, which then keeps its body. */
    again?: Again,
  ): Promise<Response>
  /** Breaks every stream that still runs; each is recorded as drained. */
  breakAll(): void
  /** After a bug of ours: nothing stays that was taken for this request, whose refusal ends its record. */
  abandon(exchange: Exchange): void
  readonly running: number
}

export interface RelayOptions {
  readonly transport: Transport
  readonly timeouts: Timeouts
  /** How long both sides may stand still. */
  readonly idleMs: () => number
  readonly settle: Settle
  readonly settleAttempt: SettleAttempt
  /** Of what an upstream keeps: the caller whose request made it. */
  readonly noteKept: NoteKept
  readonly isFirstRead: IsFirstRead
  readonly keyRefused: KeyRefused
}

/**
 * The resolution of idle timeouts, and how late a client's abort may be noticed before the response
 * begins: one timer serves all requests.
 */
const WATCH_INTERVAL_MS = 100

export function relaying(options: RelayOptions): Relay {
  const { transport, timeouts, idleMs, settle, settleAttempt, keyRefused } = options
  const { noteKept, isFirstRead } = options
  const told = { settle, settleAttempt, noteKept, isFirstRead }
  const running = new Unordered<RunningRequest>()
  const watch = setInterval(() => {
    const now = performance.now()
    for (const each of running.all()) each.check(now, idleMs())
  }, WATCH_INTERVAL_MS)
  watch.unref()

  const send: Relay['send'] = (outgoing, taken, exchange, client, again) => {
    const sent = transport.send(outgoing.call, timeouts)
    const run = new RunningRequest(running, told, taken, exchange, client, sent)
    return attempt(run, outgoing, exchange, client, again)
  }

  /** Sends what comes next in the place of an attempt without an answer, if anything does. */
  const follow = async (
    run: RunningRequest,
    again: Again | undefined,
    ended: EndedAttempt | undefined,
  ): Promise<Outgoing | undefined> => {
    if (!again || !ended || !run.hasSlot) return undefined
    run.listen()
    const next = run.isOver() ? undefined : await again.next(ended, run)
    if (!next) return undefined
    if (!run.isOver()) {
      run.replace(next, ended, transport.send(next.outgoing.call, timeouts))
      return next.outgoing
    }
    next.charge.reservation?.release()
    next.charge.pass.report('neutral', performance.now())
    return undefined
  }

  // No closures here: they would keep the request and its body alive as long as the response runs.
  const attempt = async (
    run: RunningRequest,
    outgoing: Outgoing,
    exchange: Exchange,
    client: RelayClient,
    again?: Again,
    /** Of the attempts before. */
    earlier?: Echo,
  ): Promise<Response> => {
    const { upstream, asked } = outgoing
    let { call } = outgoing
    // While a request body is still streaming, listen for abort at once, so that we can tell our client's
    // end from the upstream's.
    if (!isHeld(call)) run.listen()

    let head = await run.flight.head
    if (head.ok && head.status === 401 && outgoing.renew) {
      run.owed = false
      run.flight.cancel()
      const renewed = await outgoing.renew()
      if (run.cause !== undefined) return run.refuse(failed(CANCELLED, run.cause))
      if (!renewed.ok) return run.refuse(denied(renewed))
      // A streamed body cannot be sent again. Refuse this request; the renewed credential serves the next.
      if (!isHeld(call)) return run.refuse(denied(refused('credential_renewed', BODY_IS_GONE)))
      call = renewed.value
      run.flight = transport.send(call, timeouts)
      run.owed = undefined
      head = await run.flight.head
    }
    if (!head.ok) {
      const next = again && (await follow(run, again, endedByFailure(head, run.flight.begun)))
      if (!next) return run.refuse(failed(head, run.cause))
      const sent = echoOfEither(earlier, echoOf(call.headers))
      return attempt(run, next, exchange, client, again, sent)
    }
    const { status } = head
    let { headers } = head
    const now = performance.now()
    const pass = run.permit
    if (status < 500) pass.answered(status, now)
    run.owed = status < 300
    const invalid = upstream.invalid(asked, status, headers)
    const unfit =
      unfitStatus(status) ?? (invalid && refused('upstream_invalid', { reason: invalid }))
    if (unfit) return giveUp(run, { refusal: unfit, end: 'upstream_error', verdict: 'failure' })
    const echo = echoOfEither(earlier, echoOf(call.headers))
    let quotes = upstream.passes(headers).some((value) => echo.inValue(value))
    let { body } = head
    if (status >= 400) {
      // An error may quote what it was sent, and a 403 has to be understood: no error passes
      // unread.
      const held = status === 401 ? undefined : await holdAnswer(head)
      if (held?.ok) {
        body = held.body
        quotes ||= echo.inBody(held.text) || echo.inBody(held.raw)
      }
      const overload = status >= 500 && isOverload(status, headers, held)
      if (status >= 500) pass.answered(status, performance.now(), overload)
      if (again && run.cause === undefined) {
        const next = await follow(run, again, endedByStatus(status, headers, overload))
        if (next) return attempt(run, next, exchange, client, again, echo)
      }
      if (run.cause !== undefined) return giveUp(run, stillborn(run.cause))
      const refusal = upstream.credentialRefused(status, held?.ok && !quotes ? held.text : '')
      if (refusal) {
        if (refusal.code === 'upstream_auth') keyRefused(upstream, status, now)
        return giveUp(run, denied(refusal))
      }
      if (held && !held.ok) return giveUp(run, unreadable(held.why))
    }
    if (quotes) return giveUp(run, QUOTED)
    if (outgoing.rewrite && status < 300) {
      const held = await holdAnswer(head)
      if (run.cause !== undefined) return giveUp(run, stillborn(run.cause))
      if (!held.ok) return giveUp(run, unreadable(held.why))
      const rewritten = outgoing.rewrite(Buffer.from(held.text, 'latin1'))
      if (!rewritten.ok) {
        return giveUp(run, { refusal: rewritten, end: 'refused', verdict: 'neutral' })
      }
      body = ofBytes(rewritten.value)
      headers = { ...headers, 'content-encoding': undefined }
    }

    exchange.headersMs = now - exchange.at.monotonicMs
    const passing = run.pass(body, upstream.meter(asked, status, headers, run), now)
    if (!passing.complete) {
      // Bun sends the end of a head only with the first byte of a body (oven-sh/bun#33660). So
      // waiting for that byte delays nothing, and an upstream that dies before it still gets a
      // proper error.
      if (!(await passing.begun)) return run.refuse(stillborn(run.cause))
      // Most short responses are complete one turn later.
      await nextTurn()
    }
    // A short response is complete before any of it passes.
    if (passing.complete && passing.someHeld(echo.inBytes)) return giveUp(run, QUOTED)
    exchange.status = status
    upstream.answerHeaders(headers, exchange.headers)
    if (again && status >= 400) again.tellSoonest(exchange.headers)
    sayStreamed(exchange.headers)
    const init = { status, headers: exchange.headers }
    if (NULL_BODY_STATUSES.has(status)) {
      run.flight.cancel()
      passing.cut()
      client.release()
      run.finish('complete', 'success')
      return new Response(null, init)
    }
    // A response sent whole keeps its Content-Length. Bun would add a Content-Type to one that has
    // none, so those are streamed.
    const whole = exchange.headers.has('content-type') ? passing.whole() : undefined
    if (whole) return new Response(whole, init)
    run.listen()
    const response = new Response(passing.stream(), init)
    // It has a copy, and the exchange lives as long as the stream.
    exchange.headers = new Headers()
    return response
  }

  return {
    send,
    breakAll() {
      for (const each of running.all()) each.break('drained')
    },
    abandon(exchange) {
      for (const each of running.all()) if (each.isOf(exchange)) each.abandon()
    },
    get running() {
      return running.size
    },
  }
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/**
 * Statuses without a body (RFC 9110 §15.3.5, §15.3.6); 304 answers conditional requests, which we
 * never send.
 */
const NULL_BODY_STATUSES = new Set([204, 205])

/** Drops a response that is not passed on. */
function giveUp(run: RunningRequest, unanswered: Unanswered): Response {
  run.flight.cancel()
  return run.refuse(unanswered)
}

const BODY_IS_GONE = { reason: 'credential renewed, body is gone' }

const isHeld = ({ body }: UpstreamRequest): boolean =>
  body === undefined || body instanceof Uint8Array
