// A queue from which any item can be removed. A Set would keep removed items alive for longer
// (src/turn/unordered.ts). This is a linked list, and a removed item drops its neighbours, so that an
// old item cannot keep younger ones alive.

/** The queue writes these members. */
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

  /** The item must not be in another queue. */
  add(item: T): void {
    item.chain = this
    item.before = this.#last
    if (this.#last) this.#last.after = item
    else this.#first = item
    this.#last = item
    this.#size += 1
  }

  /** False if the item is not in this queue. */
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
