// How many tokens an answer has written since its last count, estimated from what passed. Only an
// answer that is cut before its final count needs it.

/**
 * English prose has about four bytes of UTF-8 to a token, code and other scripts about three, and
 * JSON escapes make both longer.
 */
const BYTES_PER_TOKEN = 3

/** A thinking block's signature holds the whole of the thinking, encrypted and in base64. */
const SIGNATURE_BYTES_PER_TOKEN = BYTES_PER_TOKEN * (4 / 3)

/** Of a model that writes; a longer silence is one that thinks, or waits. */
const SPEAKING_MS = 1000

/** Thinking that is not shown passes as pings, or in silence. Large models write 50 to 80 tokens a second. */
export const HIDDEN_TOKENS_PER_SECOND = 80

/**
 * What may have been made and has not arrived when a stream is cut: about two seconds of a fast
 * model, which is what batching, the network and the upstream's noticing take together.
 */
export const REMAINDER_TOKENS = 256

/** An upper bound for what any model writes: what is charged where nothing at all was said. */
export const MAX_TOKENS_PER_SECOND = 500

export const tokensOf = (bytes: number): number => Math.ceil(bytes / BYTES_PER_TOKEN)

export class Passed {
  #closedTokens = 0
  #textBytes = 0
  #signatureBytes = 0
  /** Of events that were not looked into: their frames are as long as the shortest of them. */
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

  /** Of an API that sends an event for each token: text of one byte is a whole one. */
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

  /** Bytes have come, of whatever kind. */
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

  /** All of it is in a count. */
  counted(): void {
    this.#closedTokens = 0
    this.#textBytes = 0
    this.#signatureBytes = 0
    this.#events = 0
    this.#eventBytes = 0
    if (this.#thinkingSince !== undefined) this.#thinkingSince = this.#movedAt
  }

  /** How long text came, without the silences. */
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

  /** A token for each event at the least. */
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
