// The kinds of settings about outgoing connections: URLs of others, the proxy, and hosts that plain http
// may reach. Pure, like kinds.ts.

import { isIP } from 'node:net'
import { looksPrivate } from '../hosts.ts'
import type { ProxyAddress } from '../http1/tunnel.ts'
import { type Kind, LIST, TEXT, value, wrong } from './kinds.ts'
import { Secret } from '../secret.ts'

/**
 * The URL of a server. Whether it may be http depends on PLAIN_HTTP_HOSTS: demands.ts decides.
 * `query`: RFC 6749 §3.1 lets endpoints have one, and some providers' key sets do.
 */
function outbound(query: 'with a query' | 'without'): Kind<URL> {
  return {
    placeholder: '<url>',
    shape: TEXT,
    read: (text) => {
      const url = URL.canParse(text) ? new URL(text) : undefined
      if (!url) return wrong('is not a URL', 'give a full URL, https://host/path')
      if (url.username !== '' || url.password !== '') {
        return wrong('carries a user or password', 'credentials have settings of their own')
      }
      if (url.hash !== '') return wrong('carries a fragment', 'leave out # and what follows')
      if (query === 'without' && url.search !== '') {
        return wrong('carries a query or fragment', 'give scheme, host and path alone')
      }
      return url.protocol === 'https:' || url.protocol === 'http:'
        ? value(url)
        : wrong('is not https', 'give a URL that begins with https://')
    },
  }
}

export const outboundUrl = outbound('without')
export const queryUrl = outbound('with a query')

/** The same for a URL that is compared as text: no slash is added. */
export const exactly = (of: Kind<URL>): Kind<string> => ({
  ...of,
  read: (text) => {
    const url = of.read(text)
    return url.ok ? value(text.trim()) : url
  },
})

/** An issuer's URL is a name and is never requested, so http does no harm. */
export const issuerUrl = exactly(outboundUrl)

/** The base of an API. A `/v1` at its end is dropped, because every path has it already. */
export const apiUrl: Kind<URL> = {
  placeholder: '<url>',
  shape: TEXT,
  read: (text) => outboundUrl.read(text.replace(/\/v1\/?$/, '')),
}

const PROXY_HINT = 'give http://host:port, or http://user:password@host:port'

/** As in curl, a proxy without a scheme is http. */
export const proxyUrl: Kind<ProxyAddress> = {
  placeholder: '<url>',
  shape: TEXT,
  read: (text) => {
    const full = text.includes('://') ? text : `http://${text}`
    const url = URL.canParse(full) ? new URL(full) : undefined
    if (!url) return wrong('is not the URL of a proxy', PROXY_HINT)
    const { protocol, hostname, port, pathname, search, hash } = url
    if (protocol !== 'http:' && protocol !== 'https:') {
      return wrong(
        'is not an HTTP proxy',
        `only http:// and https:// proxies are supported; ${PROXY_HINT}`,
      )
    }
    if (pathname !== '/' || search !== '' || hash !== '') {
      return wrong('has a path, a query or a fragment', PROXY_HINT)
    }
    const user = decoded(url.username)
    const password = decoded(url.password)
    if (user === undefined || password === undefined) {
      return wrong('has a user or password that is not URL-encoded', 'write % as %25, @ as %40')
    }
    const tls = protocol === 'https:'
    const basic = Buffer.from(`${user}:${password}`).toString('base64')
    return value({
      tls,
      hostname: hostname.replace(/^\[|\]$/g, ''),
      port: port === '' ? (tls ? 443 : 80) : Number(port),
      authorization: user === '' && password === '' ? undefined : new Secret(`Basic ${basic}`),
    })
  },
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

/** Lenient: other programs read NO_PROXY too, and accept anything. */
export const noProxyList: Kind<string> = {
  placeholder: '<host,...>',
  shape: TEXT,
  read: (text) => value(text),
}

const PLAIN_HOST =
  /^\.?[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*$/

/** Exact names and addresses, and suffixes with their dot; a public suffix is refused. */
export const plainHttpHosts: Kind<readonly string[]> = {
  placeholder: '<host,...>',
  shape: LIST,
  read: (text) => {
    const hosts = text
      .split(',')
      .map((each) =>
        each
          .trim()
          .toLowerCase()
          .replace(/^\[(.*)\]$/, '$1'),
      )
      .filter((each) => each !== '')
    if (hosts.length === 0) return wrong('is an empty list', 'give at least one, by commas')
    for (const host of hosts) {
      if (isIP(host) === 0 && !PLAIN_HOST.test(host)) {
        return wrong(
          'has an entry that is not a host',
          'give names without scheme or port, as in vllm or .svc.cluster.local',
        )
      }
      if (/^\.[^.]+$/.test(host) && !looksPrivate(host)) {
        return wrong('has a suffix that is open to everybody', 'name the hosts themselves')
      }
    }
    return value(hosts)
  },
}

/** `hosts`: exact names and `.suffix` entries. */
export function isListed(host: string, list: readonly string[]): boolean {
  return list.some((each) => (each.startsWith('.') ? host.endsWith(each) : host === each))
}
