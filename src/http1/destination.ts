// Where requests go: a URL taken apart once into what the way out needs of it.

import { userAgent } from '../version.ts'
import { type Origin, originAt } from './connection.ts'

export interface Destination {
  readonly origin: Origin
  /** The beginning of a request's head, after its method: the target, who is asked and who asks. */
  readonly opening: string
}

/** With an `address`, that is where the connection goes, and not where the name points by then. */
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
