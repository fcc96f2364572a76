// What waits for its turn: in the order in which it came, and out again from anywhere. A Set would
// say the same, and keep what left it alive for longer (src/turn/unordered.ts). It is a chain, and what
// leaves it lets go of its neighbours: an old one must not hold the young.

/** Its neighbours are the chain's to write. */
export interface Linked<T extends Linked<T>> {
  chain: InOrder<T> | undefined
  before: T | undefined
  after: T | undefined
}

export class InOrder<T extends Linked<T>> {
  #first: T | undefined
  #last: T | undefined
  #size = 0

  get size(): number {
    return this.#size
  }

  get first(): T | undefined {
    return this.#first
  }

  /** It must be in no other chain. */
  add(item: T): void {
    item.chain = this
    item.before = this.#last
    if (this.#last) this.#last.after = item
    else this.#first = item
    this.#last = item
    this.#size += 1
  }

  /** False where it is not in here. */
  delete(item: T): boolean {
    if (item.chain !== this) return false
    const { before, after } = item
    if (before) before.after = after
    else this.#first = after
    if (after) after.before = before
    else this.#last = before
    item.chain = item.before = item.after = undefined
    this.#size -= 1
    return true
  }
}
