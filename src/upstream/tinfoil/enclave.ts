// Which enclave a client may choose (`X-Tinfoil-Enclave-Url`), and where a connection to it goes.
// The example proxy that Tinfoil publishes forwards the API key to any URL in that header; here a
// name must be on the list, must resolve to public addresses alone, and the connection goes to the
// very address that was checked, so that a second answer of the DNS changes nothing (rebinding).

import { BlockList, isIP } from 'node:net'

export interface Enclave {
  readonly url: URL
  readonly address: string
}

export type Lookup = (hostname: string) => Promise<readonly { readonly address: string }[]>

/** Exactly `https://host`, as Tinfoil's clients send it; a trailing slash changes nothing. */
const ENCLAVE_URL = /^https:\/\/([a-z0-9-]+(?:\.[a-z0-9-]+)+)\/?$/

/** The host that the header names, where the list allows it: `.suffix` or an exact name. */
export function allowedHost(header: string, allowed: readonly string[]): string | undefined {
  const host = ENCLAVE_URL.exec(header.toLowerCase())?.[1]
  if (host === undefined || host.length > 253 || /\.\d+$/.test(host)) return undefined
  // WHATWG reads decimal, octal and hexadecimal numbers as addresses; a name survives it unchanged.
  const parsed = URL.canParse(`https://${host}`) ? new URL(`https://${host}`).hostname : ''
  if (parsed !== host || isIP(host) !== 0) return undefined
  const listed = allowed.some((each) =>
    each.startsWith('.') ? host.endsWith(each) : host === each,
  )
  return listed ? host : undefined
}

/** Undefined where the name has no address, or any that is not public. */
export async function resolveEnclave(host: string, lookup: Lookup): Promise<Enclave | undefined> {
  try {
    const found = await lookup(host)
    if (!found.every((each) => isPublic(each.address))) return undefined
    // One address and no fall-back to another: the one that more machines can reach.
    const best = found.find((each) => isIP(each.address) === 4) ?? found[0]
    return best && { url: new URL(`https://${host}`), address: best.address }
  } catch {
    return undefined
  }
}

/** Everything that IANA's special-purpose registries (RFC 6890) keep from being reachable for all. */
const NOT_PUBLIC = new BlockList()
for (const [network, prefix] of [
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
] as const) {
  NOT_PUBLIC.addSubnet(network, prefix, 'ipv4')
}
for (const [network, prefix] of [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
] as const) {
  NOT_PUBLIC.addSubnet(network, prefix, 'ipv6')
}
/** Global unicast; all the rest of IPv6 (loopback, mapped, unique local, link local) is not. */
const PUBLIC_IPV6 = new BlockList()
PUBLIC_IPV6.addSubnet('2000::', 3, 'ipv6')

export function isPublic(address: string): boolean {
  switch (isIP(address)) {
    case 4:
      return !NOT_PUBLIC.check(address, 'ipv4')
    case 6:
      return PUBLIC_IPV6.check(address, 'ipv6') && !NOT_PUBLIC.check(address, 'ipv6')
    default:
      return false
  }
}
