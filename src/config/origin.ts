// Origins as browsers and app shells send them (RFC 6454 §6.2). They are compared as a whole, so that no page
// with a similar name is accepted. An entry that no browser would send is a mistake.

/** Every sandboxed frame, local file and many redirects send one of these, so they identify nobody. */
const NOBODYS = new Map([
  ['null', 'is the origin of every sandboxed frame, so it names no page'],
  ['*', 'would be every page; name each one'],
  ['file:', 'is the origin of every local file, so it names no page'],
  ['data:', 'has no origin of its own'],
  ['blob:', 'has no origin of its own'],
  ['about:', 'has no origin of its own'],
  ['javascript:', 'has no origin of its own'],
  ['ws:', 'is not a page; a page that opens WebSockets has an origin of https'],
  ['wss:', 'is not a page; a page that opens WebSockets has an origin of https'],
])

/** An extension's id has a fixed form; a shorter one is a typing error. */
const EXTENSION_IDS: ReadonlyMap<string, readonly [form: RegExp, why: string]> = new Map([
  ['chrome-extension:', [/^[a-p]{32}$/, 'needs the id of the extension, 32 letters from a to p']],
  [
    'moz-extension:',
    [
      /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/,
      'needs the UUID of the extension in lower case',
    ],
  ],
  [
    'safari-web-extension:',
    [/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i, 'needs the UUID of the extension'],
  ],
])

const SCHEME = /^[a-z][a-z0-9+.-]*:$/
/** An origin with an app's own scheme is kept as it is: no standard says how a shell normalises it. */
const APP_HOST = /^(?:[A-Za-z0-9._-]{1,253}|\[[0-9a-f:.]+\])(?::[1-9]\d{0,4})?$/

/** Why this is not an origin; undefined if it is one. */
export function originMistake(text: string): string | undefined {
  if (/\s/.test(text)) return 'has blanks in it; separate origins by commas'
  const nobodys = NOBODYS.get(text)
  if (nobodys !== undefined) return nobodys
  const end = text.indexOf(':') + 1
  const scheme = text.slice(0, end)
  const named = NOBODYS.get(scheme.toLowerCase())
  if (named !== undefined) return named
  const rest = text.slice(end)
  if (end === 0 || !rest.startsWith('//')) return 'has no scheme; give https://host'
  if (text.includes('*')) return 'has a wildcard; origins are compared whole, so name each one'
  if (!SCHEME.test(scheme)) {
    return SCHEME.test(scheme.toLowerCase())
      ? 'has a scheme that is not in lower case, as browsers send it'
      : 'has an invalid scheme'
  }
  if (text.includes('@')) return 'carries a user; an origin has none'
  const host = rest.slice(2)
  if (host === '') return 'names no host behind its scheme'
  if (/[/?#\\]/.test(host)) {
    return 'goes on behind the host; an origin ends there, without a slash, a path or a query'
  }
  if (scheme === 'http:' || scheme === 'https:') return webMistake(text)
  const extension = EXTENSION_IDS.get(scheme)
  if (extension) return extension[0].test(host) ? undefined : extension[1]
  return APP_HOST.test(host) ? undefined : 'names an invalid host'
}

function webMistake(text: string): string | undefined {
  if (!URL.canParse(text)) return 'names an invalid host or port'
  const { origin } = new URL(text)
  return origin === text ? undefined : `is not as browsers send it: they say ${origin}`
}
