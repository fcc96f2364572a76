// Whether a token is signed by one of the keys that its `kid` names: only by one whose type and `alg` are
// for the token's algorithm (RFC 8725 §3.1), and whose signatures are as long as this one.

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
      // By another of the keys, perhaps.
    }
  }
  return false
}
