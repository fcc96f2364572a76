// What is under way, by the hundred and for a moment each. A Set would say the same; but each time
// that JavaScriptCore has outgrown the table of one it keeps the old table pointing at the new, and
// once an old one has survived a collection so does all that was in every later one. With Sets here
// a fifth of a second's requests outlived their end until the next full collection: five times the
// work for the collector, for memory that nobody could see.

/** Its place is the list's to write; -1 while it is in none. */
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

  /** False where it was gone already. */
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

  /** As they are now: whoever goes through it may delete, and should ask whether one is gone. */
  all(): readonly T[] {
    return [...this.#items]
  }
}
