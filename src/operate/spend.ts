// `postern spend`: what a device or an organisation has spent of a month, as its cap counts it, and the
// operator's corrections of that. A running gate knows of a correction within a second.

import type { OperatorRecords } from '../gate/records.ts'
import type { CommandLedger } from '../ledger/engine.ts'
import type { Correction, Spender } from '../ledger/corrections.ts'
import { usd } from '../ledger/usd.ts'
import { dayOf, monthOf, periodFrom, spanOf } from '../turn/calendar.ts'
import { correctionsNow, formerNamesOf, personsNow, type Renamed } from './one-name.ts'
import type { SpendQuestion } from './spend-arguments.ts'
import {
  aboutSpender,
  type CapAccount,
  type CapSources,
  capsOf,
  type PeriodBook,
  type SpenderAbout,
  type SpentIn,
  spentIn,
} from './spend-caps.ts'

export interface Spending {
  readonly kind: SpenderAbout['kind']
  /** A caller's hash, or an organisation's id. */
  readonly name: string
  /** A device's label, if it has one; `key:NAME` for a key. */
  readonly label: string | undefined
  /** Whose cap counts the same requests. */
  readonly orgId: string | undefined
  /** The name of the policy; undefined for an organisation. */
  readonly policy: string | undefined
  /** Null if no document lists the policies; false: a gate refuses the caller. */
  readonly policyKnown: boolean | null
  /** For the month, like all members up to `leftMicroUsd`. */
  readonly chargedMicroUsd: number
  /** Part of what was charged. */
  readonly estimatedMicroUsd: number
  readonly creditedMicroUsd: number
  /** What counts against a cap: charges minus credits. */
  readonly spentMicroUsd: number
  /** The narrowest of its own caps. */
  readonly capMicroUsd: number | undefined
  readonly leftMicroUsd: number | undefined
  /** Every cap that its requests count against. */
  readonly caps: readonly CapAccount[]
  readonly corrections: readonly Correction[]
}

/** What spending is read from, and how it is. */
export interface SpendBooks extends Pick<CapSources, 'policies' | 'reserved'> {
  readonly records: OperatorRecords
  /** Whether the named policies are known. */
  readonly hasDocument: boolean
}

/** Of everybody who spent anything or was corrected, the dearest first; or of one alone. */
export async function spendingOf(
  books: SpendBooks,
  month: string,
  nowMs: number,
  only?: Spender,
): Promise<Spending[]> {
  const periods = [month, ...(monthOf(nowMs) === month ? [dayOf(nowMs)] : [])]
  const { devices, keys, ledger } = books.records
  const renamed = await ledger.reports.formerNames()
  const read = await Promise.all(periods.map((written) => bookOf(ledger, written, renamed)))
  const all = only ? [only] : spenders(read)
  const names = all.filter(({ kind }) => kind === 'device').map(({ name }) => name)
  const from: CapSources = {
    ...books,
    ...books.records,
    known: { devices: await devices.ofHashes(names), keys: await keys.ofIdentities(names) },
    books: read,
    nowSeconds: nowMs / 1000,
  }
  const found: Spending[] = []
  for (const spender of all) found.push(await spending(spender, from, books.hasDocument))
  return found.toSorted((a, b) => b.chargedMicroUsd - a.chargedMicroUsd)
}

async function bookOf(
  { reports, corrections }: CommandLedger,
  written: string,
  renamed: Renamed,
): Promise<PeriodBook> {
  const { period, startMs } = periodFrom(written)
  const { endMs } = spanOf(period, startMs)
  const filter = { sinceMs: startMs, untilMs: endMs }
  return {
    period,
    endMs,
    device: await reports.spentBy('device', filter),
    org: await reports.spentBy('org', filter),
    person: personsNow(await reports.spentByPersons(filter), renamed),
    corrections: correctionsNow(await corrections.in(written), renamed),
  }
}

function spenders(books: readonly PeriodBook[]): Spender[] {
  const names: Record<Spender['kind'], Set<string>> = { device: new Set(), org: new Set() }
  for (const { device, org, person, corrections } of books) {
    for (const name of [...device.keys(), ...person.keys()]) names.device.add(name)
    for (const name of org.keys()) names.org.add(name)
    for (const { kind, name } of corrections) names[kind].add(name)
  }
  return (['device', 'org'] as const).flatMap((kind) =>
    [...names[kind]].map((name) => ({ kind, name })),
  )
}

async function spending(
  spender: Spender,
  from: CapSources,
  hasDocument: boolean,
): Promise<Spending> {
  const about = aboutSpender(spender, from)
  const { policyName, policy } = about
  const caps = await capsOf(spender, about, from)
  const own = spender.kind === 'org' ? 'organisation' : 'own'
  const monthly = caps.filter(({ of, period }) => of === own && period === 'month')
  const narrowest = monthly.toSorted((a, b) => a.limitMicroUsd - b.limitMicroUsd)[0]
  const [month] = from.books
  const isMissing = policyName !== undefined && policy === undefined
  return {
    kind: about.kind,
    name: spender.name,
    label: about.label,
    orgId: about.orgId,
    policy: policyName,
    policyKnown: !isMissing || (hasDocument ? false : null),
    ...(month ? spentIn(month, spender) : NOTHING_SPENT),
    capMicroUsd: narrowest?.limitMicroUsd,
    leftMicroUsd: narrowest?.leftMicroUsd,
    caps,
    corrections: from.books
      .flatMap(({ corrections }) => corrections)
      .filter(({ kind, name }) => kind === spender.kind && name === spender.name),
  }
}

const NOTHING_SPENT: SpentIn = {
  chargedMicroUsd: 0,
  estimatedMicroUsd: 0,
  creditedMicroUsd: 0,
  spentMicroUsd: 0,
}

export type Corrected =
  { readonly ok: true } | { readonly ok: false; readonly message: string; readonly hint: string }

/** Writes it and its entry in the audit trail, or neither. */
export async function correct(
  { reports, corrections }: CommandLedger,
  spender: Spender,
  { correction }: SpendQuestion,
  nowMs: number,
): Promise<Corrected> {
  if (!correction) return { ok: true }
  const { creditMicroUsd, reason, written } = correction
  const former = formerNamesOf(await reports.formerNames(), spender.name)
  const added = await corrections.add(
    { ...spender, atMs: nowMs, month: written, creditMicroUsd, reason, actor: 'cli' },
    spender.kind === 'device' ? former : [],
  )
  if (added.ok) return added
  const message = `${usd(Math.max(0, added.spentMicroUsd))} was spent in ${written}`
  return { ok: false, message, hint: 'give that at the most; the ledger may be a second behind' }
}
