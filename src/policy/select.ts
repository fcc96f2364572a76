// Who gets which policy. Rules are read from the top and the first match decides, so that an operator
// can say in one sentence why somebody has a policy; several groups of one caller are never combined.
// Pure, and called once for a remembered token, never for each request.

import type { CallerKind } from '../names.ts'
import type { Policy } from './policy.ts'

/** What is known about a caller with a valid credential. */
export interface Caller {
  readonly kind: CallerKind
  /** The name of the issuer of a user's token. */
  readonly issuer?: string | undefined
  readonly groups?: readonly string[] | undefined
  readonly org?: string | undefined
  /** The name of a key. */
  readonly key?: string | undefined
  /** The policy named by the key, or by the code with which a device enrolled. */
  readonly policy?: string | undefined
}

/** Everything in it must match; an empty rule matches everybody. */
export interface PolicyRule {
  readonly kind?: CallerKind | undefined
  readonly issuer?: string | undefined
  readonly group?: string | undefined
  readonly organisation?: string | undefined
  readonly key?: string | undefined
  readonly policy: Policy
}

export interface PolicyTable {
  /** For credentials that name a policy themselves, before any rule. */
  readonly named: ReadonlyMap<string, Policy>
  readonly rules: readonly PolicyRule[]
  readonly defaults: Readonly<Record<CallerKind, Policy>>
}

/**
 * Undefined if the credential names a policy that no longer exists: such a caller may do nothing.
 */
export type PolicyOf = (caller: Caller) => Policy | undefined

export function policySelector({ named, rules, defaults }: PolicyTable): PolicyOf {
  return (caller) =>
    caller.policy === undefined
      ? (rules.find((rule) => fits(rule, caller))?.policy ?? defaults[caller.kind])
      : named.get(caller.policy)
}

function fits(rule: PolicyRule, caller: Caller): boolean {
  const { kind, issuer, group, organisation, key } = rule
  return (
    (kind === undefined || kind === caller.kind) &&
    (issuer === undefined || issuer === caller.issuer) &&
    (group === undefined || (caller.groups?.includes(group) ?? false)) &&
    (organisation === undefined || organisation === caller.org) &&
    (key === undefined || key === caller.key)
  )
}
