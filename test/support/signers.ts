// Keys of every algorithm that is taken, and the tokens that they sign.

import { constants, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import type { Algorithm } from '../../src/admit/algorithms.ts'
import { base64url, goodClaims, type Json } from './mint.ts'

export interface Signer {
  readonly alg: Algorithm
  readonly kid: string
  readonly publicKey: KeyObject
  /** As a key set publishes it, with its `alg`. */
  readonly jwk: Json
  readonly privateJwk: Json
  /** Signed; what is undefined is left out. The header's `alg` says nothing of how it is signed. */
  token(claims?: Json, header?: Json): string
}

export interface KeyPair {
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
}

type Kind = 'EC' | 'RSA' | 'PSS' | 'Ed'

const HOW: Readonly<Record<Algorithm, readonly [Kind, string | null, string?]>> = {
  ES256: ['EC', 'sha256', 'P-256'],
  ES384: ['EC', 'sha384', 'P-384'],
  ES512: ['EC', 'sha512', 'P-521'],
  EdDSA: ['Ed', null],
  Ed25519: ['Ed', null],
  RS256: ['RSA', 'sha256'],
  RS384: ['RSA', 'sha384'],
  RS512: ['RSA', 'sha512'],
  PS256: ['PSS', 'sha256'],
  PS384: ['PSS', 'sha384'],
  PS512: ['PSS', 'sha512'],
}

const USUAL_BITS = 2048

/** An RSA key takes a tenth of a second to make: three that follow each other differ, and no more do. */
const ring: KeyPair[] = []
let taken = 0

function rsaPair(modulusLength: number): KeyPair {
  if (modulusLength !== USUAL_BITS) return generateKeyPairSync('rsa', { modulusLength })
  const at = taken++ % 3
  return (ring[at] ??= strangeRsaPair())
}

/** The key of nobody else. */
export const strangeRsaPair = (): KeyPair =>
  generateKeyPairSync('rsa', { modulusLength: USUAL_BITS })

function pairOf(alg: Algorithm, modulusLength: number): KeyPair {
  const [kind, , namedCurve = ''] = HOW[alg]
  if (kind === 'EC') return generateKeyPairSync('ec', { namedCurve })
  return kind === 'Ed' ? generateKeyPairSync('ed25519') : rsaPair(modulusLength)
}

export function signatureBy(alg: Algorithm, key: KeyObject, input: string): Buffer {
  const [kind, hash] = HOW[alg]
  const padding =
    kind === 'PSS'
      ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }
      : {}
  return sign(hash, Buffer.from(input), { key, dsaEncoding: 'ieee-p1363', ...padding })
}

export interface SignerOptions {
  readonly kid?: string
  readonly modulusLength?: number
  /** A key of another's. */
  readonly pair?: KeyPair
}

export function signer(alg: Algorithm, options: SignerOptions = {}): Signer {
  const { kid = alg, modulusLength = USUAL_BITS, pair = pairOf(alg, modulusLength) } = options
  const { privateKey, publicKey } = pair
  const header = { alg, typ: 'JWT', kid }
  return {
    alg,
    kid,
    publicKey,
    jwk: { ...publicKey.export({ format: 'jwk' }), kid, use: 'sig', alg },
    privateJwk: { ...privateKey.export({ format: 'jwk' }), kid, use: 'sig', alg },
    token(claims = {}, more = {}) {
      const [head, body] = [
        { ...header, ...more },
        { ...goodClaims(), ...claims },
      ].map((each) => base64url(JSON.stringify(each)))
      const input = `${head}.${body}`
      return `${input}.${base64url(signatureBy(alg, privateKey, input))}`
    },
  }
}
