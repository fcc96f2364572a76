// Whose address a request comes from, for limits on routes that anybody may ask. `X-Forwarded-For`
// is a claim: it is read from its end, and only as long as it was written by a proxy on the list.

import { BlockList, isIP } from 'node:net'

export type AddressKey = (peer: string | undefined, forwardedFor: string | null) => string

/** Longer chains are somebody's attempt at something. */
const MAX_HOPS = 20

/** A function from a connection's peer and its header to the key that a limit counts under. */
export function addressKey(trustedProxies: readonly string[]): AddressKey {
  const trusted = new BlockList()
  for (const entry of trustedProxies) {
    const [network = '', prefix] = entry.split('/')
    const family = isIP(network) === 6 ? 'ipv6' : 'ipv4'
    trusted.addSubnet(network, Number(prefix ?? (family === 'ipv6' ? 128 : 32)), family)
  }
  const isTrusted = (address: string): boolean =>
    trusted.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4')

  return (peer, forwardedFor) => {
    let address = unmapped(peer ?? '')
    const hops = forwardedFor?.split(',').slice(-MAX_HOPS) ?? []
    while (isIP(address) !== 0 && isTrusted(address)) {
      const hop = unmapped(hops.pop()?.trim() ?? '')
      if (isIP(hop) === 0) break
      address = hop
    }
    return network(address)
  }
}

/** `::ffff:192.0.2.1` is an IPv4 client on a dual-stack socket. */
function unmapped(address: string): string {
  return address.toLowerCase().replace(/^::ffff:(?=\d+\.)/, '')
}

/** One IPv6 customer has a /64 at least, and may send from any address in it. */
function network(address: string): string {
  if (isIP(address) !== 6) return address
  const [head = '', tail = ''] = address.split('%')[0]?.split('::') ?? []
  const left = head === '' ? [] : head.split(':')
  const right = tail === '' ? [] : tail.split(':')
  const zeros = address.includes('::') ? Math.max(0, 8 - left.length - right.length) : 0
  const groups = [...left, ...Array<string>(zeros).fill('0'), ...right]
  return `${groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')}::/64`
}
