// A table that keeps what was used last: two maps, of which the older is dropped when the newer is
// full. It holds at most twice `half` entries, and maintains no order.

export class Recent<T> {
  readonly #half: number
  #recent = new Map<string, T>()
  #former = new Map<string, T>()

  constructor(half: number) {
    this.#half = half
  }

  find(key: string): T | undefined {
    return this.#recent.get(key) ?? this.#former.get(key)
  }

  get(key: string, make: () => T): T {
    const known = this.#recent.get(key)
    if (known !== undefined) return known
    const value = this.#former.get(key) ?? make()
    if (this.#recent.size >= this.#half) {
      this.#former = this.#recent
      this.#recent = new Map()
    }
    this.#recent.set(key, value)
    return value
  }

  entries(): [string, T][] {
    return [...new Map([...this.#former, ...this.#recent])]
  }

  all(): T[] {
    return this.entries().map(([, value]) => value)
  }
}
