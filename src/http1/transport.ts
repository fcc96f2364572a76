// The HTTP/1.1 client for upstreams. Bun's `fetch` drops trailers (some streams carry their usage there),
// queues silently behind 256 requests in flight, and loses most of what it has buffered when an upstream
// dies. `node:http` does none of that, but costs more CPU than the rest of a request. npm's undici is not
// an option: Bun resolves it to a shim over fetch. This client follows no redirect, decodes no body, and
// connects only as egress.ts allows.

import { clearDeadline, type Deadline, setDeadline } from '../turn/deadline.ts'
import { soon, type Waiting } from '../turn/end-of-turn.ts'
import { type Carried, type Connection, MAX_JOINED_BYTES } from './connection.ts'
import { DIRECT, type Egress } from './egress.ts'
import { NO_HANDLES, type SocketHandles } from './handles.ts'
import { connections, type ConnectionPool } from './pool.ts'
import { type BodyStream, type UpstreamRequest, chunked, headOf, LAST_CHUNK } from './request.ts'
import type { AnswerHeaders } from './fields.ts'
import type { ResponseHead } from './response.ts'

export interface Timeouts {
  /** To establish the connection, TLS included. */
  readonly connectMs: number
  /** From the request's last byte to the response's headers. */
  readonly headersMs: number
  /** How long the source of a request body may send nothing. */
  readonly bodyMs: number
}

export type FailureKind =
  /** No connection. */
  | 'unreachable'
  | 'connect_timeout'
  /** Connected, but got no valid response before the connection ended. */
  | 'unanswered'
  | 'headers_timeout'
  | 'body_timeout'
  | 'body_failed'
  | 'cancelled'

/**
 * `reason` is an errno or the like, without address or URL. `cause` is what the body's source
 * threw.
 */
export interface Failure {
  readonly ok: false
  readonly kind: FailureKind
  readonly reason: string
  readonly cause?: unknown
}

export interface UpstreamAnswer {
  readonly ok: true
  readonly status: number
  readonly headers: AnswerHeaders
  readonly body: ResponseBody
}

/** A response body that is still arriving. */
export interface ResponseBody {
  /** May be called once; what has already arrived is delivered at once. */
  listen(to: Listener): void
  pause(): void
  resume(): void
}

export interface Listener {
  onData(chunk: Uint8Array): void
  /** What came together has been told of; more is to follow. */
  onRead?(): void
  /** `broken`: the connection died, or the response became invalid. */
  onEnd(how: 'complete' | 'broken', trailers: AnswerHeaders): void
  /** After a 101: what was written has left. */
  onDrain?(): void
}

export interface Flight {
  /** Never rejects. Ask for it once: a stream outlives it. */
  readonly head: Promise<UpstreamAnswer | Failure>
  /** The whole request was written to an established connection: the upstream may have acted on it. */
  readonly sent: boolean
  /** Whether any byte of it was sent. */
  readonly begun: boolean
  /** After a 101. False if the caller should wait for `onDrain`. */
  write(bytes: Uint8Array): boolean
  /** Closes the connection, whatever state it is in. */
  cancel(): void
}

export interface Transport {
  send(call: UpstreamRequest, timeouts: Timeouts): Flight
  /** The private parts of the runtime's sockets that work; until this is called, none is used. */
  use(handles: SocketHandles): void
  /** After a change of `egress`: earlier connections finish what they carry, and get no more. */
  renew(): void
  close(): void
}

export function transport(egress: Egress = DIRECT, handles: SocketHandles = NO_HANDLES): Transport {
  const pool = connections(egress, handles)
  return {
    send: (call, timeouts) => new RoundTrip(pool, call, timeouts),
    use: (found) => pool.use(found),
    renew: () => pool.renew(),
    close: () => pool.close(),
  }
}

/** Buffered until a listener attaches, usually in the same turn; above it, the upstream waits. */
const MAX_EARLY_BYTES = 262_144

const NO_TRAILERS: AnswerHeaders = {}

