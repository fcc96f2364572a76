// The proof that somebody may: made in this folder alone, and nothing behind it works without one.

declare const proof: unique symbol

export interface Admitted {
  readonly [proof]: true
  /** HMAC of issuer and subject, or of a device; 64 hexadecimal digits. The rest goes no further. */
  readonly identity: string
  readonly device?: AdmittedDevice
}

/** What a device's enrolment grants it, and whose it is. */
export interface AdmittedDevice {
  readonly org: string | undefined
  /** Exact names or with a trailing `*`; empty: every model. */
  readonly models: readonly string[]
  /** Requests a minute, in place of the gate's own. */
  readonly rateLimit: number | undefined
  readonly spendCapMicroUsd: number | undefined
}

/** For this folder. */
export function permitted(identity: string, device?: AdmittedDevice): Admitted {
  return (device ? { identity, device } : { identity }) as Admitted
}
