// What a host's name or address says about where the host is.

import { BlockList, isIP } from 'node:net'

const LOOPBACK_HOST = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\]|::1)$/

export function isLoopback(host: string): boolean {
  return LOOPBACK_HOST.test(host)
}

/**
 * Names that no public registry assigns (RFC 6761, RFC 8375, ICANN's `.internal`), or that none
 * can.
 */
const PRIVATE_SUFFIX =
  /(?:^|\.)(?:internal|local|localdomain|localhost|lan|home|home\.arpa|corp|intranet|private|test|svc|cluster\.local)$/

/** Whether a name, or a suffix with its dot, can only belong to a private network. */
export function looksPrivate(host: string): boolean {
  if (isIP(host) !== 0 || PRIVATE_SUFFIX.test(host)) return true
  return !host.includes('.')
}

/** What IANA's special-purpose registries (RFC 6890) exclude from global reachability. */
const NOT_PUBLIC = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
] as const
/** Global unicast; the rest of IPv6 (loopback, mapped, unique local, link local) is not public. */
const PUBLIC_IPV6 = [['2000::', 3]] as const

interface PublicLists {
  readonly notPublic: BlockList
  readonly publicIpv6: BlockList
}

/** Created for the first address, which saves a start a millisecond. */
let lists: PublicLists | undefined

export function isPublic(address: string): boolean {
  lists ??= { notPublic: listOf(NOT_PUBLIC), publicIpv6: listOf(PUBLIC_IPV6) }
  const { notPublic, publicIpv6 } = lists
  switch (isIP(address)) {
    case 4:
      return !notPublic.check(address, 'ipv4')
    case 6:
      return publicIpv6.check(address, 'ipv6') && !notPublic.check(address, 'ipv6')
    default:
      return false
  }
}

function listOf(subnets: readonly (readonly [network: string, prefix: number])[]): BlockList {
  const list = new BlockList()
  for (const [network, prefix] of subnets) {
    list.addSubnet(network, prefix, isIP(network) === 6 ? 'ipv6' : 'ipv4')
  }
  return list
}
