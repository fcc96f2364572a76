// One WebSocket between a client and an upstream: messages pass in order, as they are, and each side waits
// for the other. Whatever happens, it ends exactly once, and what it holds is released then.

import type { Admitted } from '../admit/admitted.ts'
import type { Reserved } from '../budget/budget.ts'
import type { End } from '../end.ts'
import type { Exchange } from '../exchange.ts'
import { type Decision, type Refusal, refusalEvent } from '../refusal.ts'
import { NOTHING_OWED } from '../settle/bill.ts'
import type { Settle } from '../settle/settle.ts'
import { clearDeadline, type Deadline, deadline } from '../turn/deadline.ts'
import type { Echo } from '../upstream/echo.ts'
import type { Placed, Unordered } from '../turn/unordered.ts'
import type { CheckEvent } from './client-limits.ts'
import type { ResponseCharges } from './response-charges.ts'
import { readServerEvent, type ServerEvent } from './server-events.ts'
import type { UpstreamEvents, UpstreamSocket } from './upstream-socket.ts'

/** What we use of Bun's. */
export interface ClientSocket {
  sendText(text: string): number
  sendBinary(bytes: Uint8Array): number
  ping(payload?: Uint8Array): number
  pong(payload?: Uint8Array): number
  close(code?: number, reason?: string): void
  terminate(): void
  getBufferedAmount(): number
  pause(): void
  resume(): void
}

export interface SessionTimes {
  /** Without a message from either side. */
  readonly idleMs: number
  readonly maxMs: number
  /** How long one side may let the other wait. */
  readonly stallMs: number
}

export interface SessionParts {
  readonly settle: Settle
  readonly onBug: (bug: unknown) => void
  readonly check: CheckEvent
  readonly running: Unordered<RealtimeSession>
}

export interface SessionStart {
  readonly exchange: Exchange
  readonly admitted: Admitted
  readonly reserved: Reserved
  readonly upstream: UpstreamSocket
  /** Of the credential that opened it. An error or a close that quotes it reaches no client. */
  readonly echo: Pick<Echo, 'inBody' | 'inValue'>
  readonly charges: ResponseCharges
  readonly maxBytes: number
  /** What its upstream serves; undefined is every model. */
  readonly models: Models
  /** Decides as for a new connection: a token may expire or be revoked, and a policy may change. */
  readonly readmit: () => Decision<Readmitted> | Promise<Decision<Readmitted>>
  /** Sent before anything of the client's. */
  readonly opening: string | undefined
  /** No event may change its model, whatever its caller may do. */
  readonly isBound: boolean
}

type Models = readonly string[] | undefined

interface Readmitted {
  readonly admitted: Admitted
  readonly on: { readonly models: Models }
}

const CLOSE_MS = 5000
const READMIT_MS = 750
/** What Bun tells of a connection without a close frame, and of one whose close frame has no code. */
const [NO_FRAME, NO_CODE] = [1006, 1005]
const GOING_AWAY = 1001
const REFUSED = 1008
const TOO_LARGE = 1009
const BROKEN = 1011
const QUOTES = 'the upstream quotes a credential of this gate'
const RESTART = 1012
const RESTARTS = 'the gate restarts'

/** Which side is to be told what: undefined drops its connection. */
interface Farewell {
  readonly client: readonly [code: number, reason: string] | undefined
  readonly upstream: readonly [code: number | undefined, reason: string] | undefined
}

export class RealtimeSession implements UpstreamEvents, Placed {
  place = -1
  readonly #parts: SessionParts
  readonly #start: SessionStart
  readonly #startedAt = performance.now()
  #admitted: Admitted
  #models: Models
  #client: ClientSocket | undefined
  #movedAt = this.#startedAt
  #readmittedAt = this.#startedAt
  #readmitting = false
  /** Since when one side has waited for the other; Infinity if it does not. */
  #clientWaits = Infinity
  #upstreamWaits = Infinity
  #draining = false
  #over = false
  #closing: Deadline | undefined

  constructor(parts: SessionParts, start: SessionStart) {
    this.#parts = parts
    this.#start = start
    this.#admitted = start.admitted
    this.#models = start.models
    parts.running.add(this)
  }

