// A collection for hundreds of short-lived objects. A Set that JavaScriptCore rehashes keeps its old
// table alive, and the old table points at the new one; once promoted, it keeps every later entry alive
// until a full collection. With Sets here, a fifth of a second's requests outlived their end, at five
// times the work for the collector.

/** The list writes `place`; it is -1 while the object is in no list. */
export interface Placed {
  place: number
}

export class Unordered<T extends Placed> {
  readonly #items: T[] = []

  get size(): number {
    return this.#items.length
  }

  add(item: T): void {
    item.place = this.#items.length
    this.#items.push(item)
  }

  /** False if it had already gone. */
  delete(item: T): boolean {
    const { place } = item
    if (place < 0) return false
    item.place = -1
    const last = this.#items.pop()
    if (last && last !== item) {
      last.place = place
      this.#items[place] = last
    }
    return true
  }

  /** A copy: entries may be deleted while it is walked, so check that each is still there. */
  all(): readonly T[] {
    return [...this.#items]
  }
}
