// The credential of a request, as RFC 6750 §2.1 defines it: one `Authorization: Bearer` header. Every
// credential is judged here. On the control routes @elysiajs/bearer reads it first (accept/bearer.ts);
// relayed routes do without: the plugin costs each request 1.1 µs and says nothing of a wrong header.

import { type Decision, granted, refused } from '../refusal.ts'

/** RFC 6750 §2.1 `b64token`; the scheme's name is case-insensitive (RFC 9110 §11.1). */
const BEARER = /^bearer +([A-Za-z0-9\-._~+/]+=*)$/i

/** `Authorization` and `x-api-key` differ: it is unclear which one is meant. */
export const TWO_CREDENTIALS = refused('ambiguous_credentials', {
  message:
    'Authorization and x-api-key carry two different credentials; send one. Claude Code and the SDKs send ANTHROPIC_AUTH_TOKEN as the first and ANTHROPIC_API_KEY as the second; apiKeyHelper is sent as both',
})

/** `query` is the raw query without its `?`; a token in it is refused, whatever else was sent. */
export function bearerToken(authorization: string | null, query: string): Decision<string> {
  if (query !== '' && new URLSearchParams(query).has('access_token')) {
    return refused('malformed_authorization', { reason: 'token in the query' })
  }
  if (authorization === null) return refused('missing_authorization')
  const token = BEARER.exec(authorization)?.[1]
  if (token !== undefined) return granted(token)
  // Doubled headers arrive joined by a comma, which no bearer token contains.
  if (/^bearer [^,]*,|, *bearer\b/i.test(authorization)) return refused('ambiguous_credentials')
  if (/^bearer *$/i.test(authorization)) return refused('missing_token')
  return refused('malformed_authorization')
}
