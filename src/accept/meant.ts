// Which route a client with a wrong base URL probably means. We only tell it: to treat one path as
// another is how guards are bypassed.

import type { Dialect } from '../refusal.ts'
import type { FindRoute, FoundRoute } from './route-table.ts'

/** A wrong base URL does not make a longer path. */
const MAX_LENGTH = 512
/** No route has more segments behind its `/v1`. */
const MAX_SEGMENTS = 6

/** `/chat/completions`, `//v1/messages`, `/v1/v1/messages`, `/V1/messages/`, `/api/v1/messages`. */
export function routeMeant(path: string, find: FindRoute): FoundRoute | undefined {
  if (path.length > MAX_LENGTH) return undefined
  const segments = path.split('/').filter((segment) => segment !== '')
  for (let from = Math.max(0, segments.length - MAX_SEGMENTS); from < segments.length; from += 1) {
    const rest = segments.slice(from)
    if (isOfAnother(segments, rest)) continue
    for (const spelled of [rest, rest.map((segment) => segment.toLowerCase())]) {
      const end = spelled.join('/')
      const found = find(`/v1/${end}`) ?? find(`/${end}`)
      if (found) return found
    }
  }
  return undefined
}

/** What a wrong base URL leaves behind a right `/v1`. */
const DOUBLED = /^(?:v1|api|openai|anthropic)$/i

/** `/v1/organization/usage/completions` ends like a route, and is of an API that is not served. */
function isOfAnother(
  [version, first = '']: readonly string[],
  [start]: readonly string[],
): boolean {
  return version === 'v1' && start !== version && start !== first && !DOUBLED.test(first)
}

/** Where the base URL of this API's clients ends. */
const BASE_URL: Readonly<Record<Dialect, string>> = {
  openai: 'the base URL of an OpenAI client ends in /v1, without a slash behind it',
  anthropic: 'the base URL of an Anthropic client ends before /v1, without a slash behind it',
}

export function noSuchRoute({ pattern, dialect }: FoundRoute, spoken: Dialect | undefined): string {
  const meant = `no such route; ${pattern} is probably meant`
  const client = spoken ?? dialect
  return pattern.startsWith('/v1/') && client ? `${meant}: ${BASE_URL[client]}` : meant
}

/** By words in the path if no route is close: `/v2/messages` is Anthropic's. */
export function dialectOfPath(path: string): Dialect | undefined {
  if (/\/(?:messages|complete|anthropic)(?:\/|$)/i.test(path)) return 'anthropic'
  return undefined
}
