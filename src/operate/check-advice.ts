// What to do about an unexpected response to `postern check`. It names settings, and repeats nothing
// that was sent or received except addresses from a provider's own document.

import { settingNameOf } from '../config/upstreams.ts'
import type { Upstream } from '../upstream/upstream.ts'

/** One line, shown after the status. */
export function statusAdvice(
  status: number,
  upstream: Pick<Upstream, 'name' | 'kind'>,
  ownKey: boolean,
): string {
  const [key, url] = [settingNameOf(upstream, 'apiKey'), settingNameOf(upstream, 'baseUrl')]
  if (ownKey && status === 401) return `the key is not accepted: check ${key}, or its file`
  if (ownKey && status === 403) {
    return `the key may not do this: its account lacks the permission or the region; check ${key}`
  }
  if (status === 404 || status === 405) {
    const end = upstream.kind === 'openai' ? 'ends in /v1 or its like' : 'must not include /v1'
    return `there is no API at this address: check ${url}, which ${end}`
  }
  if (status === 429) return 'the limit of this key is used up for now; try again later'
  if (status >= 300 && status < 400) {
    return `redirects are not followed: give the final address in ${url}`
  }
  if (status >= 500) return 'the service itself fails; try again later'
  return `this is not a response of the API: check ${url}`
}

const WHERE = 'a provider names it as jwks_uri in its /.well-known/openid-configuration'

const DISCOVERY =
  "no key set is named, and the issuer's discovery document names no valid one: check that issuer matches exactly, or set jwks_url"

/** `reason`: one of the key set's reasons. */
export function keySetAdvice(reason: string): string | undefined {
  if (reason.startsWith('discovery: ')) return DISCOVERY
  if (/^status (?:404|405|410)$/.test(reason)) return `nothing is there: check JWKS_URL; ${WHERE}`
  if (/^status (?:401|403)$/.test(reason)) {
    return `a key set is public, this address is not: check JWKS_URL; ${WHERE}`
  }
  if (/^status 5\d\d$/.test(reason)) return 'the provider itself fails; try again later'
  return undefined
}

/** For a text that is not a key set: what it is instead. */
export function notKeySetAdvice(text: string): string {
  if (/^\s*</.test(text)) return `that is a web page: check JWKS_URL; ${WHERE}`
  const uri = discovered(text)?.jwksUri
  if (uri !== undefined) {
    return `that is the provider's discovery document; set JWKS_URL=${uri}`
  }
  return `check JWKS_URL; ${WHERE}`
}

export interface Discovered {
  readonly issuer: string
  readonly jwksUri: string | undefined
}

/** OpenID Connect Discovery 1.0 §3; undefined if it is not such a document. */
export function discovered(text: string): Discovered | undefined {
  try {
    const { issuer, jwks_uri: jwksUri } = Object(JSON.parse(text)) as Record<string, unknown>
    if (!isShown(issuer)) return undefined
    return { issuer, jwksUri: isShown(jwksUri) ? jwksUri : undefined }
  } catch {
    return undefined
  }
}

/** Text that a terminal shows unchanged, and a shell takes as one word. */
const isShown = (value: unknown): value is string =>
  typeof value === 'string' && /^https?:\/\/[\w.:/~?=&%+-]{1,500}$/.test(value)

/** What the provider calls itself and its key set, if the settings differ. */
export function issuerAdvice(
  { issuer, jwksUri }: Discovered,
  set: { readonly issuer: string; readonly jwksUrl: string },
): string[] {
  const lines: string[] = []
  if (issuer !== set.issuer) {
    const slash = issuer.replace(/\/$/, '') === set.issuer.replace(/\/$/, '')
    lines.push(
      `ISSUER is not what the provider calls itself${slash ? ' (the slash at the end counts)' : ''}: its tokens are refused until ISSUER=${issuer}`,
    )
  }
  if (jwksUri !== undefined && jwksUri !== set.jwksUrl) {
    lines.push(
      `JWKS_URL is not the provider's jwks_uri, ${jwksUri}: tokens may be signed by its keys`,
    )
  }
  return lines
}
