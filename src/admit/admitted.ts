// The proof that somebody may: made in this folder alone, and nothing behind it works without one.

declare const proof: unique symbol

export interface Admitted {
  readonly [proof]: true
  /** HMAC of issuer and subject, or of a device; 64 hexadecimal digits. The rest goes no further. */
  readonly identity: string
  readonly kind: AdmittedKind
  /** Of a user: what the settings call the issuer of the token. */
  readonly issuer?: string
  /** What the issuer's group claim says; nobody but a user has any. */
  readonly groups: readonly string[]
  readonly device?: AdmittedDevice
}

export type AdmittedKind = 'user' | 'device' | 'key' | 'session'

/** What a device's enrolment grants it, and whose it is. */
export interface AdmittedDevice {
  readonly org: string | undefined
  /** Exact names or with a trailing `*`; empty: every model. */
  readonly models: readonly string[]
  /** Requests a minute, in place of the gate's own. */
  readonly rateLimit: number | undefined
  readonly spendCapMicroUsd: number | undefined
}

/** What is known beside the identity, by kind. */
export type AdmittedMore = Partial<Pick<Admitted, 'issuer' | 'groups' | 'device'>>

const NO_GROUPS: readonly string[] = []

/** For this folder, which makes every `Admitted` here. */
export function permitted(
  kind: AdmittedKind,
  identity: string,
  { issuer, groups = NO_GROUPS, device }: AdmittedMore = {},
): Admitted {
  const known = { identity, kind, groups }
  return {
    ...known,
    ...(issuer !== undefined && { issuer }),
    ...(device && { device }),
  } as unknown as Admitted
}
