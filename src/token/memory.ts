// A cache keyed by a token's SHA-256, because the token itself must not be stored. It holds a fixed
// number of entries and knows no expiry: callers check that what they find is still valid.

import { DIGEST_BYTES, Digests, NO_ROW } from './digests.ts'

export class TokenMemory<T> {
  readonly #tokens: number
  /** Created with the first token: 20,000 rows take 200 KB, which an idle gate need not spend. */
  #digests: Digests | undefined
  readonly #known: (T | undefined)[] = []
  /** Scratch space for the token being looked up. */
  readonly #digest = Buffer.alloc(DIGEST_BYTES)

  constructor(tokens: number) {
    this.#tokens = tokens
  }

  get(token: string): T | undefined {
    return this.#known[this.#rowOf(token)]
  }

  set(token: string, known: T): void {
    const digests = (this.#digests ??= new Digests(this.#tokens))
    const row = this.#rowOf(token)
    this.#known[row === NO_ROW ? digests.add(this.#digest) : row] = known
  }

  delete(token: string): void {
    const row = this.#rowOf(token)
    if (row !== NO_ROW) this.#known[row] = undefined
  }

  #rowOf(token: string): number {
    if (!this.#digests) return NO_ROW
    Bun.SHA256.hash(token, this.#digest)
    return this.#digests.find(this.#digest)
  }
}
