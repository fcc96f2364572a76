// A fixed-capacity table of SHA-256 digests. Callers store their data in arrays indexed by the row
// number; the oldest row is reused. The table is a few typed arrays, allocated once: a Map that evicts
// on every insert walks past its deleted entries to find the oldest (25 µs a token at 20,000 entries),
// and its entries live long enough to cost the collector. It keeps no token, and no part of one as a
// key: gateways that used a prefix or the signature alone were broken by it.

/** No such row, and the end of each chain. */
export const NO_ROW = -1
export const DIGEST_BYTES = 32

export class Digests {
  readonly #rows: number
  readonly #bytes: Buffer
  /** First row of each chain. Digests in one chain share their first bits. */
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

  /** The row of this digest; all 32 bytes are compared. */
  find(digest: Buffer): number {
    let row = this.#first[this.#chain(digest, 0)] ?? NO_ROW
    while (row !== NO_ROW && !this.#holds(row, digest)) row = this.#next[row] ?? NO_ROW
    return row
  }

  /** A row for a digest that has none; the oldest row if the table is full. */
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

  /** An attacker could search for collisions, but only verified tokens enter a chain. */
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
