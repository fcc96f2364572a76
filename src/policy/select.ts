// Who gets which policy. The rules are read from the top and the first that fits decides, so that an
// operator can say in one sentence why somebody has a policy; several groups of one caller are
// never added up. Pure, and asked once for a token that is remembered, never once a request.

import type { CallerKind } from '../names.ts'
import type { Policy } from './policy.ts'

/** What is known of a caller whose credential is good. */
export interface Caller {
  readonly kind: CallerKind
  /** The name of the issuer of a user's token. */
  readonly issuer?: string | undefined
  readonly groups?: readonly string[] | undefined
  readonly org?: string | undefined
  /** The name of a key. */
  readonly key?: string | undefined
  /** The name of the policy that a key has, or the code that a device enrolled with. */
  readonly policy?: string | undefined
}

/** All that it says has to fit; one that says nothing fits everybody. */
export interface PolicyRule {
  readonly kind?: CallerKind | undefined
  readonly issuer?: string | undefined
  readonly group?: string | undefined
  readonly organisation?: string | undefined
  readonly key?: string | undefined
  readonly policy: Policy
}

export interface PolicyTable {
  /** Of a credential that names its own, before any rule. */
  readonly named: ReadonlyMap<string, Policy>
  readonly rules: readonly PolicyRule[]
  readonly defaults: Readonly<Record<CallerKind, Policy>>
}

/** Undefined where the credential names a policy that is gone: such a caller may do nothing. */
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
