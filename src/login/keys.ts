// What the gate issues at a sign-in: the session key that programs and the cookie send, and the
// attempt that ties a sign-in to the browser or terminal that began it. Both are random and signed,
// each under a key of its own, so that neither passes for the other and a guess fails before the disk
// is asked. sessions.ts knows whether one is still valid.

import { createHmac, hash, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Secret } from '../secret.ts'

export interface SignedAttempt {
  /** Identifies the attempt. */
  readonly id: string
  /** The cookie's value: the id, signed. */
  readonly attempt: string
}

/** RFC 2104 §3: at least the size of the hash. */
const MIN_SECRET_BYTES = 32
const RANDOM_BYTES = 32
const SESSION_PREFIX = 'pst_'

/** 32 bytes each, in base64url without padding. */
const SESSION_KEY = /^(pst_[\w-]{43})\.([\w-]{43})$/
const ATTEMPT = /^([\w-]{43})\.([\w-]{43})$/

const sessionKeys = signing('postern session key')
const attempts = signing('postern sign-in attempt')

/** `pst_` identifies a key that is found in a log or a repository. Throws without a secret. */
export function newSessionKey(secrets: readonly Secret[]): string {
  return sessionKeys.signed(secrets, SESSION_PREFIX + randomText())
}

/** Whether this gate issued the key. All secrets verify; dropping one ends the keys it signed. */
export function checkSessionKey(secrets: readonly Secret[], key: string): boolean {
  return sessionKeys.verified(secrets, SESSION_KEY.exec(key)) !== undefined
}

/** What is stored of a key. It has 256 random bits, so it needs no salt and no slow hash. */
export function hashSessionKey(key: string): Buffer {
  return hash('sha256', key, 'buffer')
}

/** Throws without a secret. */
export function newAttempt(secrets: readonly Secret[]): SignedAttempt {
  const id = randomText()
  return { id, attempt: attempts.signed(secrets, id) }
}

/** The attempt's id, or undefined if this gate did not issue it. */
export function checkAttempt(secrets: readonly Secret[], attempt: string): string | undefined {
  return attempts.verified(secrets, ATTEMPT.exec(attempt))
}

/** Throws if it is short; the settings must have reported that before. */
export function secretBytes(secret: Secret): Buffer {
  const bytes = Buffer.from(secret.reveal())
  if (bytes.length < MIN_SECRET_BYTES) throw new RangeError('a secret is shorter than 32 bytes')
  return bytes
}

function randomText(): string {
  return randomBytes(RANDOM_BYTES).toString('base64url')
}

/** The first secret signs, all verify. */
function signing(label: string) {
  const derived = new WeakMap<Secret, Buffer>()
  const keyOf = (secret: Secret): Buffer => {
    const known = derived.get(secret)
    if (known) return known
    const key = Buffer.from(hkdfSync('sha256', secretBytes(secret), '', label, 32))
    derived.set(secret, key)
    return key
  }
  const signature = (secret: Secret, body: string): string =>
    createHmac('sha256', keyOf(secret)).update(body).digest('base64url')

  return {
    signed(secrets: readonly Secret[], body: string): string {
      const [first] = secrets
      if (!first) throw new RangeError('no secret to sign with')
      return `${body}.${signature(first, body)}`
    },
    /**
     * Returns the body. Compared as text and not as bytes: unused bits would make several keys of
     * one.
     */
    verified(secrets: readonly Secret[], parts: RegExpExecArray | null): string | undefined {
      const [, body = '', given = ''] = parts ?? []
      if (body === '') return undefined
      const bytes = Buffer.from(given)
      const good = secrets.some((secret) =>
        timingSafeEqual(Buffer.from(signature(secret, body)), bytes),
      )
      return good ? body : undefined
    },
  }
}
