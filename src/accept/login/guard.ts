// Who may use the sign-in: a browser on our own page, or a program. Another page must not reach us under
// a name of its own (DNS rebinding), make a browser act for it (attack 40), or frame or read our page.

import { type Decision, granted, refused } from '../../refusal.ts'

/** The URLs of this gate, besides loopback. */
export type KnownUrls = () => readonly URL[]

const LOOPBACK = new Set(['127.0.0.1', 'localhost', '[::1]'])

/**
 * `connect-src` and `form-action` let the page talk only to us. Chrome applies `form-action` to redirects,
 * too, so a form is never answered with one.
 */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "style-src 'self'",
  "script-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "form-action 'self'",
  "frame-ancestors 'none'",
  "base-uri 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ')

/** For every response under /auth/. */
export function harden(headers: Headers): void {
  headers.set('content-security-policy', CONTENT_SECURITY_POLICY)
  headers.set('cross-origin-opener-policy', 'same-origin')
  headers.set('cross-origin-resource-policy', 'same-origin')
  headers.set('referrer-policy', 'no-referrer')
  headers.set('x-content-type-options', 'nosniff')
  headers.set('x-frame-options', 'DENY')
  headers.set('cache-control', 'no-store')
}

/** Under DNS rebinding the browser sends the attacker's name as Host. */
export function knownHost(host: string | null, known: readonly URL[]): Decision<undefined> {
  const name = (host ?? '').toLowerCase().replace(/:\d+$/, '')
  if (LOOPBACK.has(name) || known.some(({ hostname }) => hostname === name)) {
    return granted(undefined)
  }
  const message = 'this gate does not go by that Host'
  return refused('bad_host', { reason: 'no name of this machine', message })
}

/**
 * Whether the browser says which page asks. If it does not (an old one, or something strips the headers),
 * another page may be behind the request, so a cookie alone must not change anything.
 */
export function saysWhoAsks(headers: Headers): boolean {
  return headers.has('sec-fetch-site') || headers.has('origin')
}

/** Whether the browser says that another page asks. Programs send neither header. */
export function asksFromElsewhere(headers: Headers, known: readonly URL[]): boolean {
  const site = headers.get('sec-fetch-site')
  if (site !== null && site !== 'same-origin' && site !== 'none') return true
  const origin = headers.get('origin')
  if (origin === null) return false
  // With `no-referrer` our own forms send `null` (Fetch, "append a request Origin header"), and so does a
  // sandboxed frame. Only `Sec-Fetch-Site`, which no page can set, tells them apart.
  if (origin === 'null') return site !== 'same-origin'
  const own = `http://${headers.get('host')?.toLowerCase()}`
  return origin !== own && known.every((each) => origin !== each.origin)
}
