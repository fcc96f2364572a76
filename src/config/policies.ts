// Named policies and the rules that assign them; only a document has them. The document's schema
// validates each member; this file checks how they fit together.

import type { CallerKind, RouteGroup } from '../names.ts'
import type { IssuerEntry } from './issuers.ts'
import type { Mistake } from './kinds.ts'
import { nearest } from './nearest.ts'

/** An absent limit is that of the gate's settings. */
export interface LimitsEntry {
  /** 0: no limit. */
  readonly requestsPerMinute?: number | undefined
  readonly burst?: number | undefined
  readonly concurrency?: number | undefined
  readonly usdPerDay?: number | undefined
  readonly usdPerMonth?: number | undefined
}

export interface PolicyEntry extends LimitsEntry {
  readonly name: string
  /** `models`, `upstreams` and `routes`: absent means all. */
  readonly models?: readonly string[]
  readonly upstreams?: readonly string[]
  readonly routes?: readonly RouteGroup[]
  readonly maxBodyBytes?: number
  readonly plaintext?: boolean
  readonly streamUsage?: boolean
  readonly tellsUpstream?: boolean
  readonly fallback?: boolean
  readonly keepsConversations?: boolean
  readonly organisation?: LimitsEntry
}

export interface RuleEntry {
  readonly kind?: CallerKind
  readonly issuer?: string
  readonly group?: string
  readonly organisation?: string
  readonly key?: string
  readonly policy: string
}

/** An entry as a document gives it. */
export interface Listed<Entry> {
  readonly from: string
  readonly own: Partial<Entry>
  /** The places of entries in its own lists: `upstreams[0]`. */
  readonly places: ReadonlyMap<string, string>
  /** As it was written, for `postern config`. */
  readonly written: unknown
}

export interface PoliciesGiven {
  readonly policies: readonly Listed<PolicyEntry>[]
  readonly rules: readonly Listed<RuleEntry>[]
}

/** Unchecked: nothing starts with them if `policyMistakes` finds a mistake. */
export interface PolicyEntries {
  readonly policies: readonly PolicyEntry[]
  readonly rules: readonly RuleEntry[]
}

export function policyEntries({ policies, rules }: PoliciesGiven): PolicyEntries {
  return {
    policies: policies.map(({ own }) => own as PolicyEntry),
    rules: rules.map(({ own }) => own as RuleEntry),
  }
}

export function policyMistakes(
  { policies, rules }: PoliciesGiven,
  /** Undefined: what rules say about issuers is not checked. */
  issuers: readonly IssuerEntry[] | undefined,
  upstreamNames: readonly string[] | undefined,
): Mistake[] {
  const mistakes: Mistake[] = []
  const wrong = (setting: string, message: string, hint: string): void => {
    mistakes.push({ setting, message, hint })
  }
  const names = new Map<string, string>()
  for (const { from, own, places } of policies) {
    const { name } = own
    for (const [index, upstream] of (own.upstreams ?? []).entries()) {
      // A value that could not be read is already a mistake.
      if (upstream === undefined || (upstreamNames?.includes(upstream) ?? true)) continue
      const there = places.get(`upstreams[${index}]`) ?? from
      wrong(there, 'names an upstream that is not there', listed(upstream, upstreamNames ?? []))
    }
    if (name === undefined) {
      // A name that could not be read is already a mistake.
      if (!('name' in own)) wrong(from, 'lacks name', 'rules and keys name a policy')
    } else if (names.has(name)) wrong(from, `has the name of ${names.get(name)}`, 'rename one')
    else names.set(name, from)
    for (const [limits, of] of [
      [own, ''],
      [own.organisation ?? {}, 'organisation.'],
    ] as const) {
      const rate = limits.requestsPerMinute ?? ('requestsPerMinute' in limits ? 1 : 0)
      if (limits.burst === undefined || rate > 0) continue
      const hint = `give ${of}requests_per_minute too`
      wrong(from, `has ${of}burst without a rate`, hint)
    }
  }
  const known = [...names.keys()]
  const issuerNames = issuers?.map(({ name }) => name)
  for (const { from, own } of rules) {
    const { policy, issuer, group, kind, key, organisation } = own
    if (policy === undefined) {
      if (!('policy' in own)) wrong(from, 'lacks policy', 'a rule gives one')
    } else if (!names.has(policy))
      wrong(from, 'gives a policy that is not there', listed(policy, known))
    if (issuer !== undefined && issuerNames && !issuerNames.includes(issuer)) {
      wrong(from, 'names an issuer that is not there', listed(issuer, issuerNames))
    }
    const grouped = issuers?.filter(({ name }) => issuer === undefined || name === issuer)
    const someIssuer = issuer === undefined || issuerNames?.includes(issuer)
    if (
      group !== undefined &&
      someIssuer &&
      grouped?.every(({ groupsClaim }) => groupsClaim === undefined)
    ) {
      wrong(from, 'has a group that nobody is in', 'give an issuer its groups_claim')
    }
    const isOfUser = kind === 'user' || issuer !== undefined || group !== undefined
    if (
      organisation !== undefined &&
      isOfUser &&
      someIssuer &&
      grouped?.every(({ organisationClaim }) => organisationClaim === undefined)
    ) {
      wrong(from, 'has an organisation that nobody is in', 'give an issuer its organisation_claim')
    }
    const others = [issuer ?? group, key].filter((each) => each !== undefined)
    const only = key === undefined ? 'user' : 'key'
    if (others.length > 1 || (others.length === 1 && kind !== undefined && kind !== only)) {
      wrong(from, 'fits nobody', 'issuers and groups are those of users, key names those of keys')
    }
  }
  return mistakes
}

