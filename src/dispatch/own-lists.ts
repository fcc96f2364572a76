// Lists of what a caller's own requests made. The upstream's list shows what every caller of its key made:
// the gate reads it page by page and keeps the caller's own objects, each as the upstream wrote it.

import type { Admitted } from '../admit/admitted.ts'
import { type Decision, type Dialect, granted, refused } from '../refusal.ts'
import type { Served } from './choose.ts'
import { FoundObjects } from './found-objects.ts'
import { listById } from './list-by-id.ts'
import { beyond, placeAfter, startAt, startOf } from './list-places.ts'
import { type ListPlace, listQuery, pageSearch } from './list-query.ts'
import type { AskPage } from './object-pages.ts'
import { pagePlaces } from './page-places.ts'
import { keptBy, type OwnerOf } from './stored.ts'

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
/** Each costs a database lookup, of about 10 µs. */
const LOOKUPS_A_TURN = 50

export function listingOwn(askPage: AskPage, ownerOf: OwnerOf): ListOwn {
  const places = pagePlaces()
  return async (among, { dialect, path, search, headers, signal }, caller, asking) => {
    const query = listQuery(dialect, path, search)
    if (!query.ok) return query
    const { limit, cursor, page: asked, ids } = query.value
    if (ids.length > 0) {
      const isOwn = (on: Served, id: string) => keptBy(on.upstream.name, id, caller, ownerOf)
      const { identity } = caller
      const page = { path, headers, identity, timeoutMs: PAGE_MS }
      const byId = await listById(askPage, among, query.value, isOwn, asking, page)
      return byId.ok ? granted(byId.value.encoded(dialect, false, null)) : byId
    }
    const { identity } = caller
    const start =
      asked === undefined
        ? startOf(among, cursor, caller, ownerOf)
        : startAt(among, asked, identity, places)
    if (!start.ok) return start
    const sealed = (upstream: string, { page, cursor: at }: ListPlace, first?: string): string =>
      places.sealed({ upstream, page, after: at?.id, from: first }, identity)
    const until = performance.now() + TOTAL_MS
    const isBefore = cursor?.isBefore === true
    const found = new FoundObjects(limit, isBefore)
    let pages = 0
    let isNamed = false
    let { from, place } = start.value
    for (const on of start.value.among) {
      const { name } = on.upstream
      for (;;) {
        if (signal.aborted) return refused('upstream_unavailable', { reason: 'client is gone' })
        const left = until - performance.now()
        if (left <= 0 || pages >= (found.isEmpty ? MAX_EMPTY_PAGES : MAX_PAGES)) {
          const next = isNamed ? sealed(name, place, from) : undefined
          // Clients go on past an empty page if the next has a name.
          return found.isEmpty && !isNamed ? TOO_LONG : granted(found.encoded(dialect, true, next))
        }
        asking(name)
        const timeoutMs = Math.min(PAGE_MS, left)
        const said = await askPage(on, {
          path,
          search: pageSearch(query.value, place),
          headers,
          identity,
          timeoutMs,
        })
        if (!said.ok) return said
        pages += 1
        isNamed ||= !isBefore && said.value.nextPage !== undefined
        const objects = beyond(said.value, place, from)
        for (const [index, object] of objects.entries()) {
          if (index % LOOKUPS_A_TURN === LOOKUPS_A_TURN - 1) await nextTurn()
          const own = keptBy(name, object.id, caller, ownerOf)
          if (!own.ok) return own
          if (!own.value || found.add(object)) continue
          const next = isNamed ? sealed(name, place, object.id) : undefined
          return granted(found.encoded(dialect, true, next))
        }
        from = undefined
        const following = placeAfter(said.value, objects, isBefore)
        if (!following) break
        place = following
      }
      place = {}
    }
    return granted(found.encoded(dialect, false, isNamed ? null : undefined))
  }
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

const TOO_LONG = refused('list_too_long')
