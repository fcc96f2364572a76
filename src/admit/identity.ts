// Who somebody is to limits, logs and tables: an HMAC, so that none of them holds a subject. With
// no key configured a random one serves for the life of the process.

import { createHmac, randomBytes } from 'node:crypto'
import type { Secret } from '../config/secret.ts'

/** 64 hexadecimal digits. */
export type Identify = (issuer: string, subject: string) => string

/** HMAC-SHA-256(key, iss NUL sub): the NUL keeps `a` + `bc` from being `ab` + `c`. */
export function identifier(key: Secret | undefined): Identify {
  const bytes = key ? Buffer.from(key.reveal(), 'hex') : randomBytes(32)
  return (issuer, subject) =>
    createHmac('sha256', bytes).update(`${issuer}\0${subject}`).digest('hex')
}
