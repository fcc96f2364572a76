// Whether a token is signed by one of the keys that its `kid` names: only keys whose type and `alg`
// fit the token's algorithm (RFC 8725 §3.1), and whose signatures have this length.

import { compactVerify } from 'jose'
import type { VerifyKey } from './key-set.ts'
import type { ParsedToken } from './token.ts'

export async function isSigned(
  token: string,
  by: VerifyKey,
  { alg, signatureBytes }: Pick<ParsedToken, 'alg' | 'signatureBytes'>,
): Promise<boolean> {
  for (const { key, ...of } of by.keys) {
    if (of.signatureBytes !== signatureBytes || !of.algorithms.includes(alg)) continue
    try {
      await compactVerify(token, key, { algorithms: [alg] })
      return true
    } catch {
      // Perhaps another of the keys signed it.
    }
  }
  return false
}
