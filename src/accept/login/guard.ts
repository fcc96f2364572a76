// Who may ask for a sign-in: this machine's browser on our own page, or a program that is no browser
// at all. Another page must neither reach us under a name of its own (DNS rebinding), nor make a
// browser act for it (attack 40), nor show or read what stands on ours.

import { type Decision, granted, refused } from '../../refusal.ts'

/** What this gate is called beside the names of this machine. */
export type KnownUrls = () => readonly URL[]

const LOOPBACK = new Set(['127.0.0.1', 'localhost', '[::1]'])

/**
 * `connect-src` and `form-action` let the page speak to us alone. Chrome holds `form-action` against
 * redirects too, so that no form is ever answered with one.
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

/** On every answer under /auth/, whatever it is. */
export function harden(headers: Headers): void {
  headers.set('content-security-policy', CONTENT_SECURITY_POLICY)
  headers.set('cross-origin-opener-policy', 'same-origin')
  headers.set('cross-origin-resource-policy', 'same-origin')
  headers.set('referrer-policy', 'no-referrer')
  headers.set('x-content-type-options', 'nosniff')
  headers.set('x-frame-options', 'DENY')
  headers.set('cache-control', 'no-store')
}

/** A page that got its own name to lead here sends that name as Host. */
export function knownHost(host: string | null, known: readonly URL[]): Decision<undefined> {
  const name = (host ?? '').toLowerCase().replace(/:\d+$/, '')
  if (LOOPBACK.has(name) || known.some(({ hostname }) => hostname === name)) {
    return granted(undefined)
  }
  const message = 'this gate does not go by that Host'
  return refused('bad_host', { reason: 'no name of this machine', message })
}

/**
 * Whether a browser says at all which page asks. One that says nothing (old, or behind something that
 * strips headers) cannot be told from one that another page makes act, so that what changes something
 * is not done on a cookie alone.
 */
export function saysWhoAsks(headers: Headers): boolean {
  return headers.has('sec-fetch-site') || headers.has('origin')
}

/** Whether a browser says that another page asks. Programs send neither header. */
export function asksFromElsewhere(headers: Headers, known: readonly URL[]): boolean {
  const site = headers.get('sec-fetch-site')
  if (site !== null && site !== 'same-origin' && site !== 'none') return true
  const origin = headers.get('origin')
  if (origin === null) return false
  // Under `no-referrer` our own forms say `null` (Fetch, "append a request Origin header"), as a
  // sandboxed frame does; what tells the two apart is a header that no page can set.
  if (origin === 'null') return site !== 'same-origin'
  const own = `http://${headers.get('host')?.toLowerCase()}`
  return origin !== own && known.every((each) => origin !== each.origin)
}
