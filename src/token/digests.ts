// So many SHA-256 digests and no more, each in a row by whose number others keep what belongs to it;
// beyond that the oldest makes room. All in arrays of numbers, made once: a Map in which each new
// entry ends another walks past the places of all that have gone to find the oldest (25 µs of each
// token, at 20,000), and all that is in it lives long enough to cost the collector. No token is kept:
// a prefix of one, or its signature alone, has been other gateways' undoing as a key.

/** The row of what is nowhere, and the end of each chain. */
export const NO_ROW = -1
/** Of SHA-256. */
export const DIGEST_BYTES = 32

export class Digests {
  readonly #rows: number
  readonly #bytes: Buffer
  /** The row with which each chain begins; the digests of a chain begin with equal bits. */
  readonly #first: Int32Array
  readonly #next: Int32Array
  readonly #mask: number
  #used = 0
  #oldest = 0

  constructor(rows: number) {
    this.#rows = rows
    this.#bytes = Buffer.alloc(rows * DIGEST_BYTES)
    const chains = 2 ** Math.ceil(Math.log2(rows))
    this.#mask = chains - 1
    this.#first = new Int32Array(chains).fill(NO_ROW)
    this.#next = new Int32Array(rows).fill(NO_ROW)
  }

  /** The row of exactly this digest, all 32 bytes of it. */
  find(digest: Buffer): number {
    let row = this.#first[this.#chain(digest, 0)] ?? NO_ROW
    while (row !== NO_ROW && !this.#holds(row, digest)) row = this.#next[row] ?? NO_ROW
    return row
  }

  /** A row for a digest that is in none, if need be that of the oldest. */
  add(digest: Buffer): number {
    const row = this.#used < this.#rows ? this.#used : this.#oldest
    if (this.#used < this.#rows) this.#used += 1
    else {
      this.#unlink(row)
      this.#oldest = (row + 1) % this.#rows
    }
    digest.copy(this.#bytes, row * DIGEST_BYTES)
    const chain = this.#chain(digest, 0)
    this.#next[row] = this.#first[chain] ?? NO_ROW
    this.#first[chain] = row
    return row
  }

  /** A stranger may look for what shares a chain; only tokens that verified ever are in one. */
  #chain(bytes: Buffer, offset: number): number {
    return bytes.readInt32LE(offset) & this.#mask
  }

  #holds(row: number, digest: Buffer): boolean {
    const start = row * DIGEST_BYTES
    return digest.compare(this.#bytes, start, start + DIGEST_BYTES) === 0
  }

  #unlink(row: number): void {
    const chain = this.#chain(this.#bytes, row * DIGEST_BYTES)
    const after = this.#next[row] ?? NO_ROW
    if (this.#first[chain] === row) {
      this.#first[chain] = after
      return
    }
    let before = this.#first[chain] ?? NO_ROW
    while (before !== NO_ROW && this.#next[before] !== row) before = this.#next[before] ?? NO_ROW
    if (before !== NO_ROW) this.#next[before] = after
  }
}
