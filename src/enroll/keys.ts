// The secrets that sign device tokens. The first signs, all verify. To rotate without a refusal, add a
// secret in front, and drop the last one after a token's lifetime plus DEVICE_IDLE_DAYS. A token names
// its secret by `kid`, so that a stranger's token costs one HMAC and not one for each secret.

import { createHmac } from 'node:crypto'
import type { Secret } from '../secret.ts'

export interface DeviceKey {
  readonly kid: string
  readonly key: Promise<CryptoKey>
}

export interface DeviceKeys {
  readonly signing: DeviceKey
  find(kid: string): DeviceKey | undefined
}

/** RFC 7518 §3.2: at least the size of the hash. */
export const MIN_SECRET_BYTES = 32

/** No JWS signing input can read like this: those are base64url with a dot in the middle. */
const KID_LABEL = 'postern device token kid'
const KID_LENGTH = 16

/** Throws if a secret is short or none is given; the settings must have reported that before. */
export function deviceKeys(secrets: readonly Secret[]): DeviceKeys {
  const [signing, ...others] = secrets.map(deviceKey)
  if (!signing) throw new RangeError('no secret for device tokens')
  const byKid = new Map([...others, signing].map((each) => [each.kid, each]))
  return { signing, find: (kid) => byKid.get(kid) }
}

function deviceKey(secret: Secret): DeviceKey {
  const bytes = Buffer.from(secret.reveal())
  if (bytes.length < MIN_SECRET_BYTES) throw new RangeError('a secret is shorter than 32 bytes')
  const kid = createHmac('sha256', bytes).update(KID_LABEL).digest('base64url')
  const algorithm = { name: 'HMAC', hash: 'SHA-256' }
  const key = crypto.subtle.importKey('raw', bytes, algorithm, false, ['sign', 'verify'])
  return { kid: kid.slice(0, KID_LENGTH), key }
}
