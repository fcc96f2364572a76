// The signature algorithms (RFC 7518 §3.1, RFC 8037 §3.1, RFC 9864 §2.2) and the type of key that each
// needs. No HMAC: its key would be a secret shared by this gate and the issuer, and a public key is a
// secret to nobody. No `none`. A key is used only with algorithms of its own type, and if it has an
// `alg`, only with that one (RFC 8725 §3.1).

import type { SignatureSizes } from '../token/compact.ts'

export type KeyType = 'P-256' | 'P-384' | 'P-521' | 'Ed25519' | 'RSA'

const KEY_TYPES = {
  RS256: 'RSA',
  RS384: 'RSA',
  RS512: 'RSA',
  PS256: 'RSA',
  PS384: 'RSA',
  PS512: 'RSA',
  ES256: 'P-256',
  ES384: 'P-384',
  ES512: 'P-521',
  EdDSA: 'Ed25519',
  Ed25519: 'Ed25519',
} as const satisfies Readonly<Record<string, KeyType>>

export type Algorithm = keyof typeof KEY_TYPES

export const ALGORITHMS = Object.keys(KEY_TYPES) as readonly Algorithm[]

export function isAlgorithm(value: unknown): value is Algorithm {
  return typeof value === 'string' && Object.hasOwn(KEY_TYPES, value)
}

export function algorithmsOf(type: KeyType): readonly Algorithm[] {
  return ALGORITHMS.filter((each) => KEY_TYPES[each] === type)
}

/** Below this a modulus can be factored (RFC 7518 §3.3). */
export const MIN_RSA_BITS = 2048
/** Above this one signature costs milliseconds. */
export const MAX_RSA_BITS = 8192

/** r and s together (RFC 7518 §3.4), R and S (RFC 8032 §5.1.6), or as long as the modulus. */
const SIGNATURE_BYTES: Readonly<Record<KeyType, readonly [least: number, most: number]>> = {
  'P-256': [64, 64],
  'P-384': [96, 96],
  'P-521': [132, 132],
  Ed25519: [64, 64],
  RSA: [MIN_RSA_BITS / 8, MAX_RSA_BITS / 8],
}

export const SIGNATURE_SIZES: SignatureSizes = Object.fromEntries(
  ALGORITHMS.map((each) => [each, SIGNATURE_BYTES[KEY_TYPES[each]]]),
)

/** For keys on elliptic curves, whose signatures have one length. */
export function signatureBytes(type: Exclude<KeyType, 'RSA'>): number {
  return SIGNATURE_BYTES[type][0]
}
