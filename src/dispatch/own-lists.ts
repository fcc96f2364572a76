// Lists of what a caller's own requests made. The upstream's list shows what every caller of its key made:
// the gate reads it page by page and keeps the caller's own objects, each as the upstream wrote it.

import type { Admitted } from '../admit/admitted.ts'
import { type Decision, type Dialect, granted, refused } from '../refusal.ts'
import type { ListedObject, ObjectPage } from '../upstream/reading/listed-objects.ts'
import type { Served } from './choose.ts'
import { FoundObjects } from './found-objects.ts'
import { type ListCursor, type ListPlace, listQuery, pageSearch } from './list-query.ts'
import type { AskPage } from './object-pages.ts'
import { pagePlaces, type PagePlaces } from './page-places.ts'
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
/** Each costs a database lookup, of about 10 µs. */
const LOOKUPS_A_TURN = 50

export function listingOwn(askPage: AskPage, ownerOf: OwnerOf): ListOwn {
  const places = pagePlaces()
  return async (among, { dialect, path, search, headers, signal }, caller, asking) => {
    const query = listQuery(dialect, path, search)
    if (!query.ok) return query
    const { limit, cursor, page: asked } = query.value
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

/** Where a list begins: in the first of these upstreams. */
interface ListStart {
  readonly among: readonly Served[]
  readonly place: ListPlace
  /** The first object of the page that counts; undefined for all. */
  readonly from: string | undefined
}

/** At the upstream that keeps the object where the list goes on. */
function startOf(
  among: readonly Served[],
  cursor: ListCursor | undefined,
  caller: Admitted,
  ownerOf: OwnerOf,
): Decision<ListStart> {
  if (!cursor) return granted({ among, place: {}, from: undefined })
  const { id, isBefore } = cursor
  for (const [index, { upstream }] of among.entries()) {
    const own = keptBy(upstream.name, id, caller, ownerOf)
    if (!own.ok) return own
    if (!own.value) continue
    if (isBefore && index > 0) return ONLY_AFTER
    const rest = isBefore ? among.slice(0, 1) : among.slice(index)
    return granted({ among: rest, place: { cursor }, from: undefined })
  }
  return noSuchObject()
}

function startAt(
  among: readonly Served[],
  text: string,
  identity: string,
  places: PagePlaces,
): Decision<ListStart> {
  const place = places.opened(text, identity)
  const index = among.findIndex(({ upstream }) => upstream.name === place?.upstream)
  if (!place || index === -1) return NO_SUCH_PAGE
  const { page, after, from } = place
  const cursor = after === undefined ? undefined : { id: after, isBefore: false }
  return granted({ among: among.slice(index), place: { page, cursor }, from })
}

/**
 * The page's objects beyond the place, in the direction of the list. A server that knows no cursor gives
 * the same page again.
 */
function beyond(
  { objects }: ObjectPage,
  { cursor }: ListPlace,
  from: string | undefined,
): readonly ListedObject[] {
  if (from !== undefined) {
    return objects.slice(
      Math.max(
        0,
        objects.findIndex(({ id }) => id === from),
      ),
    )
  }
  const at = cursor ? objects.findIndex(({ id }) => id === cursor.id) : -1
  if (!cursor?.isBefore) return objects.slice(at + 1)
  return (at === -1 ? objects : objects.slice(0, at)).toReversed()
}

/** Undefined after the last page. */
function placeAfter(
  { nextPage, hasMore }: ObjectPage,
  objects: readonly ListedObject[],
  isBefore: boolean,
): ListPlace | undefined {
  if (typeof nextPage === 'string') return { page: nextPage }
  const last = objects.at(-1)
  return nextPage === undefined && hasMore && last
    ? { cursor: { id: last.id, isBefore } }
    : undefined
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

const TOO_LONG = refused('list_too_long')
const ONLY_AFTER = refused('bad_request', {
  message: 'several upstreams keep what this list shows; go on with after instead of before',
  reason: 'before an object of a later upstream',
})
const NO_SUCH_PAGE = refused('bad_request', {
  message:
    'page is none that this gate named to this caller since it started; list again without it',
  reason: 'page of a list',
})
