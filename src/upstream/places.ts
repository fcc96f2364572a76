// Where under an upstream's own address a path of ours goes.

import { type Decision, granted } from '../refusal.ts'
import type { Destination } from './upstream.ts'

/**
 * `path` below the path of `base`. Set, not resolved: with a base of `https://host//`, resolving
 * `//v1/models` would make `v1` the host that gets our key.
 */
export function urlUnder(base: URL, path: string, search = ''): URL {
  const url = new URL(base)
  url.pathname = base.pathname.replace(/\/+$/, '') + path
  url.search = search
  return url
}

/** More than there are routes; the names of models and files that some end in may be any number. */
const MAX_PLACES = 64

/** The same, made once for each path: a URL is dear to make, and what has no query is one of a few. */
export function placesUnder(base: URL): (path: string, search: string) => Decision<Destination> {
  const places = new Map<string, Decision<Destination>>()
  return (path, search) => {
    if (search !== '') return granted({ url: urlUnder(base, path, search) })
    const known = places.get(path)
    if (known) return known
    const place = granted({ url: urlUnder(base, path) })
    if (places.size >= MAX_PLACES) places.clear()
    places.set(path, place)
    return place
  }
}
