// A user's token before any library sees it: the form of a compact JWS, and a header that says no more
// than the key, the algorithm and the kind of token. Pure; checks no signature and no claim.

import { type Malformed, malformed, parseCompact } from '../token/compact.ts'
import type { JsonObject } from '../token/strict-json.ts'
import { type Algorithm, SIGNATURE_SIZES } from './algorithms.ts'

export interface ParsedToken {
  readonly kid: string
  readonly alg: Algorithm
  readonly signatureBytes: number
  readonly claims: JsonObject
}

export type TokenParsed = { readonly ok: true; readonly value: ParsedToken } | Malformed

const MAX_KID_LENGTH = 256

/** RFC 9068 §2.1 and RFC 7519 §5.1; other types (`dpop+jwt`, …) are other kinds of token. */
const TOKEN_TYPES = new Set(['jwt', 'at+jwt', 'application/at+jwt'])

export function parseToken(token: string): TokenParsed {
  const compact = parseCompact(token, SIGNATURE_SIZES)
  if (!compact.ok) return compact
  const { header, claims, alg, signatureBytes } = compact.value
  const { typ, kid } = header
  if (typ !== undefined && !(typeof typ === 'string' && TOKEN_TYPES.has(typ.toLowerCase()))) {
    return malformed('typ is that of another kind of token')
  }
  if (typeof kid !== 'string' || kid === '' || kid.length > MAX_KID_LENGTH) {
    return malformed('kid is missing')
  }
  return { ok: true, value: { kid, alg: alg as Algorithm, signatureBytes, claims } }
}
