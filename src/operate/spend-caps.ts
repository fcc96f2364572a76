// Finds the caps that a spender's requests count against, and how each stands. The database and the
// document give the policy of a device or a key; a user's policy is the one of the last charged request.
// An organisation has the caps of all policies of its members.

import type { DeviceRecords, NamedDevice } from '../enroll/records.ts'
import type { Policies } from '../gate/policies.ts'
import type { KeyRecords } from '../keys/records.ts'
import { type KeyRow, standingOf } from '../keys/row.ts'
import type { Correction, Spender } from '../ledger/corrections.ts'
import type { PersonSpent, SpentSums } from '../ledger/reports.ts'
import type { Limits, Policy } from '../policy/policy.ts'
import type { Period } from '../turn/calendar.ts'

/** The standing of one cap, as the database knows it. */
export interface CapAccount {
  /** `organisation`: it counts the requests of all its members. */
  readonly of: 'own' | 'organisation'
  readonly period: Period
  /** The policies that set this limit; members of one organisation may have several. */
  readonly policies: readonly string[]
  readonly limitMicroUsd: number
  /** Charges minus credits. */
  readonly spentMicroUsd: number
  readonly estimatedMicroUsd: number
  readonly creditedMicroUsd: number
  /** Held by running requests; null if no gate was asked. */
  readonly reservedMicroUsd: number | null
  readonly leftMicroUsd: number
  readonly resetsAt: string
}

/** What was charged and corrected in one month or day. */
export interface PeriodBook {
  readonly period: Period
  readonly endMs: number
  readonly device: ReadonlyMap<string, SpentSums>
  readonly person: ReadonlyMap<string, PersonSpent>
  readonly org: ReadonlyMap<string, SpentSums>
  readonly corrections: readonly Correction[]
}

export type Reservations = (spender: Spender, period: Period) => number

export interface CapSources {
  readonly devices: DeviceRecords
  readonly keys: KeyRecords
  /** Those of the spenders who are devices or keys, by hash. */
  readonly known: {
    readonly devices: ReadonlyMap<string, NamedDevice>
    readonly keys: ReadonlyMap<string, KeyRow>
  }
  readonly policies: Policies
  /** The month, and today if it is in that month. */
  readonly books: readonly PeriodBook[]
  /** From a running gate; undefined if none was asked. */
  readonly reserved: Reservations | undefined
  readonly nowSeconds: number
}

/** What the database knows about a spender. */
export interface SpenderAbout {
  readonly kind: 'device' | 'key' | 'user' | 'org'
  readonly label: string | undefined
  readonly orgId: string | undefined
  /** The name of its policy; undefined for an organisation, and if nothing records it. */
  readonly policyName: string | undefined
  /** Undefined if the document has no such policy. */
  readonly policy: Policy | undefined
}

export function aboutSpender({ kind, name }: Spender, from: CapSources): SpenderAbout {
  if (kind === 'org') {
    return { kind, label: undefined, orgId: undefined, policyName: undefined, policy: undefined }
  }
  const device = from.known.devices.get(name)
  if (device) return ofDevice(device, from)
  const key = from.known.keys.get(name)
  if (key) return ofKey(key, from)
  const [person] = from.books.flatMap((book) => book.person.get(name) ?? [])
  const { policy = '', org = '' } = person ?? {}
  return {
    kind: person ? 'user' : 'device',
    label: undefined,
    orgId: org === '' ? undefined : org,
    policyName: policy === '' ? undefined : policy,
    policy: from.policies.called(policy),
  }
}

function ofDevice({ label, orgId, entitlements }: NamedDevice, { policies }: CapSources) {
  const policy = entitlements && policies.ofDevice(entitlements)
  const policyName = policy?.name ?? entitlements?.policy
  return { kind: 'device', label, orgId, policyName, policy } as const
}

function ofKey(row: KeyRow, from: CapSources): SpenderAbout {
  const policy = policyOfKey(row, from)
  return {
    kind: 'key',
    label: `key:${row.name}`,
    orgId: row.org ?? undefined,
    policyName: policy?.name ?? row.policy ?? undefined,
    policy,
  }
}

