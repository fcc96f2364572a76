// The client's address, for limits on public routes. What proxies say about it counts only if a
// trusted proxy wrote it.

import { BlockList, isIP } from 'node:net'
import { networksOf } from '../config/networks.ts'
import { type Hops, hopsOfForwarded, hopsOfForwardedFor } from './forwarded.ts'

/** Takes the headers as they were sent, with lines of one name joined by commas. */
export type AddressKey = (
  peer: string | undefined,
  forwardedFor: string | null,
  forwarded?: string | null,
) => string

/** Tells whether an address is in one of these networks. */
export function proxyCheck(trustedProxies: readonly string[]): (address: string) => boolean {
  const trusted = new BlockList()
  for (const entry of trustedProxies.flatMap(networksOf)) {
    const [written = '', prefix] = entry.split('/')
    const network = unmapped(written)
    const bits = isIP(network) === 6 ? 128 : 32
    // The first 96 bits of a mapped network are the mapping.
    const mapped = network === written ? 0 : 96
    const length = prefix === undefined ? bits : Math.max(0, Number(prefix) - mapped)
    trusted.addSubnet(network, length, bits === 128 ? 'ipv6' : 'ipv4')
  }
  return (address) => {
    const plain = unmapped(address)
    const family = isIP(plain)
    return family !== 0 && trusted.check(plain, family === 6 ? 'ipv6' : 'ipv4')
  }
}

/** Maps a connection's peer and its headers to the key that a limit counts under. */
export function addressKey(trustedProxies: readonly string[]): AddressKey {
  const isTrusted = proxyCheck(trustedProxies)

  /** The first hop that is not a proxy; if a proxy does not name it, that proxy. */
  const clientOf = (peer: string, hops: Hops): string => {
    let address = peer
    for (const hop of hops) {
      if (hop === undefined || !isTrusted(address)) break
      address = unmapped(hop)
    }
    return address
  }
  return (peer, forwardedFor, forwarded) => {
    const address = unmapped(peer ?? '')
    if (!isTrusted(address)) return network(address)
    const byFor = clientOf(address, hopsOfForwardedFor(forwardedFor ?? ''))
    if (forwarded === null || forwarded === undefined) return network(byFor)
    const by7239 = clientOf(address, hopsOfForwarded(forwarded) ?? [])
    if (forwardedFor === null) return network(by7239)
    // A proxy writes one of the two headers and passes on what a client wrote into the other. If the
    // two differ, neither is believed.
    return network(byFor) === network(by7239) ? network(byFor) : network(address)
  }
}

/** `::ffff:192.0.2.1`, in any spelling, is an IPv4 client on a dual-stack socket. */
function unmapped(address: string): string {
  if (isIP(address) !== 6) return address
  const groups = groupsOf(address)
  const isMapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff
  return isMapped ? ipv4Of(groups) : address
}

/** An IPv6 customer has at least a /64 and may send from any address in it. */
function network(address: string): string {
  if (isIP(address) !== 6) return address
  const groups = groupsOf(address)
  if (groups[0] === 0x64 && groups[1] === 0xff9b) {
    // Translated from IPv4. RFC 6052 §2.1 puts all of IPv4 into one /64; RFC 8215 does not say which.
    return groups.slice(2, 6).every((group) => group === 0) ? ipv4Of(groups) : hex(groups)
  }
  return `${hex(groups.slice(0, 4))}::/64`
}

const hex = (groups: readonly number[]): string =>
  groups.map((group) => group.toString(16)).join(':')

/** The last two of eight groups, as IPv4 writes them. */
const ipv4Of = (groups: readonly number[]): string =>
  groups
    .slice(6)
    .flatMap((group) => [group >> 8, group & 255])
    .join('.')

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
