// The list of objects that the query names by their ids.

import { type Decision, granted } from '../refusal.ts'
import type { Served } from './choose.ts'
import { FoundObjects } from './found-objects.ts'
import { idsSearch, type ListQuery } from './list-query.ts'
import type { AskPage, PageAsked } from './object-pages.ts'

/** The objects of these ids that are the caller's; what is not is left out, as the API does. */
export async function listById(
  askPage: AskPage,
  among: readonly Served[],
  query: ListQuery,
  isOwn: (on: Served, id: string) => Decision<boolean>,
  asking: (upstream: string) => void,
  page: Omit<PageAsked, 'search'>,
): Promise<Decision<FoundObjects>> {
  const found = new FoundObjects(query.ids.length, false)
  for (const on of among) {
    const own = new Set<string>()
    for (const id of query.ids) {
      const kept = isOwn(on, id)
      if (!kept.ok) return kept
      if (kept.value) own.add(id)
    }
    if (own.size === 0) continue
    asking(on.upstream.name)
    const said = await askPage(on, { ...page, search: idsSearch(query, [...own]) })
    if (!said.ok) return said
    for (const object of said.value.objects) if (own.has(object.id)) found.add(object)
  }
  return granted(found)
}