/** One request and its response. */
class RoundTrip implements Flight, ResponseBody, Carried, Waiting, Deadline {
  place = -1
  atMs = -1
  /** The failure, if its time passes; undefined once the outcome is known. */
  #late: FailureKind | undefined = 'connect_timeout'
  /** Kept until somebody asks for it. */
  #outcome: UpstreamAnswer | Failure | undefined
  /** Resolves `head`. */
  #resolve: ((outcome: UpstreamAnswer | Failure) => void) | undefined
  readonly #pool: ConnectionPool
  /** Set until it is sent: a stream far outlives its request. */
  #call: UpstreamRequest | undefined
  readonly #timeouts: Timeouts
  /** Set once it is sent. */
  #connection: Connection | undefined
  #sent = false
  #begun = false
  /** Memory to free once the kernel has it. */
  #spent: Uint8Array | undefined
  #drained: (() => void) | undefined
  #listener: Listener | undefined
  /** Bytes that arrived before anybody listened. */
  #early: Buffer[] | undefined
  #earlyBytes = 0
  #end: 'complete' | 'broken' | undefined
  #trailers = NO_TRAILERS

  constructor(pool: ConnectionPool, call: UpstreamRequest, timeouts: Timeouts) {
    this.#pool = pool
    this.#call = call
    this.#timeouts = timeouts
    // The upstream is woken once for a whole turn, not for each request, and answers as many at a
    // time.
    soon(this)
  }

  /** Sends the request on a connection. */
  deliver(now: number): void {
    const call = this.#call
    if (!call) return
    const connection = this.#pool.take(call.to.origin, now)
    this.#connection = connection
    connection.carry(this, call.upgrades)
    if (connection.connected) this.onConnected()
    else this.#wait('connect_timeout', this.#timeouts.connectMs)
  }

  get head(): Promise<UpstreamAnswer | Failure> {
    const outcome = this.#outcome
    this.#outcome = undefined
    if (outcome) return Promise.resolve(outcome)
    return new Promise((resolve) => {
      this.#resolve = resolve
    })
  }

  get sent(): boolean {
    return this.#sent
  }

  get begun(): boolean {
    return this.#begun
  }

  fail(): void {
    this.#fail('unanswered', 'failed')
  }

  passed(): void {
    if (this.#late) this.#fail(this.#late, this.#late)
  }

  cancel(): void {
    this.#fail('cancelled', 'cancelled')
  }

  onConnected(): void {
    const call = this.#call
    const connection = this.#connection
    if (!call || !connection) return
    this.#call = undefined
    const { body, headers } = call
    // RFC 9112 §9.6: no other request after this one, whatever the response says.
    if (headers['connection'] === 'close') connection.saidClose = true
    const head = headOf(call)
    if (head === undefined) return this.#fail('unanswered', 'unsendable header')
    this.#begun = true
    if (body === undefined || body instanceof Uint8Array) {
      if (head.length + (body?.byteLength ?? 0) <= MAX_JOINED_BYTES) {
        connection.send(head, body)
      } else {
        connection.write(Buffer.from(head, 'latin1'))
        if (body) connection.write(body)
        if (call.sentOnce) this.#spent = body
        this.#forget()
      }
      this.#sent = true
      this.#wait('headers_timeout', this.#timeouts.headersMs)
      return
    }
    this.#wait('body_timeout', this.#timeouts.bodyMs)
    connection.write(Buffer.from(head, 'latin1'))
    this.#pump(body, connection).then(
      () => {
        this.#sent = true
        this.#wait('headers_timeout', this.#timeouts.headersMs)
      },
      (cause: unknown) => this.#fail('body_failed', 'request body', cause),
    )
  }

  write(bytes: Uint8Array): boolean {
    return this.#end === undefined && this.#connection?.write(bytes) === true
  }

  onDrain(): void {
    this.#drained?.()
    this.#listener?.onDrain?.()
  }

