// From a raw path to its routes: exact paths and methods, and nothing that a stranger's path could
// inherit.

import type { Dialect } from '../refusal.ts'
import { isSilent, type Route } from './routes.ts'

export interface Found {
  /** The path as the route has it. */
  readonly pattern: string
  readonly methods: ReadonlySet<string>
  /** Of all its routes; undefined where they differ. */
  readonly dialect: Dialect | undefined
  /** By method; two where two dialects share it. */
  routes(method: string): readonly Route[]
}

/** From a raw path to its routes among those that are served; undefined where there is none. */
export type FindRoute = (path: string) => Found | undefined

const NONE: readonly Route[] = []

/** Names as providers give them to models, batches and files; none means anything to a URL. */
const NAME_SEGMENT = /^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$/
const PARAMETER = ':id'

export function routeFinder(served: readonly Route[]): FindRoute {
  const found = new Map<string, Found>()
  for (const [pattern, routes] of Map.groupBy(served, ({ path }) => path)) {
    const probe = isSilent(pattern) ? ['HEAD'] : []
    const dialects = new Set(routes.map(({ dialect }) => dialect))
    const byMethod = Map.groupBy(routes, ({ method }): string => method)
    found.set(pattern, {
      pattern,
      methods: new Set([...routes.map(({ method }) => method), ...probe]),
      dialect: dialects.size === 1 ? routes[0]?.dialect : undefined,
      routes: (method) => byMethod.get(isSilent(pattern) ? 'GET' : method) ?? NONE,
    })
  }
  return (path) => {
    const exact = found.get(path)
    if (exact) return path.includes(PARAMETER) ? undefined : exact
    const last = path.lastIndexOf('/')
    return found.get(named(path, last, path.length)) ?? found.get(inner(path, last))
  }
}

/** The path with a name between `slash` and `end` replaced by its parameter; '' where none is. */
function named(path: string, slash: number, end: number): string {
  if (slash < 0 || !NAME_SEGMENT.test(path.slice(slash + 1, end))) return ''
  return `${path.slice(0, slash + 1)}${PARAMETER}${path.slice(end)}`
}

const inner = (path: string, last: number): string =>
  last > 0 ? named(path, path.lastIndexOf('/', last - 1), last) : ''
