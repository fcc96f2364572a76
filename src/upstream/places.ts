// The places under an upstream's own address.

import { type Destination, placeUnder } from '../http1/destination.ts'
import { type Decision, granted } from '../refusal.ts'

/** More than there are routes; the names of models and files that some end in may be any number. */
const MAX_PLACES = 64

/**
 * The same, made once for each path: a URL is dear to make, and what has no query is one of a few.
 * `fixed`: a query that each of those has.
 */
export function placesUnder(
  base: URL,
  fixed = '',
): (path: string, search: string) => Decision<Destination> {
  const places = new Map<string, Decision<Destination>>()
  return (path, search) => {
    if (search !== '') return granted(placeUnder(base, path, search))
    const known = places.get(path)
    if (known) return known
    const place = granted(placeUnder(base, path, fixed))
    if (places.size >= MAX_PLACES) places.clear()
    places.set(path, place)
    return place
  }
}

/** The base URL's own query goes first, and what it says no caller says otherwise. */
export function placesWithQuery(
  base: URL,
): (path: string, search: string) => Decision<Destination> {
  if (base.search === '') return placesUnder(base)
  const places = placesUnder(base, base.search)
  const fixed = new Set(base.searchParams.keys())
  return (path, search) => {
    if (search === '') return places(path, search)
    const own = search.slice(1).split('&')
    const rest = own.filter((each) => {
      const [name] = new URLSearchParams(each).keys()
      return name !== undefined && !fixed.has(name)
    })
    return granted(placeUnder(base, path, [base.search, ...rest].join('&')))
  }
}
