// How outgoing connections are made: which certificates are trusted, and which hosts are reached through
// the proxy. HTTP_PROXY and the like in the environment are ignored.

import tls from 'node:tls'
import { isLoopback } from '../hosts.ts'
import { noProxy } from './no-proxy.ts'
import type { ProxyAddress } from './tunnel.ts'

export interface Egress {
  /** Undefined if only the built-in certificates are trusted. */
  readonly trust: tls.SecureContext | undefined
  /** Undefined if a host is asked directly. */
  proxyTo(hostname: string, port: number): ProxyAddress | undefined
}

export const DIRECT: Egress = { trust: undefined, proxyTo: () => undefined }

/** An egress that may be replaced: `now` gives that of each new connection. */
export const egressOf = (now: () => Egress): Egress => ({
  get trust() {
    return now().trust
  },
  proxyTo: (hostname, port) => now().proxyTo(hostname, port),
})

export interface EgressSettings {
  readonly upstreamProxy?: ProxyAddress | undefined
  /** Hosts that are asked directly, as NO_PROXY lists them. */
  readonly noProxy?: string | undefined
  readonly devMode: boolean
}

export function egress(settings: EgressSettings, trust: Egress['trust']): Egress {
  const { upstreamProxy: proxy, devMode } = settings
  const past = noProxy(settings.noProxy ?? '')
  // Embedded services of development mode bypass the proxy; to a proxy elsewhere, loopback is
  // another machine than for us.
  const ownLoopback = devMode || !proxy || !isLoopback(proxy.hostname)
  return {
    trust,
    proxyTo(hostname, port) {
      if (!proxy || past(hostname, port)) return undefined
      return ownLoopback && isLoopback(hostname) ? undefined : proxy
    },
  }
}

/** `certificates`: PEM, trusted besides the built-in ones, all of which it parses. */
export const trusting = (certificates: readonly string[]): Egress['trust'] =>
  certificates.length === 0
    ? undefined
    : tls.createSecureContext({ ca: [...tls.getCACertificates('default'), ...certificates] })
