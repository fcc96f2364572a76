// `GET /v1/models` for a token with a model list: the response names only the models that the token may
// use. It is the only response whose body is changed. Filtering the upstream's pages would leave some
// empty, and clients stop at an empty page, so the gate requests the whole list and makes the pages
// itself.

import { allowedModel } from '../token/model-pattern.ts'
import { modelNotAllowed } from '../budget/refusals.ts'
import { type Decision, type Dialect, granted, type Refusal, refused } from '../refusal.ts'
import {
  isModel,
  type ListedModel,
  modelListIn,
  unreadable,
} from '../upstream/reading/listed-models.ts'
import type { Rewrite } from '../upstream/upstream.ts'

export interface ListedModels {
  /** The query for the upstream. */
  readonly search: string
  readonly rewrite: Rewrite
}

export const LIST = '/v1/models'
/** As in the API: 20 by default, at most 1,000. */
const DEFAULT_LIMIT = 20
const MAX_LIMIT = 1000
/** The query for Anthropic's whole list. */
export const WHOLE_LIST = `?limit=${MAX_LIMIT}`

/** Whether the list allows some models and not others. */
const isLimited = (patterns: readonly string[] | undefined): patterns is readonly string[] =>
  patterns !== undefined && !patterns.includes('*')

/** The model in a path `/v1/models/:id`. */
export function modelIn(path: string): string | undefined {
  if (!path.startsWith(`${LIST}/`)) return undefined
  const name = path.slice(LIST.length + 1)
  // Clients encode the slashes of a name.
  return name.includes('%') ? name.replace(/%2f/gi, '/') : name
}

/** For `/v1/models/:id`: a model outside the list does not exist for this token. */
export function hiddenModel(
  path: string,
  patterns: readonly string[] | undefined,
): Refusal | undefined {
  const model = modelIn(path)
  if (model === undefined || !isLimited(patterns)) return undefined
  return allowedModel(model, patterns) ? undefined : modelNotAllowed(model, patterns)
}

/** For `/v1/models`; undefined if the response passes unchanged. */
export function listedModels(
  path: string,
  search: string,
  patterns: readonly string[] | undefined,
): Decision<ListedModels | undefined> {
  if (path !== LIST || !isLimited(patterns)) return granted(undefined)
  const query = new URLSearchParams(search)
  const page = pageOf(query)
  if (!page.ok) return page
  for (const name of ['limit', 'before_id', 'after_id']) query.delete(name)
  query.set('limit', String(MAX_LIMIT))
  return granted({
    search: `?${query}`,
    rewrite: (body) => visible(body, patterns, page.value),
  })
}

interface Page {
  readonly limit: number
  readonly beforeId: string | null
  readonly afterId: string | null
}

function pageOf(query: URLSearchParams): Decision<Page> {
  const given = query.get('limit')
  const limit = given === null ? DEFAULT_LIMIT : /^\d{1,4}$/.test(given) ? Number(given) : 0
  if (limit < 1 || limit > MAX_LIMIT) {
    const message = `limit must be a whole number from 1 to ${MAX_LIMIT}`
    return refused('bad_request', { message, reason: 'limit' })
  }
  const [beforeId, afterId] = [query.get('before_id'), query.get('after_id')]
  if (beforeId !== null && afterId !== null) {
    const message = 'before_id and after_id cannot be given together'
    return refused('bad_request', { message, reason: 'two cursors' })
  }
  return granted({ limit, beforeId, afterId })
}

/** The body of a list, with the page that the caller requests if the dialect has pages. */
export function paged(
  dialect: Dialect,
  models: readonly ListedModel[],
  search: string,
): Decision<Uint8Array> {
  if (dialect === 'openai') return granted(encoded({ object: 'list', data: models }))
  const page = pageOf(new URLSearchParams(search))
  return page.ok ? cutPage({}, models, page.value) : page
}

function visible(body: Uint8Array, patterns: readonly string[], page: Page): Decision<Uint8Array> {
  const list = modelListIn(body)
  if (!list) return unreadable('list of models cannot be read')
  const { data, has_more: hasMore } = list
  // The list is longer than one response, so the rest could not be filtered.
  if (hasMore === true) return unreadable('list of models is too long')
  const allowed = data.filter(
    (each): each is ListedModel => isModel(each) && allowedModel(each.id, patterns),
  )
  // The list of another API, without pages.
  if (hasMore === undefined) return granted(encoded({ ...list, data: allowed }))
  return cutPage(list, allowed, page)
}

function cutPage(list: object, models: readonly ListedModel[], page: Page): Decision<Uint8Array> {
  const cut = cutOut(models, page)
  if (!cut) {
    const message = 'before_id or after_id names no model of this list'
    return refused('bad_request', { message, reason: 'cursor' })
  }
  return granted(
    encoded({
      ...list,
      data: cut.models,
      has_more: cut.hasMore,
      first_id: cut.models[0]?.id ?? null,
      last_id: cut.models.at(-1)?.id ?? null,
    }),
  )
}

function cutOut(
  models: readonly ListedModel[],
  { limit, beforeId, afterId }: Page,
): { readonly models: readonly ListedModel[]; readonly hasMore: boolean } | undefined {
  const cursor = beforeId ?? afterId
  const at = models.findIndex(({ id }) => id === cursor)
  if (cursor !== null && at === -1) return undefined
  if (beforeId !== null) {
    return { models: models.slice(Math.max(0, at - limit), at), hasMore: at > limit }
  }
  const rest = models.slice(at + 1)
  return { models: rest.slice(0, limit), hasMore: rest.length > limit }
}

const encoded = (list: object): Uint8Array => new TextEncoder().encode(JSON.stringify(list))