  /** The client's connection is open. */
  open(client: ClientSocket): void {
    this.#client = client
    const { upstream, opening } = this.#start
    if (this.#over) return client.close(RESTART, RESTARTS)
    if (opening !== undefined) this.onClientText(opening)
    upstream.listen(this)
  }

  onClientText(text: string): void {
    if (this.#over) return
    const bytes = Buffer.byteLength(text)
    if (!this.#came(bytes)) return
    if (this.#refuses(text)) return
    this.#start.charges.sent(text)
    this.#start.exchange.bytesIn += bytes
    this.#wrote(this.#start.upstream.text(text))
  }

  onClientBinary(payload: Uint8Array): void {
    if (this.#over || !this.#came(payload.byteLength)) return
    // Some servers take an event in a binary message; what is no JSON is sound.
    if (isJson(payload) && this.#refuses(Buffer.from(payload).toString('utf8'))) return
    this.#start.exchange.bytesIn += payload.byteLength
    this.#wrote(this.#start.upstream.binary(payload))
  }

  onClientPing(payload: Uint8Array): void {
    if (!this.#over) this.#wrote(this.#start.upstream.ping(payload))
  }

  onClientPong(payload: Uint8Array): void {
    if (!this.#over) this.#wrote(this.#start.upstream.pong(payload))
  }

  onClientDrain(): void {
    if (this.#upstreamWaits === Infinity) return
    this.#upstreamWaits = Infinity
    if (!this.#over) this.#start.upstream.resume()
  }

  onClientClose(code: number, reason: string): void {
    clearDeadline(this.#closing)
    if (code === NO_FRAME)
      return this.#end('client_gone', { client: undefined, upstream: undefined })
    const told = code === NO_CODE ? undefined : code
    this.#end('complete', { client: undefined, upstream: [told, reason] })
  }

  onText(text: string): void {
    if (this.#over) return
    try {
      this.#onText(text)
    } catch (bug) {
      this.onBug(bug)
    }
  }

  #onText(text: string): void {
    const { charges, exchange } = this.#start
    this.#movedAt = performance.now()
    exchange.bytesOut += Buffer.byteLength(text)
    exchange.firstByteMs ??= this.#movedAt - exchange.at.monotonicMs
    const event = readServerEvent(text)
    if (this.#quotes(event, text)) return this.onBroken(QUOTES)
    const noted = charges.note(event, text, this.#admitted)
    this.#sent(this.#client?.sendText(text))
    if (!noted.ok) return this.#refuseAll(noted)
    if (this.#draining && !charges.isRunning) this.#restart()
  }

  onBinary(bytes: Buffer): void {
    if (this.#over) return
    this.#movedAt = performance.now()
    this.#start.exchange.bytesOut += bytes.byteLength
    this.#sent(this.#client?.sendBinary(bytes))
  }

  onPing(payload: Buffer): void {
    if (!this.#over) this.#sent(this.#client?.ping(payload))
  }

  onPong(payload: Buffer): void {
    if (!this.#over) this.#sent(this.#client?.pong(payload))
  }

  onClose(code: number | undefined, reason: string): void {
    const isQuote = this.#start.echo.inValue(reason)
    if (isQuote) this.#start.exchange.reason ??= QUOTES
    const told = isQuote ? '' : reason
    this.#end('complete', { client: [code ?? NO_CODE, told], upstream: [code, told] })
  }

  onBroken(reason: string): void {
    this.#start.exchange.reason ??= reason
    this.#end('upstream_error', {
      client: [BROKEN, 'the upstream is gone'],
      upstream: undefined,
    })
  }

  onDrain(): void {
    if (this.#clientWaits === Infinity) return
    this.#clientWaits = Infinity
    if (!this.#over) this.#client?.resume()
  }

  /** Every fraction of a second. */
  watch(now: number, { idleMs, maxMs, stallMs }: SessionTimes): void {
    const { upstream } = this.#start
    if (now - this.#startedAt >= maxMs) return this.#timeout('the session has lasted its time')
    if (now - this.#movedAt >= idleMs) return this.#timeout('the session was idle')
    if (now - this.#upstreamWaits >= stallMs) {
      const told = [GOING_AWAY, 'the client does not read'] as const
      return this.#end('timeout', { client: undefined, upstream: told })
    }
    if (now - this.#clientWaits >= stallMs) {
      upstream.drop()
      return this.#timeout('the upstream does not read')
    }
    if (now - this.#readmittedAt >= READMIT_MS && !this.#readmitting) this.#readmit(now)
  }

  /** The gate stops: at once, or when the response that runs is done. */
  drain(): void {
    this.#draining = true
    if (!this.#start.charges.isRunning) this.#restart()
  }

  break(): void {
    this.#restart()
  }

  /** A bug of ours ends this session and no other. */
  onBug(bug: unknown): void {
    this.#parts.onBug(bug)
    const told = [BROKEN, 'internal error'] as const
    this.#end('upstream_error', { client: told, upstream: [GOING_AWAY, ''] })
  }

  /** The client has left before its connection was open. */
  abandon(): void {
    this.#end('client_gone', { client: undefined, upstream: [GOING_AWAY, ''] })
  }

  #readmit(now: number): void {
    this.#readmittedAt = now
    const asked = this.#start.readmit()
    if (!(asked instanceof Promise)) return this.#readmitted(asked)
    this.#readmitting = true
    asked
      .then((found) => this.#readmitted(found))
      .catch((bug: unknown) => this.onBug(bug))
      .finally(() => {
        this.#readmitting = false
      })
  }

  #readmitted(found: Decision<Readmitted>): void {
    if (this.#over) return
    if (!found.ok) return this.#refuseAll(found)
    const { admitted, on } = found.value
    const isChanged = admitted.policy !== this.#admitted.policy
    this.#admitted = admitted
    this.#models = on.models
    const room = isChanged ? this.#start.charges.ensure(admitted) : undefined
    if (room && !room.ok) this.#refuseAll(room)
  }

  /** False if it is too large. */
  #came(bytes: number): boolean {
    this.#movedAt = performance.now()
    if (bytes <= this.#start.maxBytes) return true
    const told = [TOO_LARGE, 'the message is too large'] as const
    this.#end('refused', { client: told, upstream: [GOING_AWAY, ''] })
    return false
  }

  #quotes(event: ServerEvent, text: string): boolean {
    const mayTell = event.kind === 'error' || (event.kind !== 'piece' && text.includes('"error"'))
    return mayTell && this.#start.echo.inBody(text)
  }

  #refuses(text: string): boolean {
    const { charges, exchange, isBound } = this.#start
    const session = { model: exchange.model, isBound, served: this.#models, charges }
    const found = this.#parts.check(text, this.#admitted, session)
    if (!found) return false
    this.#sent(this.#client?.sendText(refusalEvent(found.refusal, found.eventId)))
    return true
  }

  #refuseAll(refusal: Refusal): void {
    const { exchange } = this.#start
    exchange.code = refusal.code
    if (refusal.reason !== undefined) exchange.reason = refusal.reason
    this.#client?.sendText(refusalEvent(refusal, undefined))
    this.#end('refused', { client: [REFUSED, refusal.code], upstream: [GOING_AWAY, ''] })
  }

  #timeout(reason: string): void {
    this.#end('timeout', { client: [GOING_AWAY, reason], upstream: [GOING_AWAY, ''] })
  }

  #restart(): void {
    const told = [RESTART, RESTARTS] as const
    this.#end('drained', { client: told, upstream: [GOING_AWAY, ''] })
  }

  #wrote(all: boolean): void {
    if (all || this.#over || this.#clientWaits !== Infinity) return
    this.#clientWaits = performance.now()
    this.#client?.pause()
  }

  /** Bun gives -1 where a message waits. */
  #sent(taken: number | undefined): void {
    if (taken !== -1 || this.#over || this.#upstreamWaits !== Infinity) return
    this.#upstreamWaits = performance.now()
    this.#start.upstream.pause()
  }

  #end(end: End, { client, upstream }: Farewell): void {
    if (this.#over) return
    this.#over = true
    const { exchange, reserved, charges, upstream: socket } = this.#start
    this.#parts.running.delete(this)
    charges.cut(end, this.#admitted, client === undefined)
    exchange.status = 101
    this.#parts.settle(exchange, end, NOTHING_OWED)
    reserved.release()
    if (upstream) socket.close(...upstream)
    else socket.drop()
    this.#leave(client)
  }

  #leave(told: Farewell['client']): void {
    const client = this.#client
    if (!client) return
    if (!told) return client.terminate()
    if (this.#clientWaits !== Infinity) client.resume()
    client.close(...told)
    this.#linger(client, Infinity)
  }

  /** A slow reader gets what was sent, as long as it reads. */
  #linger(client: ClientSocket, before: number): void {
    this.#closing = deadline(CLOSE_MS, () => {
      const left = client.getBufferedAmount()
      if (left > 0 && left < before) this.#linger(client, left)
      else client.terminate()
    })
  }
}

const [OPENING_BRACE, OPENING_BRACKET] = [0x7b, 0x5b]
const SKIPPED: ReadonlySet<number> = new Set([
  0x20, 0x09, 0x0a, 0x0d, 0, 0xef, 0xbb, 0xbf, 0xfe, 0xff,
])

/** Whether it may be. */
function isJson(payload: Uint8Array): boolean {
  const first = payload.find((byte) => !SKIPPED.has(byte))
  return first === OPENING_BRACE || first === OPENING_BRACKET
}
