// What is known of tokens that may not themselves be kept, by their SHA-256, of the last so many of
// them. It says nothing of how long it holds: whoever asks looks whether it still does.

import { DIGEST_BYTES, Digests, NO_ROW } from './digests.ts'

export class TokenMemory<T> {
  readonly #tokens: number
  /** Made with the first token: it takes 200 KB for 20,000 of them, which an idle gate has no use for. */
  #digests: Digests | undefined
  readonly #known: (T | undefined)[] = []
  /** Of the token that is being looked at. */
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