/** Warnings about valid policies. */
export const policyCautions = (given: PoliciesGiven, issuers: readonly IssuerEntry[]): string[] => [
  ...unlimitedOrganisations(given, issuers),
  ...usersOfNoRule(given, issuers),
]

/** A client chooses the scopes that it requests, so a token may lack groups. */
function usersOfNoRule({ rules }: PoliciesGiven, issuers: readonly IssuerEntry[]): string[] {
  const from = new Set<string>()
  const open = issuers.filter(({ name, groupsClaim, organisationClaim }) => {
    const ofUsers = rules.filter(
      ({ own: { kind, key, issuer = name } }) =>
        (kind === undefined || kind === 'user') && key === undefined && issuer === name,
    )
    const byClaim = ofUsers.filter(
      ({ own: { group, organisation } }) =>
        (group !== undefined && groupsClaim !== undefined) ||
        (organisation !== undefined && organisationClaim !== undefined),
    )
    const isOfAll = ofUsers.some(
      ({ own: { group, organisation } }) => group === undefined && organisation === undefined,
    )
    if (isOfAll) return false
    for (const each of byClaim) from.add(each.from)
    return byClaim.length > 0
  })
  const [first] = from
  if (first === undefined) return []
  const names = open.map(({ name }) => name).join(', ')
  return [
    `${first} gives users of ${names} a policy by a claim: one whom no rule fits, or whose token leaves the claim out, may use every model, upstream and route; end rules with one for all users`,
  ]
}

/** Organisation limits do not apply to a caller without an organisation. */
function unlimitedOrganisations(
  { policies, rules }: PoliciesGiven,
  issuers: readonly IssuerEntry[],
): string[] {
  const limiting = new Set(
    policies.flatMap(({ own }) => (own.organisation && own.name !== undefined ? [own.name] : [])),
  )
  return rules.flatMap(({ from, own }) => {
    const { policy, kind = 'user', key, issuer, organisation } = own
    if (organisation !== undefined) return []
    if (policy === undefined || !limiting.has(policy) || kind !== 'user' || key !== undefined)
      return []
    const without = issuers.filter(
      ({ name, organisationClaim }) =>
        organisationClaim === undefined && (issuer === undefined || name === issuer),
    )
    if (without.length === 0) return []
    const names = without.map(({ name }) => name).join(', ')
    return [
      `${from} gives users of ${names} a policy that limits organisations, and they have none: its organisation limits do not hold for them without organisation_claim`,
    ]
  })
}

/** The hint for an unknown name. */
export function listed(name: string, known: readonly string[]): string {
  const near = nearest(name, known)
  if (near !== undefined) return `did you mean ${near}?`
  return known.length === 0 ? 'there is none' : `there are ${known.join(', ')}`
}
