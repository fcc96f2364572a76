// What a JWK set (RFC 7517 §5) gives: the public keys of ES256, and for every other entry its name and
// why it is not used. Each entry is judged alone: providers publish sets that are older, longer and
// odder than the RFC, and one bad entry must not cost the good ones their use.

import { elementTexts, parseStrictObject } from '../token/strict-json.ts'

export interface VerifyKey {
  readonly kid: string
  /** More than one where the set has different keys under this `kid`: a signature may be by any. */
  readonly keys: readonly CryptoKey[]
  /** Equal for equal public keys, so that a refresh can tell a changed key from a kept one. */
  readonly point: string
}

export interface DroppedEntry {
  /** Its `kid`, or its place in the set where it has none that can be shown. */
  readonly name: string
  readonly why: string
  /** It is well-formed, and for somebody else: RFC 7517 §5 has it ignored. */
  readonly foreign: boolean
}

export interface KeySet {
  readonly keys: readonly VerifyKey[]
  readonly dropped: readonly DroppedEntry[]
}

export class KeySetError extends Error {}

export const NOT_A_KEY_SET = 'not a JWK set'

/** A set of 1 MiB has about as many; what comes after them is dropped. */
const MAX_ENTRIES = 4000
/** A signature is tried against each of them. */
const MAX_KEYS_OF_A_KID = 4
const MAX_SHOWN_KID = 64

/** Throws where there is no usable key. */
export async function parseKeySet(text: string): Promise<KeySet> {
  // RFC 8259 §8.1 lets a parser ignore a byte order mark.
  const entries = elementTexts(text.replace(/^\uFEFF/, ''), 'keys')
  if (!entries) throw new KeySetError(NOT_A_KEY_SET)
  const found = new Map<string, Map<string, CryptoKey>>()
  const dropped: DroppedEntry[] = []
  for (const [at, entry] of entries.slice(0, MAX_ENTRIES).entries()) {
    const read = es256Key(entry)
    const drop = (why: string, foreign = false): void => {
      dropped.push({ name: shownName(entry, at), why, foreign })
    }
    if ('why' in read) {
      drop(read.why, read.foreign)
      continue
    }
    const { kid, x, y } = read
    const ofKid = found.get(kid) ?? new Map<string, CryptoKey>()
    const point = `${x}.${y}`
    if (ofKid.has(point)) continue
    if (ofKid.size >= MAX_KEYS_OF_A_KID) {
      drop('too many different keys have this kid')
      continue
    }
    try {
      ofKid.set(point, await importKey(x, y))
      found.set(kid, ofKid)
    } catch {
      drop('its x and y are not a point of P-256')
    }
  }
  if (entries.length > MAX_ENTRIES) {
    const name = `entries ${MAX_ENTRIES + 1} to ${entries.length}`
    dropped.push({ name, why: 'the set is too long', foreign: false })
  }
  if (found.size === 0) throw new KeySetError(noKeys(dropped))
  const keys = [...found].map(([kid, ofKid]) => ({
    kid,
    keys: [...ofKid.values()],
    point: [...ofKid.keys()].join(' '),
  }))
  return { keys, dropped }
}

function noKeys(dropped: readonly DroppedEntry[]): string {
  const [first] = dropped
  const example = first ? `; of ${first.name}: ${first.why}` : ''
  return `no ES256 key in the set${example}`
}

interface Es256Jwk {
  readonly kid: string
  /** 32 bytes in base64url. */
  readonly x: string
  readonly y: string
}

type NotUsed = Pick<DroppedEntry, 'why' | 'foreign'>

const notUsed = (why: string, foreign = false): NotUsed => ({ why, foreign })

function es256Key(text: string): Es256Jwk | NotUsed {
  const jwk = parseStrictObject(text)
  if (!jwk) return notUsed('it is no JSON object, or has a member twice')
  const { kty, crv, alg, use, key_ops: operations, kid, x, y } = jwk
  // A set that publishes a private key is one that anybody can sign for.
  if ('d' in jwk) return notUsed('it has a private part')
  if (kty === 'oct' || 'k' in jwk) return notUsed('it is a symmetric key')
  if (typeof kty !== 'string') return notUsed('its kty is missing or no text')
  if (kty !== 'EC' || crv !== 'P-256') return notUsed('it is of another type than EC P-256', true)
  if (alg !== undefined && alg !== 'ES256') return notUsed('its alg is not ES256', true)
  if (use !== undefined && use !== 'sig') return notUsed('its use is not sig', true)
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes('verify'))) {
    return notUsed('its key_ops do not include verify', true)
  }
  if (kid === undefined || kid === '') return notUsed('it has no kid')
  if (typeof kid !== 'string') return notUsed('its kid is no text')
  const point = { x: coordinate(x), y: coordinate(y) }
  if (point.x === undefined || point.y === undefined) {
    return notUsed('its x or y is missing or not 32 bytes in base64url')
  }
  return { kid, x: point.x, y: point.y }
}

const COORDINATE_BYTES = 32

/**
 * RFC 7518 §6.2.1.2 demands all 32 bytes without padding. Libraries that keep a coordinate as a number
 * drop its leading zeros, or put one more in front, and some pad the base64: each is the same point.
 */
function coordinate(value: unknown): string | undefined {
  if (typeof value !== 'string' || !/^[A-Za-z0-9_+/-]{1,64}={0,2}$/.test(value)) return undefined
  const bytes = Buffer.from(value, 'base64')
  const first = bytes.findIndex((byte) => byte !== 0)
  const significant = first === -1 ? bytes.subarray(0, 0) : bytes.subarray(first)
  if (significant.length > COORDINATE_BYTES) return undefined
  const whole = Buffer.alloc(COORDINATE_BYTES)
  significant.copy(whole, COORDINATE_BYTES - significant.length)
  return whole.toString('base64url')
}

function importKey(x: string, y: string): Promise<CryptoKey> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256' }
  return crypto.subtle.importKey('jwk', { kty: 'EC', crv: 'P-256', x, y }, algorithm, false, [
    'verify',
  ])
}

function shownName(text: string, at: number): string {
  const entry: unknown = JSON.parse(text)
  const kid: unknown = Object(entry)['kid']
  return typeof kid === 'string' && kid !== '' ? kid.slice(0, MAX_SHOWN_KID) : `entry ${at + 1}`
}
