// The proof of admission: created only in this folder, and required by everything after it.

import type { CallerKind } from '../names.ts'
import type { Policy } from '../policy/policy.ts'

declare const proof: unique symbol

export interface Admitted {
  readonly [proof]: true
  /**
   * HMAC of issuer and subject, or of a device; 64 hexadecimal digits. Nothing else about the
   * person goes further.
   */
  readonly identity: string
  /** The same under former keys, if any: what was spent and is held under those counts too. */
  readonly former: readonly string[] | undefined
  readonly kind: CallerKind
  /** For a user: the settings' name of the token's issuer. */
  readonly issuer: string | undefined
  readonly org: string | undefined
  /** The groups in the token; only users have any. */
  readonly groups: readonly string[]
  /** Shared by all callers who have it; see policy.ts. */
  readonly policy: Policy
}

/** What is known besides the identity, by kind. */
export type AdmittedMore = Partial<Pick<Admitted, 'former' | 'issuer' | 'groups' | 'org'>>

const NO_GROUPS: readonly string[] = []

/** Only for this folder, which creates every `Admitted`. */
export function permitted(
  kind: CallerKind,
  identity: string,
  policy: Policy,
  { former, issuer, groups = NO_GROUPS, org }: AdmittedMore = {},
): Admitted {
  return { identity, former, kind, issuer, org, groups, policy } as Admitted
}
