// Where tokens may be sent: https, or http to this machine. Nothing here does I/O.

/** Without a trailing slash; undefined if no token may be sent there. */
export function parseBaseUrl(text: string): string | undefined {
  if (!URL.canParse(text)) return undefined
  const url = new URL(text)
  const { protocol, username, password, search, hash } = url
  if (username !== '' || password !== '' || search !== '' || hash !== '') return undefined
  if (protocol !== 'https:' && !(protocol === 'http:' && isLoopback(url.hostname))) return undefined
  return (url.origin + url.pathname).replace(/\/+$/, '')
}

/** RFC 6761 §6.3 keeps `localhost` here; the URL parser has already made every IPv4 form dotted. */
export function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname)
}

/**
 * The address to which the gate says requests should go. A public gate whose PROXY_BASE_URL was
 * left at http://localhost:3001 would make every device give its token to whatever listens there.
 * So an address that is less safe than `base` is ignored, and `base` itself is used.
 */
export function proxyBaseUrl(said: string, base: string): string {
  const url = parseBaseUrl(said)
  if (url === undefined) return base
  return base.startsWith('https:') && !url.startsWith('https:') ? base : url
}
