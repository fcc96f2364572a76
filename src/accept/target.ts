// The target of a request. Bun builds `request.url` from the Host header and Elysia splits it again, so a
// short, odd or missing Host could change where the path begins, and which route is taken. Therefore the
// Host is checked before routing.

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
 * For a request without Host, as health checks of load balancers send in HTTP/1.0 (RFC 9112 §3.2). Bun then
 * leaves `url` as it was sent, so only these paths are accepted.
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

/** Undefined if Host is missing, repeated or malformed. */
export function targetOf(url: string, host: string | null): Target | undefined {
  if (host === null || host.length > MAX_HOST_LENGTH || !HOST.test(host)) return undefined
  // If Bun finds the Host invalid, `url` is relative, and its parts would be misread.
  const origin = 'http://'.length
  if (!url.startsWith('http://')) return undefined
  const start = url.indexOf('/', origin)
  if (start === -1) return undefined
  const query = url.indexOf('?', start)
  if (query === -1) return { path: url.slice(start), search: '' }
  return { path: url.slice(start, query), search: url.slice(query) }
}

/**
 * A target contains no fragment (RFC 9112 §3.2) and only ASCII (RFC 3986 §2). Bun writes other bytes as
 * `%C3%A9`, and invalid UTF-8 as U+FFFD, so a raw and an encoded byte look alike here. Both are refused in
 * a path, because no route has either.
 */
const PATH_FAULT = /#|%(?:7f|[89a-f][0-9a-f])/i
/** A query may contain valid encoded UTF-8, but no overlong forms and no invalid bytes. */
const QUERY_FAULT = /#|%(?:7f|c[01]|e0%[89]|ed%[ab]|f0%8|f4%9|f[5-9a-f]|ef%bf%bd)/i

/** Well below the 32 KiB for the URL and all headers together (gate/header-limit.ts). */
const MAX_TARGET_LENGTH = 8192

/** A model's name with slashes, as clients encode it; they are the only characters that may be encoded. */
const MODEL_WITH_SLASHES =
  /^\/v1\/models\/[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}(?:%2[Ff][A-Za-z0-9][A-Za-z0-9._:@-]{0,127}){1,3}$/

/**
 * Whether Elysia's router may see it. No route but that of a model contains a percent sign; Elysia would
 * decode one in a parameter, and route a path that the upstream reads differently.
 */
export function mayBeRouted({ path, search }: Target): boolean {
  if (path.length + search.length > MAX_TARGET_LENGTH) return false
  if (path.includes('#') || (path.includes('%') && !MODEL_WITH_SLASHES.test(path))) return false
  return search === '' || !QUERY_FAULT.test(search)
}

/** What is wrong with a target. A path that is a route needs no check. */
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
