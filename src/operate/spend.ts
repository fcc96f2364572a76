// `postern spend`: what a device or an organisation has spent of a month, as its cap counts it, and the
// operator's corrections of that. A running gate knows of a correction within a second.

import { dayOf, monthOf, periodFrom, spanOf } from '../turn/calendar.ts'
import { newestKey } from '../keys/find.ts'
import { audit } from '../enroll/audit.ts'
import { devicesNamed, isOrgNamed } from '../enroll/device-names.ts'
import type { Identities } from '../token/identity.ts'
import type { OpenLedger } from '../gate/ledger.ts'
import type { Correction, Spender } from '../ledger/corrections.ts'
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

/** As a command line gives them: text, or absent. */
export interface SpendFlags {
  readonly credit?: string
  readonly debit?: string
  readonly reason?: string
  readonly month?: string
  readonly day?: string
  readonly gate?: string
  readonly json?: boolean
}

export interface SpendQuestion {
  /** Undefined for everybody. */
  readonly name: string | undefined
  readonly month: string
  readonly json: boolean
  readonly correction:
    | {
        readonly creditMicroUsd: number
        readonly reason: string
        /** The month, or one of its days. */
        readonly written: string
      }
    | undefined
}

export type SpendRead =
  | { readonly ok: true; readonly value: SpendQuestion }
  | { readonly ok: false; readonly message: string; readonly hint: string }

const MAX_CREDIT_USD = 1_000_000
/** Whole micro-dollars, and no float on the way there. */
const AMOUNT = /^(\d{1,7})(?:\.(\d{1,6}))?$/
/** It is shown on terminals. */
const REASON = /^[^\p{C}]{1,200}$/u

export function readSpend(words: readonly string[], flags: SpendFlags, nowMs: number): SpendRead {
  const { credit, debit, reason, day, json = false } = flags
  const { month = (day ?? monthOf(nowMs)).slice(0, 7) } = flags
  const [name] = words
  if (!/^\d{4}-(?:0[1-9]|1[0-2])$/.test(month)) {
    return wrong('--month is not a month', 'write it as 2026-11')
  }
  if (month > monthOf(nowMs)) return wrong('--month has not begun', 'leave it out for this one')
  if (day !== undefined) {
    if (!isDay(day)) return wrong('--day is not a day', 'write it as 2026-11-29')
    if (day > dayOf(nowMs)) return wrong('--day has not begun', 'leave it out for the month')
    if (!day.startsWith(month)) return wrong('--day is not in --month', 'give one of them')
  }
  const text = credit ?? debit
  if (text === undefined) {
    if (reason !== undefined) return wrong('--reason needs a correction', 'add --credit or --debit')
    if (day !== undefined) return wrong('--day needs a correction', 'add --credit or --debit')
    return { ok: true, value: { name, month, json, correction: undefined } }
  }
  if (credit !== undefined && debit !== undefined) {
    return wrong('--credit and --debit are two corrections', 'give one, and then the other')
  }
  const which = credit === undefined ? '--debit' : '--credit'
  if (name === undefined) {
    return wrong(
      `${which} needs a name`,
      `name a device or an organisation: postern spend NAME ${which} ${text}`,
    )
  }
  const amount = microUsdOf(text)
  if (amount === undefined) {
    return wrong(
      `${which} is not an amount`,
      `give US dollars above 0, to ${MAX_CREDIT_USD}, as in 3.20`,
    )
  }
  if (reason === undefined || !REASON.test(reason.trim())) {
    return wrong(
      '--reason is missing, too long or has control characters',
      'say why, in up to 200 characters',
    )
  }
  const creditMicroUsd = credit === undefined ? -amount : amount
  return {
    ok: true,
    value: {
      name,
      month,
      json,
      correction: { creditMicroUsd, reason: reason.trim(), written: day ?? month },
    },
  }
}

function isDay(text: string): boolean {
  try {
    return periodFrom(text).period === 'day'
  } catch {
    return false
  }
}

const wrong = (message: string, hint: string): SpendRead => ({ ok: false, message, hint })

function microUsdOf(text: string): number | undefined {
  const [, whole, decimals = ''] = AMOUNT.exec(text) ?? []
  if (whole === undefined) return undefined
  const amount = Number(whole) * 1_000_000 + Number(decimals.padEnd(6, '0'))
  return amount > 0 && amount <= MAX_CREDIT_USD * 1_000_000 ? amount : undefined
}

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

const KEY_PREFIX = 'key:'
const HASH_PREFIX = /^[0-9a-f]{8,64}$/

