// Sealing what must not lie readable on a disk: AES-256-GCM under a key of each record's own, bound
// to the place that the record is for. A record that was changed, cut, moved or put back does not
// open (attack 41); opening never throws, and gives no byte before all of them are verified. Pure
// but for randomness; whoever holds the secrets and the file can read everything, and so it does not
// help against a thief of both.

import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'
import type { Secret } from '../secret.ts'
import { secretBytes } from './keys.ts'

/** What a record is sealed for, and opens for alone: the additional authenticated data. */
export interface SealPlace {
  readonly table: string
  readonly id: string
  /** What kind of thing is sealed, so that no two kinds can be taken for one another. */
  readonly purpose: string
  /** Counts up: an older record does not open as a newer one. */
  readonly version: number
}

export type Unsealed =
  /** `stale`: by a secret that is not the first any more; seal it anew. */
  | { readonly ok: true; readonly plaintext: Buffer; readonly stale: boolean }
  /** For the log; says nothing of what is in the record. */
  | { readonly ok: false; readonly reason: string }

export interface Seals {
  /** Throws where `plaintext` is longer than MAX_PLAINTEXT_BYTES: it could not be opened again. */
  seal(plaintext: Uint8Array, place: SealPlace): Buffer
  open(record: Uint8Array, place: SealPlace): Unsealed
}

/** Far beyond any pair of tokens; a record that claims more is not looked at. */
export const MAX_PLAINTEXT_BYTES = 65_536

/** The layout's own version, ahead of all it may change. */
const LAYOUT = Buffer.from('v1')
const KID_BYTES = 16
/** As long as the hash: no two records meet under one key (RFC 5869 §3.1). */
const SALT_BYTES = 32
/** NIST SP 800-38D §5.2.1.1. */
const NONCE_BYTES = 12
const TAG_BYTES = 16

const KID_AT = LAYOUT.length
const SALT_AT = KID_AT + KID_BYTES
const NONCE_AT = SALT_AT + SALT_BYTES
const TEXT_AT = NONCE_AT + NONCE_BYTES
/** What sealing adds. */
export const OVERHEAD_BYTES: number = TEXT_AT + TAG_BYTES

const KID_LABEL = 'postern seal kid'
const KEY_LABEL = 'postern seal v1 aes-256-gcm'

/**
 * The first secret seals, all open. A record names its secret by a `kid` made from the secret, so
 * that the list may be reordered. Throws where none is given or one is short.
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

/** As JSON, so that no two places read alike, whatever is in their names. */
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
