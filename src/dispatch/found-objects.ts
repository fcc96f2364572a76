// The objects of a caller that were found for one page of a list, and the page's own text.

import type { Dialect } from '../refusal.ts'
import type { ListedObject } from '../upstream/reading/listed-objects.ts'

const MAX_BYTES = 8 * 1024 * 1024

export class FoundObjects {
  readonly #found: { readonly id: string; readonly text: string }[] = []
  readonly #ids = new Set<string>()
  readonly #limit: number
  readonly #isBackwards: boolean
  #bytes = 0

  constructor(limit: number, isBackwards: boolean) {
    this.#limit = limit
    this.#isBackwards = isBackwards
  }

  get isEmpty(): boolean {
    return this.#found.length === 0
  }

  /** False if it has no room, so that there is more. */
  add({ id, bytes }: ListedObject): boolean {
    if (this.#ids.has(id)) return true
    const total = this.#bytes + bytes.byteLength
    if (this.#found.length >= this.#limit || (total > MAX_BYTES && !this.isEmpty)) return false
    this.#bytes = total
    this.#ids.add(id)
    // A copy, which does not keep the upstream's page.
    this.#found.push({ id, text: new TextDecoder().decode(bytes) })
    return true
  }

  /** `nextPage`: null on the last page, undefined if the upstream's pages have no names. */
  encoded(dialect: Dialect, hasMore: boolean, nextPage?: string | null): Uint8Array {
    const all = this.#isBackwards ? this.#found.toReversed() : this.#found
    const data = all.map(({ text }) => text).join(',')
    const [first = null, last = null] = [all[0]?.id, all.at(-1)?.id]
    const ends = `"first_id":${JSON.stringify(first)},"last_id":${JSON.stringify(last)}`
    const next = nextPage === undefined ? '' : `,"next_page":${JSON.stringify(nextPage)}`
    const object = dialect === 'openai' ? '"object":"list",' : ''
    return Buffer.from(`{${object}"data":[${data}],${ends},"has_more":${hasMore}${next}}`)
  }
}
