// What a request is addressed to. Bun builds `request.url` out of the Host header, and Elysia
// splits it again: a short, odd or missing Host could move where the path begins, and with it which
// route is taken. So the Host is checked before any route is looked at.

import { type Refusal, refused } from '../refusal.ts'

/** A name or an address with an optional port (RFC 9110 §7.2); `_` occurs in container networks. */
const HOST = /^(?:[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?|\[[0-9a-f:.]+\])(?::\d{1,5})?$/i
const MAX_HOST_LENGTH = 260

export interface Target {
  readonly path: string
  /** The raw query with its `?`, or ''. */
  readonly search: string
}

/**
 * Of a request without any Host, which HTTP/1.0 may send (RFC 9112 §3.2): health checks of load
 * balancers do. Bun then leaves `url` as it was sent, so nothing but these paths is taken.
 */
export function probeTarget(
  url: string,
  host: string | null,
  isProbe: (path: string) => boolean,
): Target | undefined {
  if (host !== null) return undefined
  const query = url.indexOf('?')
  const path = query === -1 ? url : url.slice(0, query)
  return isProbe(path) ? { path, search: url.slice(path.length) } : undefined
}

/** Undefined where Host is missing, doubled or malformed. */
export function targetOf(url: string, host: string | null): Target | undefined {
  if (host === null || host.length > MAX_HOST_LENGTH || !HOST.test(host)) return undefined
  // With a Host that Bun itself finds odd, `url` is relative and its parts are not what they seem.
  const origin = 'http://'.length
  if (!url.startsWith('http://')) return undefined
  const start = url.indexOf('/', origin)
  if (start === -1) return undefined
  const query = url.indexOf('?', start)
  if (query === -1) return { path: url.slice(start), search: '' }
  return { path: url.slice(start, query), search: url.slice(query) }
}

/**
 * A fragment is no part of a request's target (RFC 9112 §3.2), nor is a byte beyond ASCII (RFC 3986
 * §2). Bun writes such bytes as `%C3%A9`, and what is no UTF-8 as U+FFFD, so that a raw one and an
 * encoded one look alike here: in a path both are refused, since no path of ours has either.
 */
const PATH_FAULT = /#|%(?:7f|[89a-f][0-9a-f])/i
/** A query may hold what is encoded rightly: not an overlong form, nor a byte of no UTF-8 at all. */
const QUERY_FAULT = /#|%(?:7f|c[01]|e0%[89]|ed%[ab]|f0%8|f4%9|f[5-9a-f]|ef%bf%bd)/i

/** Well under the 32 KiB that URL and headers may have together (gate/header-limit.ts). */
const MAX_TARGET_LENGTH = 8192

/**
 * Whether a router may look at it. No route has a percent sign: Elysia would decode it in a
 * parameter, and take a path for a route that the upstream reads otherwise.
 */
export function mayBeRouted({ path, search }: Target): boolean {
  if (path.length + search.length > MAX_TARGET_LENGTH) return false
  if (path.includes('%') || path.includes('#')) return false
  return search === '' || !QUERY_FAULT.test(search)
}

/** What is wrong with a target; a path that is a route has no fault in it. */
export function malformedTarget({ path, search }: Target, isRoute: boolean): Refusal | undefined {
  if (path.length + search.length > MAX_TARGET_LENGTH) return refused('uri_too_long')
  const inPath = isRoute ? undefined : PATH_FAULT.exec(path)
  const fault = inPath ?? (search === '' ? undefined : QUERY_FAULT.exec(search))
  if (!fault) return undefined
  const message =
    fault[0] === '#'
      ? 'the URL carries a fragment, which is never sent'
      : 'the URL holds bytes that are not ASCII or no UTF-8'
  return refused('bad_request', { message })
}
