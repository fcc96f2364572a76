// The form of a compact JWS before any library sees it: three canonical segments, a signature of the
// algorithm's length, a header that asks for nothing. jose alone accepts non-canonical base64url,
// repeated members, padding and white space (RFC 7515 §2, §5.2; RFC 8725 §3): two texts for one
// token are two cache entries, two log lines and, between two parsers, two meanings. Pure; checks
// no signature and no claim, and knows no kind of token.

import { type JsonObject, parseStrictObject } from './strict-json.ts'

/** A token longer than this is refused unread; identity providers stay well under 4 KiB. */
export const MAX_TOKEN_BYTES = 8192

export interface Compact {
  readonly header: JsonObject
  readonly claims: JsonObject
}

export type CompactParsed = { readonly ok: true; readonly value: Compact } | Malformed
export interface Malformed {
  readonly ok: false
  readonly reason: string
}

export interface CompactRules {
  readonly alg: string
  readonly signatureBytes: number
}

/** Members that ask the verifier to trust a key or an algorithm of the token's own choosing. */
const FORBIDDEN_MEMBERS = ['crit', 'b64', 'jwk', 'jku', 'x5u', 'x5c', 'zip', 'enc']

export function parseCompact(token: string, { alg, signatureBytes }: CompactRules): CompactParsed {
  if (token.length > MAX_TOKEN_BYTES) return malformed('too long')
  const segments = token.split('.')
  if (segments.length !== 3) return malformed('not three segments')
  const [headerText, claimsText, signature] = segments.map(decodeCanonical)
  if (!headerText || !claimsText || !signature) return malformed('not canonical base64url')
  if (signature.length !== signatureBytes)
    return malformed(`signature is not ${signatureBytes} bytes`)
  const header = parseObject(headerText)
  if (!header) return malformed('header is not an object with distinct members')
  if (header['alg'] !== alg) return malformed(`alg is not ${alg}`)
  const forbidden = FORBIDDEN_MEMBERS.find((name) => Object.hasOwn(header, name))
  if (forbidden !== undefined) return malformed(`header has ${forbidden}`)
  const claims = parseObject(claimsText)
  if (!claims) return malformed('claims are not an object with distinct members')
  return { ok: true, value: { header, claims } }
}

export function malformed(reason: string): Malformed {
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