const policyOfKey = (
  { name, org, policy }: KeyRow,
  { policies }: Pick<CapSources, 'policies'>,
): Policy | undefined =>
  policies.policyOf({
    kind: 'key',
    key: name,
    org: org ?? undefined,
    policy: policy ?? undefined,
  })

/** Its own first, then its organisation's. */
export async function capsOf(
  { kind, name }: Spender,
  { orgId, policy }: SpenderAbout,
  from: CapSources,
): Promise<CapAccount[]> {
  if (kind === 'org') {
    return accounts('organisation', name, await policiesOfOrg(name, from), from)
  }
  if (!policy) return []
  return [
    ...accounts('own', name, [policy], from),
    ...(orgId === undefined ? [] : accounts('organisation', orgId, [policy], from)),
  ]
}

/** The policies of all members with a valid credential. */
async function policiesOfOrg(org: string, from: CapSources): Promise<Policy[]> {
  const { policies, nowSeconds } = from
  const named = await from.devices.policiesOfOrg(org, nowSeconds)
  const devices = named.map((policy) =>
    policies.policyOf({ kind: 'device', org, policy: policy ?? undefined }),
  )
  const theirs = await from.keys.ofOrg(org)
  const keys = theirs
    .filter((key) => standingOf(key, nowSeconds) === 'good')
    .map((key) => policyOfKey(key, from))
  const users = from.books.flatMap(({ person }) =>
    [...person.values()]
      .filter((each) => each.org === org)
      .map((each) => policies.called(each.policy)),
  )
  return [...new Set([...devices, ...keys, ...users])].filter((each) => each !== undefined)
}

function accounts(
  of: CapAccount['of'],
  name: string,
  policies: readonly Policy[],
  from: CapSources,
): CapAccount[] {
  return from.books.flatMap((book) => {
    const byLimit = new Map<number, string[]>()
    for (const policy of policies) {
      const limit = limitOf(of === 'own' ? policy.person : policy.organisation, book.period)
      if (limit === undefined) continue
      byLimit.set(limit, [...new Set([...(byLimit.get(limit) ?? []), policy.name])])
    }
    return [...byLimit].map(([limit, names]) => account(of, name, limit, names, book, from))
  })
}

const limitOf = ({ spendPerDay, spendPerMonth }: Limits, period: Period): number | undefined =>
  period === 'day' ? spendPerDay : spendPerMonth

function account(
  of: CapAccount['of'],
  name: string,
  limitMicroUsd: number,
  policies: readonly string[],
  book: PeriodBook,
  { reserved }: CapSources,
): CapAccount {
  const spender: Spender = { kind: of === 'own' ? 'device' : 'org', name }
  const spent = spentIn(book, spender)
  const reservedMicroUsd = reserved?.(spender, book.period) ?? null
  return {
    of,
    period: book.period,
    policies,
    limitMicroUsd,
    spentMicroUsd: spent.spentMicroUsd,
    estimatedMicroUsd: spent.estimatedMicroUsd,
    creditedMicroUsd: spent.creditedMicroUsd,
    reservedMicroUsd,
    leftMicroUsd: Math.max(0, limitMicroUsd - spent.spentMicroUsd - (reservedMicroUsd ?? 0)),
    resetsAt: new Date(book.endMs).toISOString(),
  }
}

export interface SpentIn extends SpentSums {
  readonly creditedMicroUsd: number
  /** What counts against a cap: charges minus credits. */
  readonly spentMicroUsd: number
}

export function spentIn(book: PeriodBook, { kind, name }: Spender): SpentIn {
  const sums =
    kind === 'org' ? book.org.get(name) : (book.device.get(name) ?? book.person.get(name))
  const { chargedMicroUsd = 0, estimatedMicroUsd = 0 } = sums ?? {}
  const creditedMicroUsd = book.corrections
    .filter((each) => each.kind === kind && each.name === name)
    .reduce((sum, { creditMicroUsd }) => sum + creditMicroUsd, 0)
  const spentMicroUsd = Math.max(0, chargedMicroUsd - creditedMicroUsd)
  return { chargedMicroUsd, estimatedMicroUsd, creditedMicroUsd, spentMicroUsd }
}
