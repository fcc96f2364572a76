// The form of a token, before any library sees it. jose alone accepts non-canonical base64url,
// repeated members, padding and white space (RFC 7515 §2, §5.2; RFC 8725 §3): two texts for one
// token are two cache entries, two log lines and, between two parsers, two meanings. Pure; checks
// no signature and no claim.

import { type JsonObject, parseStrictObject } from './strict-json.ts'

export interface ParsedToken {
  readonly kid: string
  readonly claims: JsonObject
}

export type Parsed = { readonly ok: true; readonly value: ParsedToken } | Malformed
export interface Malformed {
  readonly ok: false
  readonly reason: string
}

/** A token longer than this is refused unread; identity providers stay well under 4 KiB. */
export const MAX_TOKEN_BYTES = 8192
const MAX_KID_LENGTH = 256
/** ES256: r and s of 32 bytes each (RFC 7518 §3.4); a DER signature has another length. */
const SIGNATURE_BYTES = 64

/** RFC 9068 §2.1 and RFC 7519 §5.1; other types (`dpop+jwt`, …) are other kinds of token. */
const TOKEN_TYPES = new Set(['jwt', 'at+jwt', 'application/at+jwt'])

/** Members that ask the verifier to trust a key or an algorithm of the token's own choosing. */
const FORBIDDEN_MEMBERS = ['crit', 'b64', 'jwk', 'jku', 'x5u', 'x5c', 'zip', 'enc']

export function parseToken(token: string): Parsed {
  if (token.length > MAX_TOKEN_BYTES) return malformed('too long')
  const segments = token.split('.')
  if (segments.length !== 3) return malformed('not three segments')
  const [headerText, claimsText, signature] = segments.map(decodeCanonical)
  if (!headerText || !claimsText || !signature) return malformed('not canonical base64url')
  if (signature.length !== SIGNATURE_BYTES) return malformed('signature is not 64 bytes')

  const header = parseObject(headerText)
  if (!header) return malformed('header is not an object with distinct members')
  if (header['alg'] !== 'ES256') return malformed('alg is not ES256')
  const forbidden = FORBIDDEN_MEMBERS.find((name) => Object.hasOwn(header, name))
  if (forbidden !== undefined) return malformed(`header has ${forbidden}`)
  const { typ, kid } = header
  if (typ !== undefined && !(typeof typ === 'string' && TOKEN_TYPES.has(typ.toLowerCase()))) {
    return malformed('typ is that of another kind of token')
  }
  if (typeof kid !== 'string' || kid === '' || kid.length > MAX_KID_LENGTH) {
    return malformed('kid is missing')
  }

  const claims = parseObject(claimsText)
  if (!claims) return malformed('claims are not an object with distinct members')
  return { ok: true, value: { kid, claims } }
}

function malformed(reason: string): Malformed {
  return { ok: false, reason }
}

/** RFC 7515 §2: no padding, no line breaks, and unused trailing bits zero. */
function decodeCanonical(segment: string): Buffer | undefined {
  const bytes = Buffer.from(segment, 'base64url')
  return segment !== '' && bytes.toString('base64url') === segment ? bytes : undefined
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function parseObject(bytes: Buffer): JsonObject | undefined {
  try {
    return parseStrictObject(utf8.decode(bytes))
  } catch {
    return undefined
  }
}
