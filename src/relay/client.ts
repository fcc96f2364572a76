// The client's side of a relayed request, as far as Bun.serve lets one reach it.

import { clearDeadline, type Deadline, setDeadline } from '../turn/deadline.ts'

/** `server.timeout`, which is per connection and in seconds, 0 for never. */
export type SetIdleTimeout = (request: Request, seconds: number) => void

/** Bun is told twice of a request that lasts longer than this, and once of all others. */
const HOLD_AFTER_MS = 30_000

/** How long a reset is held back so that what is in the kernel's buffer can still leave. */
const LINGER_MS = 4000
/** The same where the process is about to exit, and would close the connection in order. */
const LAST_LINGER_MS = 100

/**
 * Erroring a response's stream makes Bun reset the connection, and a reset throws away what the
 * kernel still holds for a slow reader: of 2,000 events a reader that paused got 546. So a stream
 * is broken by letting the connection idle out, which closes it in order, after at most one tick of
 * Bun's timer (4 s), and still without a last chunk (RFC 9112 §8).
 *
 * A client of HTTP/1.0 gets no chunks: to it, an orderly close is a complete answer. Its version
 * can't be seen here, but proxies that speak it (nginx by default) send `Connection: close`; for
 * those it is a reset after all, later.
 */
export class RelayClient implements Deadline {
  place = -1
  atMs = -1
  readonly #request: Request
  /** Between two requests; also all the time that a reader has for an answer's last bytes. */
  readonly #idleSeconds: number
  readonly #setIdleTimeout: SetIdleTimeout
  /** Until Bun is told the second time. */
  #held = false

  constructor(request: Request, idleSeconds: number, setIdleTimeout: SetIdleTimeout) {
    this.#request = request
    this.#idleSeconds = idleSeconds
    this.#setIdleTimeout = setIdleTimeout
  }

  /** Aborted when the client has left. It is made where it is asked for, which is not cheap. */
  get signal(): AbortSignal {
    return this.#request.signal
  }

  /** From here on only the relay's own watch ends this connection: streams may be silent. */
  hold(): void {
    this.#setIdleTimeout(this.#request, this.#idleSeconds)
    this.#held = true
    setDeadline(this, HOLD_AFTER_MS)
  }

  /** It lasts longer than most. */
  passed(): void {
    this.#held = false
    this.#setIdleTimeout(this.#request, 0)
  }

  /** Back to the ordinary idle time, for the connection's next request. */
  release(): void {
    if (this.#held) clearDeadline(this)
    else this.#setIdleTimeout(this.#request, this.#idleSeconds)
    this.#held = false
  }

  /**
   * Breaks the connection without a last chunk, once everything handed over has left. `exiting`:
   * the process won't be there for much longer.
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
