// One entry of a JWK set (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2): the public key that it is, or why it is
// not used.

import { createPublicKey, type KeyObject } from 'node:crypto'
import { parseStrictObject } from '../token/strict-json.ts'
import {
  type Algorithm,
  algorithmsOf,
  isAlgorithm,
  type KeyType,
  MAX_RSA_BITS,
  MIN_RSA_BITS,
  signatureBytes,
} from './algorithms.ts'

export interface PublicKey {
  /** What it may verify: its `alg`, or each algorithm of its type. */
  readonly algorithms: readonly Algorithm[]
  /** How long each of its signatures is. */
  readonly signatureBytes: number
  readonly key: KeyObject
}

export interface NamedKey {
  readonly kid: string
  /** Equal for equal keys with equal algorithms. */
  readonly print: string
  /** Throws where the numbers are no key. */
  make(): PublicKey
}

export interface NotUsed {
  readonly why: string
  /** It is well-formed, and for somebody else: RFC 7517 §5 has it ignored. */
  readonly foreign: boolean
}

const notUsed = (why: string, foreign = false): NotUsed => ({ why, foreign })

export function namedKey(text: string): NamedKey | NotUsed {
  const jwk = parseStrictObject(text)
  if (!jwk) return notUsed('it is not a JSON object, or has a member twice')
  const { kty, crv, alg, use, key_ops: operations, kid } = jwk
  // A set that publishes a private key is one that anybody can sign for.
  if ('d' in jwk) return notUsed('it has a private part')
  if (kty === 'oct' || 'k' in jwk) return notUsed('it is a symmetric key')
  if (typeof kty !== 'string') return notUsed('its kty is missing or no text')
  const type = typeOf(kty, crv)
  if (!type) return notUsed('no algorithm that is taken has keys of its kty and crv', true)
  const algorithms = alg === undefined ? algorithmsOf(type) : [alg].filter(isAlgorithm)
  if (algorithms.length === 0) return notUsed('its alg is not one that is taken', true)
  if (!algorithms.every((each) => algorithmsOf(type).includes(each))) {
    return notUsed('its alg is not for keys of its kty and crv')
  }
  if (use !== undefined && use !== 'sig') return notUsed('its use is not sig', true)
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes('verify'))) {
    return notUsed('its key_ops do not include verify', true)
  }
  if (kid === undefined || kid === '') return notUsed('it has no kid')
  if (typeof kid !== 'string') return notUsed('its kid is not a string')
  const read = type === 'RSA' ? rsaKey(jwk) : curveKey(jwk, type)
  if ('why' in read) return read
  return {
    kid,
    print: `${read.print}.${algorithms.join('.')}`,
    make: () => ({
      algorithms,
      signatureBytes: read.signatureBytes,
      key: createPublicKey({ key: read.jwk, format: 'jwk' }),
    }),
  }
}

function typeOf(kty: string, crv: unknown): KeyType | undefined {
  if (kty === 'RSA') return 'RSA'
  if (kty === 'OKP') return crv === 'Ed25519' ? crv : undefined
  if (kty !== 'EC') return undefined
  return crv === 'P-256' || crv === 'P-384' || crv === 'P-521' ? crv : undefined
}

interface Numbers {
  readonly jwk: Readonly<Record<string, string>>
  readonly print: string
  readonly signatureBytes: number
}

const COORDINATE_BYTES = { 'P-256': 32, 'P-384': 48, 'P-521': 66, Ed25519: 32 } as const

function curveKey(
  { x, y }: Readonly<Record<string, unknown>>,
  type: keyof typeof COORDINATE_BYTES,
): Numbers | NotUsed {
  const bytes = COORDINATE_BYTES[type]
  if (type === 'Ed25519') {
    // A string of bytes and no number: none of them may be missing.
    const point = bytesOf(x)
    if (point?.byteLength !== bytes) return notUsed('its x is missing or not 32 bytes in base64url')
    const jwk = { kty: 'OKP', crv: type, x: point.toString('base64url') }
    return { jwk, print: `${type}.${jwk.x}`, signatureBytes: signatureBytes(type) }
  }
  const point = { x: coordinate(x, bytes), y: coordinate(y, bytes) }
  if (point.x === undefined || point.y === undefined) {
    return notUsed(`its x or y is missing or not ${bytes} bytes in base64url`)
  }
  return {
    jwk: { kty: 'EC', crv: type, x: point.x, y: point.y },
    print: `${type}.${point.x}.${point.y}`,
    signatureBytes: signatureBytes(type),
  }
}

/** An exponent of more bytes makes each signature dear; nearly all keys have 65537. */
const MAX_EXPONENT_BYTES = 4

function rsaKey({ n, e }: Readonly<Record<string, unknown>>): Numbers | NotUsed {
  const [modulus, exponent] = [numberOf(n), numberOf(e)]
  if (!modulus || !exponent) return notUsed('its n or e is missing or not in base64url')
  const bits = modulus.byteLength * 8 - Math.clz32(modulus[0] ?? 0) + 24
  if (bits < MIN_RSA_BITS) return notUsed(`its modulus has fewer than ${MIN_RSA_BITS} bits`)
  if (bits > MAX_RSA_BITS) return notUsed(`its modulus has more than ${MAX_RSA_BITS} bits`)
  // With an e of 1, anybody can sign.
  const [last = 0] = exponent.subarray(-1)
  const isOne = exponent.byteLength === 1 && last === 1
  if (isOne || last % 2 === 0 || exponent.byteLength > MAX_EXPONENT_BYTES) {
    return notUsed('its e is not an odd number from 3 to 2^32')
  }
  const jwk = { kty: 'RSA', n: modulus.toString('base64url'), e: exponent.toString('base64url') }
  return { jwk, print: `RSA.${jwk.n}.${jwk.e}`, signatureBytes: modulus.byteLength }
}

/**
 * RFC 7518 §6.2.1.2 demands all bytes without padding. Libraries that keep a coordinate as a number
 * drop its leading zeros, or put one more in front, and some pad the base64: each is the same point.
 */
function coordinate(value: unknown, bytes: number): string | undefined {
  const significant = numberOf(value)
  if (!significant || significant.byteLength > bytes) return undefined
  const whole = Buffer.alloc(bytes)
  significant.copy(whole, bytes - significant.byteLength)
  return whole.toString('base64url')
}

/** Without leading zeros. */
function numberOf(value: unknown): Buffer | undefined {
  const bytes = bytesOf(value)
  const first = bytes?.findIndex((byte) => byte !== 0)
  return first === -1 ? bytes?.subarray(0, 0) : bytes?.subarray(first)
}

/** As long as the largest modulus with a zero in front. */
const MAX_BASE64 = Math.ceil(((MAX_RSA_BITS / 8 + 1) * 4) / 3)

function bytesOf(value: unknown): Buffer | undefined {
  if (typeof value !== 'string' || value.length > MAX_BASE64 + 2) return undefined
  return /^[A-Za-z0-9_+/-]+={0,2}$/.test(value) ? Buffer.from(value, 'base64') : undefined
}
