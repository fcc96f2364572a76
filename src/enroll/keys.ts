// The secrets that sign device tokens: the first signs, all verify, so that adding one in front and
// dropping the last a token's life and DEVICE_IDLE_DAYS later rotates them without a refusal. A token names its secret by
// a `kid`, so that a stranger's token costs one HMAC and not one for each secret.

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

/** RFC 7518 §3.2: a key of the hash's size at least. */
export const MIN_SECRET_BYTES = 32

/** No signing input of a JWS can read like this: those are base64url with a dot in the middle. */
const KID_LABEL = 'postern device token kid'
const KID_LENGTH = 16

/** Throws where a secret is short or none is given: the settings must have said so before. */
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
