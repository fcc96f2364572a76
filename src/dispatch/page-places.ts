// Where a list goes on, for APIs whose pages have opaque names. An upstream's name of a page may contain the
// id of another caller's object, so what the caller gets is encrypted, for them alone, until a restart.

import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'

export interface PagePlace {
  /** By name. */
  readonly upstream: string
  /** The upstream's own name of the page; undefined for its first. */
  readonly page: string | undefined
  /** The object that the page begins after, if pages have no names. */
  readonly after: string | undefined
  /** The list goes on with this object of the page. */
  readonly from: string | undefined
}

export interface PagePlaces {
  sealed(place: PagePlace, identity: string): string
  /** Undefined if it was not sealed by this process for this caller. */
  opened(text: string, identity: string): PagePlace | undefined
}

const CIPHER = 'aes-256-gcm'
const NONCE_BYTES = 12
const TAG_BYTES = 16

export function pagePlaces(): PagePlaces {
  const key = randomBytes(32)
  return {
    sealed({ upstream, page = null, after = null, from = null }, identity) {
      const nonce = randomBytes(NONCE_BYTES)
      const cipher = createCipheriv(CIPHER, key, nonce)
      cipher.setAAD(Buffer.from(identity))
      const text = JSON.stringify([upstream, page, after, from])
      const body = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()])
      return Buffer.concat([nonce, cipher.getAuthTag(), body]).toString('base64url')
    },
    opened(text, identity) {
      const all = Buffer.from(text, 'base64url')
      if (all.length <= NONCE_BYTES + TAG_BYTES) return undefined
      const decipher = createDecipheriv(CIPHER, key, all.subarray(0, NONCE_BYTES))
      decipher.setAAD(Buffer.from(identity))
      decipher.setAuthTag(all.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES))
      try {
        const body = decipher.update(all.subarray(NONCE_BYTES + TAG_BYTES))
        const plain = Buffer.concat([body, decipher.final()]).toString()
        const [upstream, ...rest] = JSON.parse(plain) as [string, ...(string | null)[]]
        const [page, after, from] = rest.map((each) => each ?? undefined)
        return { upstream, page, after, from }
      } catch {
        return undefined
      }
    },
  }
}
