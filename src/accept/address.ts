// Whose address a request comes from, for limits on routes that anybody may ask. What proxies say of
// it is believed only as long as it was written by a proxy on the list.

import { BlockList, isIP } from 'node:net'
import { networksOf } from '../config/networks.ts'
import { type Hops, hopsOfForwarded, hopsOfForwardedFor } from './forwarded.ts'

/** The headers as they were sent, lines of the same name joined by commas. */
export type AddressKey = (
  peer: string | undefined,
  forwardedFor: string | null,
  forwarded?: string | null,
) => string

/** Whether an address is one of these networks'. */
export function proxyCheck(trustedProxies: readonly string[]): (address: string) => boolean {
  const trusted = new BlockList()
  for (const entry of trustedProxies.flatMap(networksOf)) {
    const [written = '', prefix] = entry.split('/')
    const network = unmapped(written)
    const bits = isIP(network) === 6 ? 128 : 32
    // Of a mapped network the first 96 bits are the mapping.
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

/** A function from a connection's peer and its headers to the key that a limit counts under. */
export function addressKey(trustedProxies: readonly string[]): AddressKey {
  const isTrusted = proxyCheck(trustedProxies)

  /** The first hop that is no proxy; where that is not told, the proxy that did not tell it. */
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
    // A proxy writes one of the two, and passes on what a client wrote into the other. Where they
    // agree nobody gains; where they don't, neither is believed.
    return network(byFor) === network(by7239) ? network(byFor) : network(address)
  }
}

/** `::ffff:192.0.2.1`, in whatever spelling, is an IPv4 client on a dual-stack socket. */
function unmapped(address: string): string {
  if (isIP(address) !== 6) return address
  const groups = groupsOf(address)
  const isMapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff
  return isMapped ? ipv4Of(groups) : address
}

/** One IPv6 customer has a /64 at least, and may send from any address in it. */
function network(address: string): string {
  if (isIP(address) !== 6) return address
  const groups = groupsOf(address)
  if (groups[0] === 0x64 && groups[1] === 0xff9b) {
    // Translated from IPv4, all of which is in one /64 (RFC 6052 §2.1); RFC 8215 says not where.
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
