// A table of all routes, read from the app. Elysia's router finds the route of a request; this table says
// what to answer to a request without one, and makes the list in docs/api.md.

import type { Dialect } from '../refusal.ts'
import type { Access } from './arrivals.ts'
import { isSilent } from './probes.ts'

export interface Route {
  readonly method: string
  /** The segments `:id` and `:item` are names: of a model, a batch, a file. */
  readonly path: string
  readonly access: Access
  /** If there are two, the request's headers decide. */
  readonly dialects: readonly Dialect[]
  readonly about: string
}

/** What we read of Elysia's routes. */
interface DeclaredRoute {
  readonly method: string
  readonly path: string
  readonly hooks: {
    readonly detail?: { readonly summary?: string; readonly tags?: readonly string[] }
  }
}

const ACCESS = new Set<string>(['public', 'relayed', 'caller', 'own', 'operator'])
const isAccess = (tag: string): tag is Access => ACCESS.has(tag)
const isDialect = (tag: string): tag is Dialect => tag === 'openai' || tag === 'anthropic'

/** Throws if a route does not say who may use it. */
export function routesOf(declared: readonly DeclaredRoute[]): readonly Route[] {
  return declared.map(({ method, path, hooks: { detail } }) => {
    const tags = detail?.tags ?? []
    const access = tags.find(isAccess)
    if (!access) throw new Error(`${method} ${path} does not say who may pass`)
    return { method, path, access, dialects: tags.filter(isDialect), about: detail?.summary ?? '' }
  })
}

export interface FoundRoute {
  /** The path as it was declared. */
  readonly pattern: string
  readonly methods: ReadonlySet<string>
  /** Undefined if the path's routes have several. */
  readonly dialect: Dialect | undefined
}

/** Finds the routes of a raw path; undefined if there are none. */
export type FindRoute = (path: string) => FoundRoute | undefined

/** Names of models, batches, files and the like. No character of them is special in a URL. */
export const NAME_SEGMENT = /^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$/
const PARAMETER = ':'
/** No route has more. */
const MAX_SEGMENTS = 8

interface Pattern {
  readonly segments: readonly string[]
  readonly found: FoundRoute
}

export function routeFinder(served: readonly Route[]): FindRoute {
  const exact = new Map<string, FoundRoute>()
  const patterns: Pattern[] = []
  for (const [pattern, routes] of Map.groupBy(served, ({ path }) => path)) {
    const probe = isSilent(pattern) ? ['HEAD'] : []
    const dialects = new Set(routes.flatMap((route) => route.dialects))
    const found = {
      pattern,
      methods: new Set([...routes.map(({ method }) => method), ...probe]),
      dialect: dialects.size === 1 ? routes[0]?.dialects[0] : undefined,
    }
    if (pattern.includes(PARAMETER)) patterns.push({ segments: pattern.split('/'), found })
    else exact.set(pattern, found)
  }
  return (path) => {
    const found = exact.get(path)
    if (found) return found
    const segments = path.split('/', MAX_SEGMENTS + 1)
    return patterns.find((each) => isOf(segments, each))?.found
  }
}

const isOf = (segments: readonly string[], { segments: of }: Pattern): boolean =>
  of.length === segments.length &&
  of.every((each, at) =>
    each.startsWith(PARAMETER) ? NAME_SEGMENT.test(segments[at] ?? '') : each === segments[at],
  )
