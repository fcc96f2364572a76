// Settings that many scenes share, in production mode.

import type { DevIssuer } from '../../src/dev/issuer.ts'

/** Of 32 random bytes: what can be guessed starts no gate. */
export const HASH_KEY = '18abc8a3882ad46e9db089d4950cfdbcc5328ae566102983d6d1c0f1b33fa9ee'

type Env = Readonly<Record<string, string>>

/** Nobody is turned away for how often or how many at once; the circuit is another matter. */
export const UNLIMITED: Env = {
  RATE_LIMIT_RPM: '0',
  PUBLIC_RATE_LIMIT_RPM: '0',
  MAX_IDENTITY_CONCURRENCY: '100000',
  MAX_UPSTREAM_CONCURRENCY: '100000',
}

/** The tokens of this issuer's users, and no others. */
export function usersOf({ jwksUrl, issuer, audience }: DevIssuer): Env {
  return { JWKS_URL: jwksUrl, ISSUER: issuer, AUDIENCES: audience }
}

/** Devices that enrol with codes, and an Anthropic at this address. */
export function devicesOf(anthropicUrl: string): Env {
  return {
    ANTHROPIC_API_KEY: 'anthropic-key-canary',
    ANTHROPIC_BASE_URL: anthropicUrl,
    JWT_SECRET: 'device-secret-canary-device-secret-00',
    BOOTSTRAP: 'code',
    PROXY_BASE_URL: 'http://127.0.0.1:1',
  }
}
