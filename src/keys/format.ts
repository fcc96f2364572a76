// The form of a key: `pk_`, 30 random base62 characters (178 bits), and their CRC-32 in six more, like
// GitHub's tokens. Secret scanners find it by the prefix and confirm it by the checksum, and a
// mistyped key is refused before anything is hashed or looked up. The checksum is no protection:
// anybody can compute it.

import { randomBytes } from 'node:crypto'

export const KEY_PREFIX = 'pk_'
const RANDOM_LENGTH = 30
const CHECKSUM_LENGTH = 6
export const KEY_LENGTH: number = KEY_PREFIX.length + RANDOM_LENGTH + CHECKSUM_LENGTH

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const BASE = ALPHABET.length
/** Bytes from here on are discarded: they would make some characters more likely than others. */
const FAIR_BYTES = 256 - (256 % BASE)
const FORM = /^pk_[0-9A-Za-z]{36}$/

export function makeKey(): string {
  let random = ''
  while (random.length < RANDOM_LENGTH) {
    for (const byte of randomBytes(RANDOM_LENGTH)) {
      if (byte < FAIR_BYTES && random.length < RANDOM_LENGTH) random += ALPHABET[byte % BASE]
    }
  }
  return KEY_PREFIX + random + checksumOf(random)
}

/** Whether a text is meant as a key, well formed or not. */
export const isMeantAsKey = (text: string): boolean => text.startsWith(KEY_PREFIX)

export function isWellFormed(text: string): boolean {
  if (text.length !== KEY_LENGTH || !FORM.test(text)) return false
  const end = KEY_LENGTH - CHECKSUM_LENGTH
  return checksumOf(text.slice(KEY_PREFIX.length, end)) === text.slice(end)
}

/**
 * What is stored of a key. Plain SHA-256: 178 random bits cannot be guessed from it, so a salt or a
 * slow hash would add nothing, and an HMAC would tie every key to a secret that may have to be
 * replaced.
 */
export function digestOf(key: string): string {
  return Bun.SHA256.hash(key, 'hex')
}

function checksumOf(random: string): string {
  let rest = Bun.hash.crc32(random)
  let text = ''
  for (let place = 0; place < CHECKSUM_LENGTH; place += 1) {
    text = (ALPHABET[rest % BASE] ?? '') + text
    rest = Math.floor(rest / BASE)
  }
  return text
}
