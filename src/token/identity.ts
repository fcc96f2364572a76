// How limits, logs and tables name a person: an HMAC, so that none of them holds a subject. Without a
// configured key, a random one lasts as long as the process.

import { createHmac, hkdfSync, randomBytes } from 'node:crypto'
import { Secret } from '../secret.ts'

/** 64 hexadecimal digits. */
export type Identify = (issuer: string, subject: string) => string

/**
 * Identities under several keys: the first names a person, and the others find what was recorded
 * under a former key.
 */
export interface Identities {
  readonly identify: Identify
  /** Under the former keys, the newest first. */
  readonly former: readonly Identify[]
}

export function identities(keys: readonly Secret[]): Identities {
  const [first, ...others] = keys
  return { identify: identifier(first), former: others.map(identifier) }
}

/** Undefined if there is no former key. */
export function formerIdentities(
  former: readonly Identify[],
  issuer: string,
  subject: string,
): readonly string[] | undefined {
  return former.length === 0 ? undefined : former.map((by) => by(issuer, subject))
}

/** HMAC-SHA-256(key, iss NUL sub): the NUL keeps `a` + `bc` from being `ab` + `c`. */
export function identifier(key: Secret | undefined): Identify {
  const bytes = key ? Buffer.from(key.reveal(), 'hex') : randomBytes(32)
  return (issuer, subject) =>
    createHmac('sha256', bytes).update(`${issuer}\0${subject}`).digest('hex')
}

/** Derives a key for `identifier` from a secret that has other uses too (RFC 5869 §3.2). */
export function derivedIdentityKey(secret: Secret): Secret {
  const key = hkdfSync('sha256', secret.reveal(), '', 'postern identity hash key', 32)
  return new Secret(Buffer.from(key).toString('hex'))
}
