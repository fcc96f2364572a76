// Project Wycheproof's vectors for RSA in a compact JWS, and for Ed25519: each key as a set publishes it,
// each signature through what admission verifies with.

import { describe, expect, test } from 'bun:test'
import { isAlgorithm } from '../../src/admit/algorithms.ts'
import { parseKeySet } from '../../src/admit/key-set.ts'
import { isSigned } from '../../src/admit/signature.ts'
import { parseToken } from '../../src/admit/token.ts'
import ed25519 from '../vectors/jws/wycheproof-ed25519.json'
import rsa from '../vectors/jws/wycheproof-rsa.json'

const setOf = (jwk: object) => parseKeySet(JSON.stringify({ keys: [jwk] }))

/** As admission does it, whatever the payload is: most of these have none that is JSON. */
async function verdict(jws: string, jwk: object): Promise<string> {
  const parts = jws.split('.')
  const [head = '', , signature = ''] = parts
  const { alg, kid } = headerOf(head)
  const form = parseToken(jws)
  const isForm =
    form.ok || ['kid is missing', NO_CLAIMS].includes(form.reason) ? parts.length === 3 : false
  if (!isForm || !isAlgorithm(alg)) return 'invalid'
  const [key] = (await setOf(jwk)).keys
  if (!key || (kid !== undefined && key.kid !== kid)) return 'invalid'
  const signatureBytes = Buffer.from(signature, 'base64url').byteLength
  return (await isSigned(jws, key, { alg, signatureBytes })) ? 'valid' : 'invalid'
}

const NO_CLAIMS = 'claims are not an object with distinct members'

function headerOf(segment: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(Buffer.from(segment, 'base64url').toString()))
  } catch {
    return {}
  }
}

/** RFC 7520 signs with ES512; a key with another name than its algorithm's serves none. */
const NO_ALGORITHM = 'ES521'

for (const [at, group] of rsa.groups.entries()) {
  const jwk: { readonly alg?: string; readonly use?: string; readonly key_ops?: string[] } =
    group.public
  const foreign =
    jwk.alg === NO_ALGORITHM || jwk.use === 'enc' || jwk.key_ops?.includes('encrypt') === true
  describe(`${at}: ${group.comment}`, () => {
    for (const { tcId, comment, jws, result } of group.tests) {
      test(`${tcId}: ${comment}`, async () => {
        if (foreign) await expect(setOf(group.public)).rejects.toThrow('no usable key')
        else expect(await verdict(jws, group.public)).toBe(REFUSED.has(tcId) ? 'invalid' : result)
      })
    }
  })
}

/** Well signed, and refused all the same. */
const REFUSED = new Set([
  // No payload at all: a token has one.
  259, 264, 268, 272, 320, 325,
  // Signed with PS384 by a key whose alg is PS256 (RFC 7520 §4.2 has no alg on it).
  346, 350,
])

describe('Ed25519', () => {
  for (const { pk, tests } of ed25519.groups) {
    const x = Buffer.from(pk, 'hex').toString('base64url')
    for (const { tcId, comment, msg, sig, result } of tests) {
      test(`${tcId}: ${comment}`, async () => {
        const { keys } = await setOf({ kty: 'OKP', crv: 'Ed25519', x, kid: 'k', alg: 'EdDSA' })
        const [found] = keys[0]?.keys ?? []
        if (!found) throw new Error('no key')
        const signature = Buffer.from(sig, 'hex')
        const key = found.key.toCryptoKey({ name: 'Ed25519' }, false, ['verify'])
        const verified =
          signature.byteLength === found.signatureBytes &&
          (await crypto.subtle.verify('Ed25519', key, signature, Buffer.from(msg, 'hex')))
        expect(verified ? 'valid' : 'invalid').toBe(result)
      })
    }
  }
})
