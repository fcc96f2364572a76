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

/** `::ffff:192.0.2.1`, in whatever spelling, is an IPv4 client on a dual-stack socket. */
function unmapped(address: string): string {
  if (isIP(address) !== 6) return address
  const groups = groupsOf(address)
  if (groups.slice(0, 5).some((group) => group !== 0) || groups[5] !== 0xffff) return address
  return groups
    .slice(6)
    .flatMap((group) => [group >> 8, group & 255])
    .join('.')
}

/** One IPv6 customer has a /64 at least, and may send from any address in it. */
function network(address: string): string {
  if (isIP(address) !== 6) return address
  const groups = groupsOf(address).slice(0, 4)
  return `${groups.map((group) => group.toString(16)).join(':')}::/64`
}

/** The eight numbers of an IPv6 address (RFC 4291 §2.2). */
function groupsOf(address: string): number[] {
  const [head = [], tail = []] = (address.split('%')[0] ?? '').split('::').map((half) =>
    half === ''
      ? []
      : half.split(':').flatMap((group) => {
          if (!group.includes('.')) return [Number.parseInt(group, 16)]
          const [a = 0, b = 0, c = 0, d = 0] = group.split('.').map(Number)
          return [a * 256 + b, c * 256 + d]
        }),
  )
  return [...head, ...Array<number>(8 - head.length - tail.length).fill(0), ...tail]
}
