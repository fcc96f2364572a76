// The relay: an outgoing request becomes an answer whose bytes nobody here reads. Whatever happens,
// each request ends exactly once, its lease is given back then, and a broken answer looks broken.

import { BodyRefused } from '../dispatch/body.ts'
import type { Outgoing } from '../dispatch/dispatch.ts'
import { headersToClient, RESPONSE_NONCE } from '../dispatch/headers.ts'
import type { Reserved } from '../budget/budget.ts'
import type { End, Exchange } from '../exchange.ts'
import { type Refusal, refusalResponse, refused, statusOf } from '../refusal.ts'
import type { Settle } from '../settle/settle.ts'
import { USAGE_HEADER } from '../upstream/tinfoil.ts'
import type { Answer, Failure, Timeouts, Transport } from '../upstream/transport.ts'
import { parseTinfoilUsage } from '../upstream/usage.ts'
import type { Client } from './client.ts'
import { type Passage, passage } from './passage.ts'

export interface Relay {
  send(
    outgoing: Outgoing,
    reserved: Reserved,
    exchange: Exchange,
    client: Client,
  ): Promise<Response>
  /** Breaks every stream that still runs; each is recorded as drained. */
  breakAll(): void
  readonly running: number
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

  const send: Relay['send'] = async (outgoing, reserved, exchange, client) => {
    const flight = transport.send(outgoing.call, timeouts)
    let ended = false
    let passing: Passage | undefined
    /** Why it ends as it does, where we ourselves are the reason. */
    let cause: End | undefined

    const finish = (end: End): void => {
      if (ended) return
      ended = true
      running.delete(self)
      client.signal.removeEventListener('abort', leave)
      reserved.release()
      settle(exchange, end)
    }
    const leave = (): void => {
      cause ??= 'client_gone'
      flight.cancel()
      finish(cause)
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
        finish('timeout')
        passing.reset()
      },
    }
    running.add(self)
    client.signal.addEventListener('abort', leave, { once: true })
    if (client.signal.aborted) leave()

    const refuse = (refusal: Refusal, end: End): Response => {
      client.release()
      exchange.status ??= statusOf(refusal)
      if (refusal.reason !== undefined) exchange.reason = refusal.reason
      finish(end)
      return refusalResponse(refusal, exchange.headers)
    }

    const head = await flight.head
    if (!head.ok) return refuse(...failed(head, cause))
    const unfit = unfitAnswer(head, outgoing.sealed)
    if (unfit) {
      flight.cancel()
      return refuse(unfit, 'upstream_error')
    }

    const { status, message } = head
    exchange.headersMs = performance.now() - exchange.at.monotonicMs
    const noteUsage = (text: unknown): void => {
      const usage = parseTinfoilUsage(typeof text === 'string' ? text : undefined)
      if (usage) exchange.usage = usage
    }
    noteUsage(message.headers[USAGE_HEADER])
    passing = passage(message, {
      onBytes(bytes) {
        exchange.bytesOut += bytes
      },
      onEnd(end) {
        if (end === 'complete') {
          noteUsage(message.trailers[USAGE_HEADER])
          client.release()
          return finish('complete')
        }
        finish(cause ?? 'upstream_error')
        client.breakOff(() => passing?.reset(), cause === 'drained')
      },
      onCancel: leave,
    })
    // Bun holds the end of a head back until there is a body (oven-sh/bun#33660), so that waiting
    // for the first byte delays nothing; and an upstream that dies before it can still be told of.
    if (!(await passing.begun)) return refuse(...stillborn(cause))
    exchange.status = status
    headersToClient(message.headers, exchange.headers)
    const init = { status, headers: exchange.headers }
    // Most short answers have all come a turn later. Sent whole, they keep a Content-Length; Bun
    // would give one without a Content-Type a type of its own, so those go as a stream. Resolved in
    // the turn that read the upstream, a short answer would also leave in nine sends, not in one.
    await nextTurn()
    if (NULL_BODY_STATUSES.has(status)) {
      message.resume()
      passing.cut()
      client.release()
      finish('complete')
      return new Response(null, init)
    }
    const whole = exchange.headers.has('content-type') ? passing.whole() : undefined
    return new Response(whole ?? passing.stream, init)
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

/** EHBP 0.3.1: 32 bytes in hexadecimal; a doubled header arrives as two, joined. */
const NONCE = /^[0-9a-f]{64}$/i

/** An answer that must not be passed on as it is, and what is said instead. */
function unfitAnswer({ status, message }: Answer, sealed: boolean): Refusal | undefined {
  const reason = `upstream status ${status}`
  if (status < 200 || status > 599) return refused('upstream_invalid', { reason })
  if (status >= 300 && status < 400) return refused('upstream_redirect', { reason })
  // It is our key that was refused: the caller can't mend it, and the body may echo the key.
  if (status === 401 || status === 403) return refused('upstream_auth', { reason })
  // EHBP: a 2xx to a sealed request without the nonce was not made by the enclave.
  if (sealed && status < 300 && !NONCE.test(String(message.headers[RESPONSE_NONCE]))) {
    return refused('upstream_invalid', { reason: 'sealed request, answer without nonce' })
  }
  return undefined
}

/** Of an answer that broke before its first byte: nothing of it has been passed on. */
function stillborn(ownCause: End | undefined): [Refusal, End] {
  const reason = 'broke before the first byte'
  if (ownCause === 'timeout') return [refused('upstream_timeout', { reason }), ownCause]
  return [refused('upstream_unavailable', { reason }), ownCause ?? 'upstream_error']
}

function failed({ kind, reason, cause }: Failure, ownCause: End | undefined): [Refusal, End] {
  switch (kind) {
    case 'unreachable':
      return [refused('upstream_unavailable', { reason }), 'upstream_error']
    case 'connect_timeout':
    case 'headers_timeout':
      return [refused('upstream_timeout', { reason }), 'timeout']
    case 'body_timeout':
      return [refused('request_timeout', { reason }), 'timeout']
    case 'body_failed':
      return cause instanceof BodyRefused
        ? [cause.refusal, 'refused']
        : [refused('bad_request', { reason: 'body ended early' }), 'client_gone']
    case 'cancelled':
      return [refused('upstream_unavailable', { reason }), ownCause ?? 'drained']
  }
}
