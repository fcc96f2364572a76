// Networks as `TRUSTED_PROXIES` names them: addresses, CIDR blocks, and names such as `loopback`. Also the
// networks around an address, for limits that an owner of many addresses must not evade.

import { isIP } from 'node:net'

const NAMED: ReadonlyMap<string, readonly string[]> = new Map([
  ['loopback', ['127.0.0.0/8', '::1/128']],
  ['linklocal', ['169.254.0.0/16', 'fe80::/10']],
  ['private', ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7']],
])

/** The CIDR blocks of an entry. */
export const networksOf = (entry: string): readonly string[] => NAMED.get(entry) ?? [entry]

/** Why this is not a network; undefined if it is one. */
export function networkMistake(entry: string): string | undefined {
  if (NAMED.has(entry)) return undefined
  const [address = '', prefix, ...more] = entry.split('/')
  const family = isIP(address)
  if (family === 0) {
    return `is not an address, a CIDR block or one of ${[...NAMED.keys()].join(', ')}`
  }
  if (address.includes('%')) return 'has a zone; leave it out'
  if (prefix === undefined) return undefined
  const bits = family === 4 ? 32 : 128
  if (more.length > 0 || !/^\d{1,3}$/.test(prefix) || Number(prefix) > bits) {
    return `has an invalid prefix; IPv${family} has /0 to /${bits}`
  }
  return undefined
}

/** Whether an entry contains every address of its family. */
export function isEverybody(entry: string): boolean {
  const [address = '', prefix] = entry.split('/')
  return prefix !== undefined && Number(prefix) <= (isMapped(address) ? 96 : 0)
}

/** `::ffff:192.0.2.1` in any spelling: its first 96 bits do not belong to the network. */
function isMapped(address: string): boolean {
  if (isIP(address) !== 6) return false
  return /^\[::ffff:[0-9a-f]+:[0-9a-f]+\]$/.test(new URL(`http://[${address}]/`).hostname)
}

export interface WiderNetworks {
  /** The network of one site or customer: a /48, or a /24 of IPv4. */
  readonly site: string
  /** The smallest network of one provider: a /32, or a /16 of IPv4. */
  readonly block: string
}

const IPV4 = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.\d{1,3}$/
const IPV6_64 = /^([0-9a-f]{1,4}):([0-9a-f]{1,4}):([0-9a-f]{1,4}):[0-9a-f]{1,4}::\/64$/

/** `key` comes from accept/address.ts; undefined if it is not on the public internet. */
export function widerNetworks(key: string): WiderNetworks | undefined {
  const [, a, b, c] = IPV6_64.exec(key) ?? []
  if (a !== undefined) return { site: `${a}:${b}:${c}::/48`, block: `${a}:${b}::/32` }
  const [, first, second, third] = IPV4.exec(key) ?? []
  if (first === undefined) return undefined
  return { site: `${first}.${second}.${third}.0/24`, block: `${first}.${second}.0.0/16` }
}
