// A path that is no route, by a client whose base URL is wrong: which route it probably means. It is
// told and never taken: a path that is taken for another is how guards are walked around.

import type { Dialect } from '../refusal.ts'
import type { FindRoute, FoundRoute } from './route-table.ts'

/** Longer paths are no slip in a base URL. */
const MAX_LENGTH = 512
/** No route has more segments behind its `/v1`. */
const MAX_SEGMENTS = 5

/** `/chat/completions`, `//v1/messages`, `/v1/v1/messages`, `/V1/messages/`, `/api/v1/messages`. */
export function routeMeant(path: string, find: FindRoute): FoundRoute | undefined {
  if (path.length > MAX_LENGTH) return undefined
  const segments = path.split('/').filter((segment) => segment !== '')
  for (let from = Math.max(0, segments.length - MAX_SEGMENTS); from < segments.length; from += 1) {
    const rest = segments.slice(from)
    for (const spelled of [rest, rest.map((segment) => segment.toLowerCase())]) {
      const end = spelled.join('/')
      const found = find(`/v1/${end}`) ?? find(`/${end}`)
      if (found) return found
    }
  }
  return undefined
}

/** Where a client's base URL ends, as its API's clients have it. */
const BASE_URL: Readonly<Record<Dialect, string>> = {
  openai: 'the base URL of an OpenAI client ends in /v1, without a slash behind it',
  anthropic: 'the base URL of an Anthropic client ends before /v1, without a slash behind it',
}

export function noSuchRoute({ pattern, dialect }: FoundRoute, spoken: Dialect | undefined): string {
  const meant = `no such route; ${pattern} is probably meant`
  const client = spoken ?? dialect
  return pattern.startsWith('/v1/') && client ? `${meant}: ${BASE_URL[client]}` : meant
}

/** A path's own words, where no route is near: `/v2/messages` is Anthropic's even so. */
export function dialectOfPath(path: string): Dialect | undefined {
  if (/\/(?:messages|complete|anthropic)(?:\/|$)/i.test(path)) return 'anthropic'
  return undefined
}
