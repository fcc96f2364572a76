// The proof that somebody may: made in this folder alone, and nothing behind it works without one.

import type { CallerKind } from '../names.ts'
import type { Policy } from '../policy/policy.ts'

declare const proof: unique symbol

export interface Admitted {
  readonly [proof]: true
  /** HMAC of issuer and subject, or of a device; 64 hexadecimal digits. The rest goes no further. */
  readonly identity: string
  /** The same under keys of before, where there are any: what those spent and hold counts as theirs. */
  readonly former: readonly string[] | undefined
  readonly kind: CallerKind
  /** Of a user: what the settings call the issuer of the token. */
  readonly issuer: string | undefined
  readonly org: string | undefined
  /** What the issuer's group claim says; nobody but a user has any. */
  readonly groups: readonly string[]
  /** Shared by all whom it is given to; see policy.ts. */
  readonly policy: Policy
}

/** What is known beside the identity, by kind. */
export type AdmittedMore = Partial<Pick<Admitted, 'former' | 'issuer' | 'groups' | 'org'>>

const NO_GROUPS: readonly string[] = []

/** For this folder, which makes every `Admitted` here. */
export function permitted(
  kind: CallerKind,
  identity: string,
  policy: Policy,
  { former, issuer, groups = NO_GROUPS, org }: AdmittedMore = {},
): Admitted {
  return { identity, former, kind, issuer, org, groups, policy } as Admitted
}
