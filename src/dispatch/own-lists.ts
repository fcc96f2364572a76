// Lists of what a caller's own requests made. The upstream's list shows what every caller of its key made:
// the gate reads it page by page and keeps the caller's own objects, each as the upstream wrote it.

import type { Admitted } from '../admit/admitted.ts'
import { type Decision, type Dialect, granted, type Refusal, refused } from '../refusal.ts'
import type { ListedObject } from '../upstream/reading/listed-objects.ts'
import type { Served } from './choose.ts'
import { type ListCursor, listQuery, pageSearch } from './list-query.ts'
import type { AskPage } from './object-pages.ts'
import { keptBy, noSuchObject, type OwnerOf } from './stored.ts'

export interface ListAsked {
  readonly dialect: Dialect
  readonly path: string
  readonly search: string
  /** The caller's own. */
  readonly headers: Headers
  /** Aborted where nobody waits for the list any more. */
  readonly signal: AbortSignal
}

/** The response's body. `among`: in the settings' order. */
export type ListOwn = (
  among: readonly Served[],
  asked: ListAsked,
  caller: Admitted,
  /** Called before an upstream is asked. */
  asking: (upstream: string) => void,
) => Promise<Decision<Uint8Array>>

/** Of the upstream's pages: where something is found, and where nothing was found yet. */
const MAX_PAGES = 10
const MAX_EMPTY_PAGES = 40
const PAGE_MS = 20_000
const TOTAL_MS = 60_000
const MAX_BYTES = 8 * 1024 * 1024
/** Each costs a database lookup, of about 10 µs. */
const LOOKUPS_A_TURN = 50

export function listingOwn(askPage: AskPage, ownerOf: OwnerOf): ListOwn {
  return async (among, { dialect, path, search, headers, signal }, caller, asking) => {
    const query = listQuery(dialect, path, search)
    if (!query.ok) return query
    const { limit, cursor } = query.value
    const from = cursor ? startOf(among, cursor, caller, ownerOf) : granted(among)
    if (!from.ok) return from
    const until = performance.now() + TOTAL_MS
    const found = new FoundObjects(limit, cursor?.isBefore === true)
    let pages = 0
    let next = cursor
    for (const on of from.value) {
      const { name } = on.upstream
      for (;;) {
        if (signal.aborted) return refused('upstream_unavailable', { reason: 'client is gone' })
        const left = until - performance.now()
        if (left <= 0 || pages >= (found.isEmpty ? MAX_EMPTY_PAGES : MAX_PAGES)) {
          return found.isEmpty ? TOO_LONG : granted(found.encoded(dialect, true))
        }
        asking(name)
        const timeoutMs = Math.min(PAGE_MS, left)
        const search = pageSearch(query.value, next)
        const { identity } = caller
        const page = await askPage(on, { path, search, headers, identity, timeoutMs })
        if (!page.ok) return page
        pages += 1
        const objects = beyond(page.value.objects, next)
        for (const [index, object] of objects.entries()) {
          if (index % LOOKUPS_A_TURN === LOOKUPS_A_TURN - 1) await nextTurn()
          const own = keptBy(name, object.id, caller, ownerOf)
          if (!own.ok) return own
          if (own.value && !found.add(object)) return granted(found.encoded(dialect, true))
        }
        const last = objects.at(-1)
        if (!page.value.hasMore || !last) break
        next = { id: last.id, isBefore: cursor?.isBefore === true }
      }
      next = undefined
    }
    return granted(found.encoded(dialect, false))
  }
}

/** The upstreams from the one that keeps the object where the list goes on. */
function startOf(
  among: readonly Served[],
  { id, isBefore }: ListCursor,
  caller: Admitted,
  ownerOf: OwnerOf,
): Decision<readonly Served[]> {
  for (const [index, { upstream }] of among.entries()) {
    const own = keptBy(upstream.name, id, caller, ownerOf)
    if (!own.ok) return own
    if (!own.value) continue
    if (!isBefore) return granted(among.slice(index))
    return index === 0 ? granted(among.slice(0, 1)) : ONLY_AFTER
  }
  return noSuchObject()
}

/**
 * The page's objects beyond the cursor, in the direction of the list. A server that knows no cursor gives
 * the same page again.
 */
function beyond(
  objects: readonly ListedObject[],
  cursor: ListCursor | undefined,
): readonly ListedObject[] {
  const at = cursor ? objects.findIndex(({ id }) => id === cursor.id) : -1
  if (!cursor?.isBefore) return objects.slice(at + 1)
  return (at === -1 ? objects : objects.slice(0, at)).toReversed()
}

class FoundObjects {
  readonly #found: ListedObject[] = []
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
  add(object: ListedObject): boolean {
    if (this.#ids.has(object.id)) return true
    const bytes = this.#bytes + object.text.length
    if (this.#found.length >= this.#limit || (bytes > MAX_BYTES && !this.isEmpty)) return false
    this.#bytes = bytes
    this.#ids.add(object.id)
    this.#found.push(object)
    return true
  }

  encoded(dialect: Dialect, hasMore: boolean): Uint8Array {
    const all = this.#isBackwards ? this.#found.toReversed() : this.#found
    const data = all.map(({ text }) => text).join(',')
    const [first = null, last = null] = [all[0]?.id, all.at(-1)?.id]
    const ends = `"first_id":${JSON.stringify(first)},"last_id":${JSON.stringify(last)}`
    const object = dialect === 'openai' ? '"object":"list",' : ''
    return Buffer.from(`{${object}"data":[${data}],${ends},"has_more":${hasMore}}`)
  }
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

const TOO_LONG = refused('list_too_long')
const ONLY_AFTER: Refusal = refused('bad_request', {
  message: 'several upstreams keep what this list shows; go on with after instead of before',
  reason: 'before an object of a later upstream',
})
