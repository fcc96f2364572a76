// Checks the enclave that a client chooses (`X-Tinfoil-Enclave-Url`), and decides where the connection
// goes. Tinfoil's published example proxy forwards the API key to any URL in that header. Here the name
// must be on the list and must resolve to public addresses only, and the connection goes to the address
// that was checked, so that a second DNS answer changes nothing (rebinding).

import { isIP } from 'node:net'
import { isPublic } from '../../hosts.ts'

export interface Enclave {
  readonly url: URL
  readonly address: string
}

export type Lookup = (hostname: string) => Promise<readonly { readonly address: string }[]>

/** Exactly `https://host`, as Tinfoil's clients send it; a trailing slash is allowed. */
const ENCLAVE_URL = /^https:\/\/([a-z0-9-]+(?:\.[a-z0-9-]+)+)\/?$/

/** The host in the header, if the list allows it by `.suffix` or exact name. */
export function allowedHost(header: string, allowed: readonly string[]): string | undefined {
  const host = ENCLAVE_URL.exec(header.toLowerCase())?.[1]
  if (host === undefined || host.length > 253 || /\.\d+$/.test(host)) return undefined
  // The URL parser turns decimal, octal and hexadecimal numbers into addresses; a real name stays unchanged.
  const parsed = URL.canParse(`https://${host}`) ? new URL(`https://${host}`).hostname : ''
  if (parsed !== host || isIP(host) !== 0) return undefined
  const listed = allowed.some((each) =>
    each.startsWith('.') ? host.endsWith(each) : host === each,
  )
  return listed ? host : undefined
}

/** Undefined if the name has no address, or one that is not public. */
export async function resolveEnclave(host: string, lookup: Lookup): Promise<Enclave | undefined> {
  try {
    const found = await lookup(host)
    if (!found.every((each) => isPublic(each.address))) return undefined
    // Only one address is tried: the one that more machines can reach.
    const best = found.find((each) => isIP(each.address) === 4) ?? found[0]
    return best && { url: new URL(`https://${host}`), address: best.address }
  } catch {
    return undefined
  }
}