  onHead({ status, headers }: ResponseHead): void {
    // Over TLS it is known a little later that everything has left.
    this.#forget()
    this.#spent = undefined
    this.#settle({ ok: true, status, headers, body: this })
  }

  onData(chunk: Buffer): void {
    if (this.#listener) return this.#listener.onData(chunk)
    ;(this.#early ??= []).push(chunk)
    this.#earlyBytes += chunk.length
    if (this.#earlyBytes > MAX_EARLY_BYTES) this.pause()
  }

  onRead(): void {
    this.#listener?.onRead?.()
  }

  onEnd(trailers: AnswerHeaders): void {
    this.#trailers = trailers
    // The response ended before its request: the connection cannot be reused.
    const connection = this.#connection
    if (connection && this.#sent) this.#pool.giveBack(connection)
    else connection?.destroy()
    this.#finish('complete')
  }

  onInvalid(): void {
    this.#fail('unanswered', 'no HTTP answer')
  }

  onGone(code: string | undefined): void {
    this.#fail(this.#connection?.connected ? 'unanswered' : 'unreachable', code ?? 'closed')
  }

  listen(to: Listener): void {
    if (this.#earlyBytes > MAX_EARLY_BYTES) this.resume()
    const early = this.#early
    const end = this.#end
    this.#early = undefined
    this.#listener = to
    if (early) for (const chunk of early) to.onData(chunk)
    if (end) to.onEnd(end, this.#trailers)
  }

  pause(): void {
    if (!this.#end) this.#connection?.pause()
  }

  resume(): void {
    if (!this.#end) this.#connection?.resume()
  }

  /**
   * Frees a large body once the kernel has it: the collector would find it too late, and new bodies
   * would meanwhile go to new memory, page by page.
   */
  #forget(): void {
    if (!this.#spent || !this.#connection?.flushed) return
    const { buffer, byteLength } = this.#spent
    this.#spent = undefined
    if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0)
  }

  #settle(outcome: UpstreamAnswer | Failure): void {
    if (!this.#late) return
    this.#late = undefined
    clearDeadline(this)
    if (this.#resolve) this.#resolve(outcome)
    else this.#outcome = outcome
    this.#resolve = undefined
  }

  #finish(how: 'complete' | 'broken'): void {
    if (this.#end) return
    this.#end = how
    this.#drained?.()
    this.#listener?.onEnd(how, this.#trailers)
  }

  #fail(kind: FailureKind, reason: string, cause?: unknown): void {
    if (this.#end) return
    this.#settle({ ok: false, kind, reason, cause })
    this.#call = undefined
    this.#connection?.destroy()
    this.#finish('broken')
  }

  #wait(kind: FailureKind, ms: number): void {
    if (!this.#late) return
    this.#late = kind
    setDeadline(this, ms)
  }

  /** Ends early and silently if the upstream has closed: its response, or its error, says why. */
  async #pump({ chunks, length }: BodyStream, connection: Connection): Promise<void> {
    let left = length ?? Number.POSITIVE_INFINITY
    for await (const chunk of chunks) {
      if (this.#end) return
      // Bytes beyond the length would be the connection's next request.
      left -= chunk.byteLength
      if (left < 0) throw new Error('body longer than its length')
      this.#wait('body_timeout', this.#timeouts.bodyMs)
      if (chunk.byteLength === 0) continue
      const framed = length === undefined ? chunked(chunk) : chunk
      if (connection.write(framed)) continue
      // Now the upstream has to answer.
      this.#wait('headers_timeout', this.#timeouts.headersMs)
      await this.#whenDrained()
      this.#wait('body_timeout', this.#timeouts.bodyMs)
    }
    // Missing bytes would be taken from the next request.
    if (length !== undefined && left > 0) throw new Error('body shorter than its length')
    if (length === undefined && !this.#end) connection.write(LAST_CHUNK)
  }

  #whenDrained(): Promise<void> {
    if (this.#end) return Promise.resolve()
    return new Promise((resolve) => {
      this.#drained = () => {
        this.#drained = undefined
        resolve()
      }
    })
  }
}
