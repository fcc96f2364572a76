// The headers that pass, both ways. Deny by default: what is not named here does not, so that a
// client's credentials, cookies and addresses never leave, and an upstream's never come back.

import type { IncomingHttpHeaders } from 'node:http'

export const ENCAPSULATED_KEY = 'ehbp-encapsulated-key'
export const RESPONSE_NONCE = 'ehbp-response-nonce'
export const ENCLAVE_URL = 'x-tinfoil-enclave-url'

/** `accept-encoding` goes along because the answer's `content-encoding` comes back untouched. */
const TO_UPSTREAM = ['content-type', 'accept', 'accept-encoding', ENCAPSULATED_KEY] as const

const TO_CLIENT = [
  'content-type',
  'content-encoding',
  'content-language',
  'content-disposition',
  'cache-control',
  'retry-after',
  RESPONSE_NONCE,
] as const

/** The upstream's own credential comes last, over whatever was there. */
export function headersToUpstream(
  client: Headers,
  own: Readonly<Record<string, string>>,
): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const name of TO_UPSTREAM) {
    const value = client.get(name)
    if (value !== null) headers[name] = value
  }
  return Object.assign(headers, own)
}

export function headersToClient(upstream: IncomingHttpHeaders, to: Headers): void {
  for (const name of TO_CLIENT) {
    const value = upstream[name]
    if (typeof value === 'string') to.set(name, value)
  }
}
