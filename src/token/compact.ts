// The form of a compact JWS before any library sees it: three canonical segments, a signature of the
// algorithm's length, a header that asks for nothing. jose alone accepts non-canonical base64url,
// repeated members, padding and white space (RFC 7515 §2, §5.2; RFC 8725 §3): two texts for one
// token are two cache entries, two log lines and, between two parsers, two meanings. Checks no
// signature and no claim, and knows no kind of token.

import { type JsonObject, parseStrictObject } from './strict-json.ts'

/** A longer token is refused unread. One of Keycloak's with many roles has 12 KiB. */
export const MAX_TOKEN_BYTES = 16_384
export const TOO_LONG = 'too long'

/** How far two honest clocks may differ. */
export const CLOCK_SKEW_SECONDS = 60

export interface Compact {
  readonly header: JsonObject
  /** One of the accepted algorithms. */
  readonly alg: string
  readonly signatureBytes: number
  readonly claims: JsonObject
}

export type CompactParsed = { readonly ok: true; readonly value: Compact } | Malformed
export interface Malformed {
  readonly ok: false
  readonly reason: string
}

/** The accepted algorithms, each with the possible lengths of its signatures in bytes. */
export type SignatureSizes = Readonly<Record<string, readonly [least: number, most: number]>>

/** Members that ask the verifier to trust a key or an algorithm of the token's own choosing. */
const FORBIDDEN_MEMBERS = ['crit', 'b64', 'jwk', 'jku', 'x5u', 'x5c', 'zip', 'enc']

export function parseCompact(token: string, sizes: SignatureSizes): CompactParsed {
  if (token.length > MAX_TOKEN_BYTES) return malformed(TOO_LONG)
  const segments = token.split('.')
  if (segments.length !== 3) return malformed('not three segments')
  if (!segments.every(isCanonical)) return malformed('not canonical base64url')
  const [headerText = '', claimsText = '', signature = ''] = segments
  const header = readHeader(headerText)
  if (!header) return malformed('header is not an object with distinct members')
  const { alg } = header
  const size = typeof alg === 'string' && Object.hasOwn(sizes, alg) ? sizes[alg] : undefined
  if (typeof alg !== 'string' || !size) return malformed(`alg is not ${namesOf(sizes)}`)
  const [least, most] = size
  const signatureBytes = decode(signature)
  if (signatureBytes < least || signatureBytes > most) {
    const bytes = least === most ? least : `${least} to ${most}`
    return malformed(`signature is not ${bytes} bytes`)
  }
  const forbidden = FORBIDDEN_MEMBERS.find((name) => Object.hasOwn(header, name))
  if (forbidden !== undefined) return malformed(`header has ${forbidden}`)
  const claims = parseObject(claimsText)
  if (!claims) return malformed('claims are not an object with distinct members')
  return { ok: true, value: { header, alg, signatureBytes, claims } }
}

function namesOf(sizes: SignatureSizes): string {
  const names = Object.keys(sizes)
  return names.length === 1 ? names.join('') : 'one that is taken'
}

export function malformed(reason: string): Malformed {
  return { ok: false, reason }
}

/** Scratch space for the segment being read, which saves an object for each. */
const decoded = Buffer.alloc(MAX_TOKEN_BYTES)

function decode(segment: string): number {
  return decoded.write(segment, 'base64url')
}

/** RFC 7515 §2: no padding, no line breaks, and unused trailing bits zero. */
function isCanonical(segment: string): boolean {
  return segment !== '' && decoded.toString('base64url', 0, decode(segment)) === segment
}

/** The last header: tokens signed by one key share it. */
let known: { readonly text: string; readonly header: JsonObject } | undefined

function readHeader(segment: string): JsonObject | undefined {
  if (known?.text === segment) return known.header
  const header = parseObject(segment)
  // A copy, because a substring would keep the whole token alive.
  if (header) known = { text: decoded.toString('base64url', 0, decode(segment)), header }
  return header
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function parseObject(segment: string): JsonObject | undefined {
  try {
    return parseStrictObject(utf8.decode(decoded.subarray(0, decode(segment))))
  } catch {
    return undefined
  }
}
