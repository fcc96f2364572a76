// Which enclave a client may choose (`X-Tinfoil-Enclave-Url`), and where a connection to it goes.
// The example proxy that Tinfoil publishes forwards the API key to any URL in that header; here a
// name must be on the list, must resolve to public addresses alone, and the connection goes to the
// very address that was checked, so that a second answer of the DNS changes nothing (rebinding).

import { isIP } from 'node:net'
import { isPublic } from '../../hosts.ts'

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
