// The client's side of a relayed request, as far as Bun.serve exposes it.

import { clearDeadline, type Deadline, setDeadline } from '../turn/deadline.ts'

/** `server.timeout`: per connection, in seconds; 0 means never. */
export type SetIdleTimeout = (request: Request, seconds: number) => void

/** Bun is told twice about a request that lasts longer than this, and once about all others. */
const HOLD_AFTER_MS = 30_000

/** How long a reset is delayed so that the kernel's buffer can still drain. */
const LINGER_MS = 4000
/** The same if the process is about to exit, which would close the connection in order. */
const LAST_LINGER_MS = 100

/**
 * Erroring a response's stream makes Bun reset the connection, and a reset discards what the kernel
 * still holds for a slow reader: of 2,000 events a paused reader got 546. So a stream is broken by
 * letting the connection idle out. That closes it in order, after at most one tick of Bun's timer
 * (4 s), and without a last chunk (RFC 9112 §8).
 *
 * An HTTP/1.0 client gets no chunks, and would take an orderly close for a complete response. Its
 * version is not visible here, but proxies that speak 1.0 (nginx by default) send `Connection:
 * close`; those get a reset after a delay.
 */
export class RelayClient implements Deadline {
  place = -1
  atMs = -1
  readonly #request: Request
  /**
   * The idle time between two requests, which is also the time a reader has for the last bytes of a
   * response.
   */
  readonly #idleSeconds: number
  readonly #setIdleTimeout: SetIdleTimeout
  /** True until Bun is told the second time. */
  #held = false

  constructor(request: Request, idleSeconds: number, setIdleTimeout: SetIdleTimeout) {
    this.#request = request
    this.#idleSeconds = idleSeconds
    this.#setIdleTimeout = setIdleTimeout
  }

  /** Aborted when the client has left. Bun creates it on first access, which is not cheap. */
  get signal(): AbortSignal {
    return this.#request.signal
  }

  /** From here on only the relay's own watch ends this connection: streams may be silent. */
  hold(): void {
    this.#setIdleTimeout(this.#request, this.#idleSeconds)
    this.#held = true
    setDeadline(this, HOLD_AFTER_MS)
  }

  /** The request lasts longer than most. */
  passed(): void {
    this.#held = false
    this.#setIdleTimeout(this.#request, 0)
  }

  /** Restores the ordinary idle time for the connection's next request. */
  release(): void {
    if (this.#held) clearDeadline(this)
    else this.#setIdleTimeout(this.#request, this.#idleSeconds)
    this.#held = false
  }

  /**
   * Breaks the connection without a last chunk, once everything handed over has left. `exiting`:
   * the process is about to exit.
   */
  breakOff(reset: () => void, exiting: boolean): void {
    clearDeadline(this)
    if (/\bclose\b/i.test(this.#request.headers.get('connection') ?? '')) {
      setTimeout(reset, exiting ? LAST_LINGER_MS : LINGER_MS).unref()
    } else {
      this.#setIdleTimeout(this.#request, 1)
    }
  }
}