/** What spending is read from, and how it is. */
export interface SpendBooks extends Pick<CapSources, 'database' | 'policies' | 'reserved'> {
  readonly ledger: OpenLedger
  readonly identities: Identities
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
  const read = await Promise.all(periods.map((written) => bookOf(books.ledger, written)))
  const from = { ...books, books: read, nowSeconds: nowMs / 1000 }
  const all = only ? [only] : spenders(read)
  return all
    .map((spender) => spending(spender, from, books.hasDocument))
    .toSorted((a, b) => b.chargedMicroUsd - a.chargedMicroUsd)
}

async function bookOf({ reports, corrections }: OpenLedger, written: string): Promise<PeriodBook> {
  const { period, startMs } = periodFrom(written)
  const { endMs } = spanOf(period, startMs)
  const filter = { sinceMs: startMs, untilMs: endMs }
  return {
    period,
    endMs,
    device: await reports.spentBy('device', filter),
    org: await reports.spentBy('org', filter),
    person: await reports.spentByPersons(filter),
    corrections: await corrections.in(written),
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

function spending(spender: Spender, from: CapSources, hasDocument: boolean): Spending {
  const about = aboutSpender(spender, from)
  const { policyName, policy } = about
  const caps = capsOf(spender, about, from)
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

export type SpenderFound =
  | { readonly ok: true; readonly spender: Spender }
  | { readonly ok: false; readonly message: string; readonly hint: string }

/** `org:acme`, or whatever a device goes by; an organisation's bare id where no device has it. */
export async function findSpender(books: SpendBooks, name: string): Promise<SpenderFound> {
  const { ledger, database, identities } = books
  if (name.startsWith('org:')) {
    return { ok: true, spender: { kind: 'org', name: name.slice('org:'.length) } }
  }
  if (name.startsWith(KEY_PREFIX)) {
    const key = newestKey(database, 'name', name.slice(KEY_PREFIX.length))
    if (key) return { ok: true, spender: { kind: 'device', name: key.identity } }
  }
  const devices = devicesNamed(database, name, identities)
  const hashes = new Set(devices.map(({ deviceHash }) => deviceHash))
  if (await ledger.reports.knows({ kind: 'device', name })) hashes.add(name)
  if (hashes.size === 0 && HASH_PREFIX.test(name)) {
    for (const hash of await ledger.reports.callersBeginning(name)) hashes.add(hash)
  }
  const isOrg = isOrgNamed(database, name) || (await ledger.reports.knows({ kind: 'org', name }))
  const [hash, ...more] = hashes
  if (hash !== undefined && more.length === 0 && !isOrg) {
    return { ok: true, spender: { kind: 'device', name: hash } }
  }
  if (hash === undefined && isOrg) return { ok: true, spender: { kind: 'org', name } }
  if (hash === undefined) {
    const hint =
      'postern spend lists who spent anything; a device is named by its id, label or hash, a user by the hash, a key by key:NAME'
    return { ok: false, message: 'nothing has this name', hint }
  }
  const which = [...hashes, ...(isOrg ? [`org:${name}`] : [])]
  return { ok: false, message: 'several have this name', hint: `name one: ${which.join(', ')}` }
}

export type Corrected =
  { readonly ok: true } | { readonly ok: false; readonly message: string; readonly hint: string }

/** Writes it and its entry in the audit table, or neither. */
export async function correct(
  { ledger, database }: SpendBooks,
  spender: Spender,
  { correction }: SpendQuestion,
  nowMs: number,
): Promise<Corrected> {
  if (!correction) return { ok: true }
  const { creditMicroUsd, reason, written } = correction
  const added = await ledger.corrections.add(
    { ...spender, atMs: nowMs, month: written, creditMicroUsd, reason, actor: 'cli' },
    () =>
      audit(database, {
        at: nowMs / 1000,
        actor: 'cli',
        action: creditMicroUsd > 0 ? 'credit' : 'debit',
        subject: `${spender.kind}:${spender.name} ${written} ${usd(Math.abs(creditMicroUsd))}`,
      }),
  )
  if (added.ok) return added
  const message = `${usd(Math.max(0, added.spentMicroUsd))} was spent in ${written}`
  return { ok: false, message, hint: 'give that at the most; the ledger may be a second behind' }
}

/** To the last digit that is one. */
export function usd(microUsd: number): string {
  const whole = Math.trunc(microUsd / 1_000_000)
  const decimals = String(Math.abs(microUsd % 1_000_000)).padStart(6, '0')
  return `$${whole}.${decimals.replace(/0{1,4}$/, '')}`
}
