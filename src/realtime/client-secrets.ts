// Short-lived secrets that a caller hands to a browser (`ek_…`). A secret of the upstream's would lead past
// this gate, so it gives out its own: each stands for the credential of the caller who asked for it, which
// is checked whenever the secret is used. They are in memory alone.

import { randomBytes } from 'node:crypto'
import { type Decision, granted, refused } from '../refusal.ts'
import type { Secret } from '../secret.ts'

export interface ClientSecret {
  readonly identity: string
  /** As in `Authorization`. */
  readonly authorization: Secret
  /** The only model that it is for; undefined is every one of the caller's. */
  readonly model: string | undefined
  /** The event that begins its sessions. */
  readonly opening: string | undefined
  readonly expiresAtSeconds: number
}

export interface ClientSecrets {
  /** The secret's text, which is not kept. */
  add(secret: ClientSecret, nowSeconds: number): Decision<string>
  find(text: string, nowSeconds: number): ClientSecret | undefined
}

const PREFIX = 'ek_'
const RANDOM_BYTES = 32
const MAX_OF_ONE = 100
const MAX_BYTES = 64 * 1024 * 1024
/** Of an entry, beside its texts. */
const ENTRY_BYTES = 500

export const isClientSecret = (text: string): boolean => text.startsWith(PREFIX)

export function clientSecrets(maxOfOne = MAX_OF_ONE, maxBytes = MAX_BYTES): ClientSecrets {
  /** By digest. */
  const kept = new Map<string, ClientSecret>()
  const ofOne = new Map<string, number>()
  let bytes = 0

  const forget = (digest: string, secret: ClientSecret): void => {
    kept.delete(digest)
    bytes -= sizeOf(secret)
    const left = (ofOne.get(secret.identity) ?? 1) - 1
    if (left > 0) ofOne.set(secret.identity, left)
    else ofOne.delete(secret.identity)
  }
  const sweep = (nowSeconds: number): void => {
    for (const [digest, secret] of kept) {
      if (secret.expiresAtSeconds <= nowSeconds) forget(digest, secret)
    }
  }

  return {
    add(secret, nowSeconds) {
      const isFull = (): boolean =>
        (ofOne.get(secret.identity) ?? 0) >= maxOfOne || bytes + sizeOf(secret) > maxBytes
      if (isFull()) sweep(nowSeconds)
      if (isFull()) return TOO_MANY
      const text = PREFIX + randomBytes(RANDOM_BYTES).toString('base64url')
      kept.set(digestOf(text), secret)
      bytes += sizeOf(secret)
      ofOne.set(secret.identity, (ofOne.get(secret.identity) ?? 0) + 1)
      return granted(text)
    },
    find(text, nowSeconds) {
      const digest = digestOf(text)
      const secret = kept.get(digest)
      if (!secret || secret.expiresAtSeconds > nowSeconds) return secret
      forget(digest, secret)
      return undefined
    },
  }
}

const digestOf = (text: string): string => Bun.SHA256.hash(text, 'hex')

const sizeOf = ({ authorization, opening = '' }: ClientSecret): number =>
  ENTRY_BYTES + authorization.reveal().length + opening.length

const TOO_MANY = refused('rate_limit_exceeded', {
  reason: 'client secrets',
  message: 'too many client secrets are valid; wait until some have expired',
  retryAfterSeconds: 10,
})
