// Encrypts what must not be readable on disk: AES-256-GCM under a key of its own for each record,
// bound to the record's place. A record that was changed, truncated, moved or restored from before
// does not open (attack 41). Opening never throws, and returns no byte before all are verified. Pure
// except for randomness. Anyone who holds both the secrets and the file can read everything: sealing does
// not protect against the theft of both.

import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'
import type { Secret } from '../secret.ts'
import { secretBytes } from './keys.ts'

/**
 * The place a record is sealed for, and the only one where it opens: the additional authenticated
 * data.
 */
export interface SealPlace {
  readonly table: string
  readonly id: string
  /** The kind of content, so that no kind can be mistaken for another. */
  readonly purpose: string
  /** Increases: an older record does not open as a newer one. */
  readonly version: number
}

export type Unsealed =
  /** `stale`: sealed under a secret that is no longer the first; seal it again. */
  | { readonly ok: true; readonly plaintext: Buffer; readonly stale: boolean }
  /** For the log; reveals nothing about the content. */
  | { readonly ok: false; readonly reason: string }

export interface Seals {
  /** Throws if `plaintext` is longer than MAX_PLAINTEXT_BYTES: it could not be opened again. */
  seal(plaintext: Uint8Array, place: SealPlace): Buffer
  open(record: Uint8Array, place: SealPlace): Unsealed
}

/** Far more than any pair of tokens needs; longer records are not examined. */
export const MAX_PLAINTEXT_BYTES = 65_536

/** The version of the layout, before anything it may change. */
const LAYOUT = Buffer.from('v1')
const KID_BYTES = 16
/** As long as the hash: no two records share a key (RFC 5869 §3.1). */
const SALT_BYTES = 32
/** NIST SP 800-38D §5.2.1.1. */
const NONCE_BYTES = 12
const TAG_BYTES = 16

const KID_AT = LAYOUT.length
const SALT_AT = KID_AT + KID_BYTES
const NONCE_AT = SALT_AT + SALT_BYTES
const TEXT_AT = NONCE_AT + NONCE_BYTES
/** The bytes that sealing adds. */
export const OVERHEAD_BYTES: number = TEXT_AT + TAG_BYTES

const KID_LABEL = 'postern seal kid'
const KEY_LABEL = 'postern seal v1 aes-256-gcm'

/**
 * The first secret seals, all open. A record names its secret by a `kid` derived from it, so that
 * the list may be reordered. Throws if none is given or one is short.
 */
export function seals(secrets: readonly Secret[]): Seals {
  const masters = secrets.map((secret) => {
    const bytes = secretBytes(secret)
    return { bytes, kid: Buffer.from(hkdfSync('sha256', bytes, '', KID_LABEL, KID_BYTES)) }
  })
  const [first] = masters
  if (!first) throw new RangeError('no secret to seal with')

  return {
    seal(plaintext, place) {
      if (plaintext.length > MAX_PLAINTEXT_BYTES) throw new RangeError('too long to be sealed')
      const salt = randomBytes(SALT_BYTES)
      const nonce = randomBytes(NONCE_BYTES)
      const cipher = createCipheriv('aes-256-gcm', recordKey(first.bytes, salt), nonce)
      cipher.setAAD(additionalData(place))
      const text = Buffer.concat([cipher.update(plaintext), cipher.final()])
      return Buffer.concat([LAYOUT, first.kid, salt, nonce, text, cipher.getAuthTag()])
    },

    open(record, place) {
      if (record.length < OVERHEAD_BYTES) return { ok: false, reason: 'record is cut' }
      if (record.length > OVERHEAD_BYTES + MAX_PLAINTEXT_BYTES) {
        return { ok: false, reason: 'record is too long' }
      }
      const bytes = Buffer.from(record.buffer, record.byteOffset, record.byteLength)
      if (!bytes.subarray(0, KID_AT).equals(LAYOUT)) {
        return { ok: false, reason: 'record has another layout' }
      }
      const kid = bytes.subarray(KID_AT, SALT_AT)
      const master = masters.find((each) => each.kid.equals(kid))
      if (!master) return { ok: false, reason: 'record has an unknown kid' }
      const key = recordKey(master.bytes, bytes.subarray(SALT_AT, NONCE_AT))
      const tagAt = bytes.length - TAG_BYTES
      const plaintext = decrypted(key, bytes.subarray(NONCE_AT, TEXT_AT), {
        text: bytes.subarray(TEXT_AT, tagAt),
        tag: bytes.subarray(tagAt),
        aad: additionalData(place),
      })
      if (!plaintext) return { ok: false, reason: 'record was changed or is of another place' }
      return { ok: true, plaintext, stale: master.kid !== first.kid }
    },
  }
}

function recordKey(master: Buffer, salt: Uint8Array): Buffer {
  return Buffer.from(hkdfSync('sha256', master, salt, KEY_LABEL, 32))
}

/** As JSON, so that no two places encode alike, whatever their names contain. */
function additionalData({ table, id, purpose, version }: SealPlace): Buffer {
  return Buffer.from(JSON.stringify([table, id, purpose, version]))
}

function decrypted(
  key: Buffer,
  nonce: Buffer,
  { text, tag, aad }: { readonly text: Buffer; readonly tag: Buffer; readonly aad: Buffer },
): Buffer | undefined {
  const options = { authTagLength: TAG_BYTES }
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, options)
  decipher.setAAD(aad)
  decipher.setAuthTag(tag)
  const unverified = decipher.update(text)
  try {
    return Buffer.concat([unverified, decipher.final()])
  } catch {
    return undefined
  }
}
