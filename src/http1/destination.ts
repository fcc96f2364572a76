// The destination of a request: a URL, parsed once into what a connection needs.

import { userAgent } from '../version.ts'
import { type Origin, originAt } from './connection.ts'

export interface Destination {
  readonly origin: Origin
  /** The part of a request's head after its method: the target, Host and user agent. */
  readonly opening: string
}

/** With an `address` the connection goes there, and not where the name resolves by then. */
export function destinationOf(url: URL, address?: string): Destination {
  const tls = url.protocol === 'https:'
  const port = url.port === '' ? (tls ? 443 : 80) : Number(url.port)
  return {
    origin: originAt(tls, url.hostname.replace(/^\[|\]$/g, ''), port, address),
    opening: `${url.pathname}${url.search} HTTP/1.1\r\nhost: ${url.host}\r\nuser-agent: ${userAgent}\r\n`,
  }
}

/**
 * `path` below the path of `base`. Set, not resolved: with a base of `https://host//`, resolving
 * `//v1/models` would make `v1` the host that gets our key.
 */
export function urlUnder(base: URL, path: string, search = ''): URL {
  const url = new URL(base)
  url.pathname = base.pathname.replace(/\/+$/, '') + path
  url.search = search
  return url
}

export const placeUnder = (base: URL, path: string, search = ''): Destination =>
  destinationOf(urlUnder(base, path, search))
