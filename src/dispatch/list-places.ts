// Where a list begins, and where it goes on after each of the upstream's pages.

import type { Admitted } from '../admit/admitted.ts'
import { type Decision, granted, refused } from '../refusal.ts'
import type { ListedObject, ObjectPage } from '../upstream/reading/listed-objects.ts'
import type { Served } from './choose.ts'
import type { ListCursor, ListPlace } from './list-query.ts'
import type { PagePlaces } from './page-places.ts'
import { keptBy, noSuchObject, type OwnerOf } from './stored.ts'

/** Where a list begins: in the first of these upstreams. */
interface ListStart {
  readonly among: readonly Served[]
  readonly place: ListPlace
  /** The first object of the page that counts; undefined for all. */
  readonly from: string | undefined
}

/** At the upstream that keeps the object where the list goes on. */
export function startOf(
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

export function startAt(
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
export function beyond(
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
export function placeAfter(
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

const ONLY_AFTER = refused('bad_request', {
  message: 'several upstreams keep what this list shows; go on with after instead of before',
  reason: 'before an object of a later upstream',
})
const NO_SUCH_PAGE = refused('bad_request', {
  message:
    'page is none that this gate named to this caller since it started; list again without it',
  reason: 'page of a list',
})
