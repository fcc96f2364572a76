// The query of a request for a list of stored objects: what each list understands. The rest is refused,
// because a filter that nobody applies would give another list than was asked for.

import { type Decision, type Dialect, granted, refused } from '../refusal.ts'

export interface ListCursor {
  readonly id: string
  readonly isBefore: boolean
}

/** Where a page of the upstream begins; empty for its first. */
export interface ListPlace {
  readonly cursor?: ListCursor | undefined
  /** The upstream's own name of the page. */
  readonly page?: string | undefined
}

export interface ListQuery {
  readonly limit: number
  readonly cursor: ListCursor | undefined
  /** What this gate called the page. */
  readonly page: string | undefined
  /** The list is of these alone, on one page. */
  readonly ids: readonly string[]
  /** Order and filters, which the upstream applies. */
  readonly filters: readonly (readonly [name: string, value: string])[]
  readonly form: ListForm
}

/** The query of one kind of list. */
export interface ListForm {
  readonly usualLimit: number
  readonly maxLimit: number
  /** How many the gate asks for at once. */
  readonly pageSize: number
  readonly after: string
  readonly before: string | undefined
  /** Its pages may have names. */
  readonly page?: 'page'
  /** A parameter that is repeated, with the ids of what is listed. */
  readonly ids?: 'ids[]'
  readonly filters: RegExp
}

/** Azure's clients send their version with everything. */
const NO_FILTERS = /^api-version$/

const OPENAI = {
  usualLimit: 20,
  maxLimit: 100,
  pageSize: 100,
  after: 'after',
  before: undefined,
  filters: NO_FILTERS,
} as const satisfies ListForm
const ANTHROPIC: ListForm = {
  usualLimit: 20,
  maxLimit: 1000,
  pageSize: 1000,
  after: 'after_id',
  before: 'before_id',
  filters: /^beta$/,
}

const FORMS: Readonly<Record<Dialect, Readonly<Partial<Record<string, ListForm>>>>> = {
  openai: {
    '/v1/files': {
      ...OPENAI,
      usualLimit: 10_000,
      maxLimit: 10_000,
      pageSize: 1000,
      filters: /^(?:api-version|order|purpose)$/,
    },
    '/v1/batches': OPENAI,
    '/v1/vector_stores': {
      ...OPENAI,
      before: 'before',
      filters: /^(?:api-version|order)$/,
    },
    '/v1/containers': { ...OPENAI, filters: /^(?:api-version|order|name)$/ },
    '/v1/fine_tuning/jobs': {
      ...OPENAI,
      filters: /^(?:api-version|metadata(?:\[[^\]]{1,64}\])?)$/,
    },
    '/v1/chat/completions': {
      ...OPENAI,
      // With their answers.
      pageSize: 50,
      filters: /^(?:api-version|order|model|metadata(?:\[[^\]]{1,64}\])?)$/,
    },
  },
  anthropic: {
    '/v1/messages/batches': ANTHROPIC,
    '/v1/files': { ...ANTHROPIC, page: 'page', ids: 'ids[]' },
  },
}

/** `path` is that of a list. */
export function listQuery(dialect: Dialect, path: string, search: string): Decision<ListQuery> {
  const form = FORMS[dialect][path]
  if (!form) return refused('not_found')
  const { usualLimit, maxLimit, after, before } = form
  const filters: [string, string][] = []
  let limit = usualLimit
  let cursor: ListCursor | undefined
  let page: string | undefined
  const ids: string[] = []
  const seen = new Set<string>()
  for (const [name, value] of new URLSearchParams(search)) {
    if (name === form.ids) {
      if (ids.push(value) > MAX_IDS) return wrong(`ids can be ${MAX_IDS} at most`)
      continue
    }
    if (seen.has(name)) return wrong('a parameter of the query is repeated')
    seen.add(name)
    if (name === 'limit') {
      limit = /^\d{1,5}$/.test(value) ? Number(value) : 0
      if (limit < 1 || limit > maxLimit) {
        return wrong(`limit must be a whole number from 1 to ${maxLimit}`)
      }
    } else if (name === after || name === before || name === form.page) {
      if (cursor || page !== undefined) return wrong(TWO_PLACES)
      if (name === form.page) {
        page = value
        continue
      }
      cursor = { id: value, isBefore: name === before }
    } else if (name === 'order' && value !== 'asc' && value !== 'desc') {
      return wrong('order must be asc or desc')
    } else if (form.filters.test(name)) filters.push([name, value])
    else return wrong('this gate does not know a parameter of the query of this list')
  }
  if (ids.length > 0 && (cursor || page !== undefined || seen.has('limit'))) return wrong(ALONE)
  return granted({ limit, cursor, page, ids, filters, form })
}

/** The upstream's query for one of its pages. */
export function pageSearch({ form, filters }: ListQuery, { cursor, page }: ListPlace): string {
  const search = new URLSearchParams()
  for (const [name, value] of filters) search.set(name, value)
  search.set('limit', String(form.pageSize))
  const { after, before = after } = form
  if (cursor) search.set(cursor.isBefore ? before : after, cursor.id)
  if (page !== undefined) search.set('page', page)
  return `?${search}`
}

/** The upstream's query for what has one of these ids. */
export function idsSearch({ form, filters }: ListQuery, ids: readonly string[]): string {
  const search = new URLSearchParams()
  for (const [name, value] of filters) search.set(name, value)
  for (const id of ids) search.append(form.ids ?? '', id)
  return `?${search}`
}

/** As in the API. */
const MAX_IDS = 100
const ALONE = 'ids cannot be given together with limit or a place from which the list goes on'
const TWO_PLACES = 'only one place can be given from which the list goes on'
const wrong = (message: string): Decision<never> =>
  refused('bad_request', { message, reason: 'query of a list' })
