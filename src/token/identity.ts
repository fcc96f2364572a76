// How limits, logs and tables name a person: an HMAC, so that none of them holds a subject. Without a
// configured key, a random one lasts as long as the process.

import { createHmac, hkdfSync, randomBytes } from 'node:crypto'
import { Secret } from '../secret.ts'

/** 64 hexadecimal digits. */
export type Identify = (issuer: string, subject: string) => string

/** HMAC-SHA-256(key, iss NUL sub): the NUL keeps `a` + `bc` from being `ab` + `c`. */
export function identifier(key: Secret | undefined): Identify {
  const bytes = key ? Buffer.from(key.reveal(), 'hex') : randomBytes(32)
  return (issuer, subject) =>
    createHmac('sha256', bytes).update(`${issuer}\0${subject}`).digest('hex')
}

/** A key for `identifier` out of a secret that is also used for other things (RFC 5869 §3.2). */
export function derivedIdentityKey(secret: Secret): Secret {
  const key = hkdfSync('sha256', secret.reveal(), '', 'postern identity hash key', 32)
  return new Secret(Buffer.from(key).toString('hex'))
}
