// Estimates the tokens that a response has written since its last count from the bytes that passed. It is
// needed only for a response that is cut before its final count.

/**
 * English prose has about four bytes of UTF-8 a token, code and other scripts about three; JSON escapes
 * make both longer.
 */
const BYTES_PER_TOKEN = 3

/** The signature of a thinking block contains all of the thinking, encrypted and in base64. */
const SIGNATURE_BYTES_PER_TOKEN = BYTES_PER_TOKEN * (4 / 3)

/** The longest pause of a model that writes; in a longer one it thinks or waits. */
const SPEAKING_MS = 1000

/** Thinking that is not shown passes as pings, or in silence. Large models write 50 to 80 tokens a second. */
export const HIDDEN_TOKENS_PER_SECOND = 80

/**
 * Tokens that may have been written and have not arrived when a stream is cut: about two seconds of a
 * fast model, the time for batching, the network and the upstream to notice.
 */
export const REMAINDER_TOKENS = 256

/** An upper bound for any model; it is charged if the response said nothing at all. */
export const MAX_TOKENS_PER_SECOND = 500

export const tokensOf = (bytes: number): number => Math.ceil(bytes / BYTES_PER_TOKEN)

export class Passed {
  #closedTokens = 0
  #textBytes = 0
  #signatureBytes = 0
  /** For events that were not read: their overhead is that of the shortest event. */
  #events = 0
  #eventBytes = 0
  #leastEventBytes = Number.POSITIVE_INFINITY
  /** Monotonic milliseconds; undefined outside of a thinking block. */
  #thinkingSince: number | undefined
  #movedAt = 0
  #spokeAt: number | undefined
  #spokenMs = 0

  text(bytes: number): void {
    if (bytes > 0) this.#spoke()
    this.#textBytes += Math.max(0, bytes)
  }

  /** For an API that sends an event for each token: even one byte of text is a token. */
  piece(bytes: number): void {
    if (bytes > 0) this.text(Math.max(bytes, BYTES_PER_TOKEN))
  }

  /** A chunk of one event, or of several. */
  events(bytes: number): void {
    this.#spoke()
    if (bytes < this.#leastEventBytes) this.#leastEventBytes = bytes
    this.#events += Math.max(1, Math.floor(bytes / this.#leastEventBytes))
    this.#eventBytes += bytes
  }

  signature(bytes: number): void {
    this.#signatureBytes += Math.max(0, bytes)
  }

  /** Bytes of any kind have arrived. */
  moved(now: number): void {
    this.#movedAt = now
  }

  block(isThinking: boolean): void {
    this.endBlock()
    if (isThinking) this.#thinkingSince = this.#movedAt
  }

  endBlock(): void {
    this.#closedTokens += this.#openTokens
    this.#textBytes = 0
    this.#signatureBytes = 0
    this.#thinkingSince = undefined
  }

  /** A count includes everything so far. */
  counted(): void {
    this.#closedTokens = 0
    this.#textBytes = 0
    this.#signatureBytes = 0
    this.#events = 0
    this.#eventBytes = 0
    if (this.#thinkingSince !== undefined) this.#thinkingSince = this.#movedAt
  }

  /** How long text arrived, without pauses. */
  get spokenMs(): number {
    return this.#spokenMs
  }

  #spoke(): void {
    const quietMs = this.#movedAt - (this.#spokeAt ?? this.#movedAt)
    if (quietMs <= SPEAKING_MS) this.#spokenMs += quietMs
    this.#spokeAt = this.#movedAt
  }

  get tokens(): number {
    return this.#closedTokens + this.#openTokens + this.#eventTokens
  }

  /** At least one token for each event. */
  get #eventTokens(): number {
    if (this.#events === 0) return 0
    const text = this.#eventBytes - this.#events * this.#leastEventBytes
    return this.#events + tokensOf(Math.max(0, text))
  }

  get #openTokens(): number {
    const hiddenMs = this.#thinkingSince === undefined ? 0 : this.#movedAt - this.#thinkingSince
    return Math.max(
      tokensOf(this.#textBytes),
      Math.ceil(this.#signatureBytes / SIGNATURE_BYTES_PER_TOKEN),
      Math.floor((hiddenMs * HIDDEN_TOKENS_PER_SECOND) / 1000),
    )
  }
}
