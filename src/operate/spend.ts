// `postern spend`: what a device or an organisation has spent of a month, as its cap counts it, and the
// operator's corrections of that. A running gate knows of a correction within a second.

import type { Database } from 'bun:sqlite'
import { monthEndMs, monthOf } from '../turn/calendar.ts'
import { newestKey } from '../keys/find.ts'
import { audit } from '../enroll/audit.ts'
import { deviceOfHash, devicesNamed, isOrgNamed } from '../enroll/device-names.ts'
import type { Identities } from '../token/identity.ts'
import type { OpenLedger } from '../gate/ledger.ts'
import type { Correction, Spender } from '../ledger/corrections.ts'
import type { SpentSums } from '../ledger/reports.ts'

/** As a command line gives them: text, or absent. */
export interface SpendFlags {
  readonly credit?: string
  readonly debit?: string
  readonly reason?: string
  readonly month?: string
  readonly json?: boolean
}

export interface SpendQuestion {
  /** Undefined for everybody. */
  readonly name: string | undefined
  readonly month: string
  readonly json: boolean
  readonly correction: { readonly creditMicroUsd: number; readonly reason: string } | undefined
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
  const { credit, debit, reason, month = monthOf(nowMs), json = false } = flags
  const [name] = words
  if (!/^\d{4}-(?:0[1-9]|1[0-2])$/.test(month)) {
    return wrong('--month is no month', 'write it as 2026-11')
  }
  if (month > monthOf(nowMs)) return wrong('--month has not begun', 'leave it out for this one')
  const text = credit ?? debit
  if (text === undefined) {
    if (reason !== undefined) return wrong('--reason needs a correction', 'add --credit or --debit')
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
      `${which} is no amount`,
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
    value: { name, month, json, correction: { creditMicroUsd, reason: reason.trim() } },
  }
}

const wrong = (message: string, hint: string): SpendRead => ({ ok: false, message, hint })

function microUsdOf(text: string): number | undefined {
  const [, whole, decimals = ''] = AMOUNT.exec(text) ?? []
  if (whole === undefined) return undefined
  const amount = Number(whole) * 1_000_000 + Number(decimals.padEnd(6, '0'))
  return amount > 0 && amount <= MAX_CREDIT_USD * 1_000_000 ? amount : undefined
}

export interface Spending extends Spender {
  /** A device's, where it has one; `key:NAME` of a key, which is counted as a device is. */
  readonly label: string | undefined
  /** Whose cap counts the same requests. */
  readonly orgId: string | undefined
  readonly chargedMicroUsd: number
  /** Part of what was charged. */
  readonly estimatedMicroUsd: number
  readonly creditedMicroUsd: number
  /** What counts against the cap: charged, less credited. */
  readonly spentMicroUsd: number
  readonly capMicroUsd: number | undefined
  /** Requests under way may hold some of it. */
  readonly leftMicroUsd: number | undefined
  readonly corrections: readonly Correction[]
}

const KEY_PREFIX = 'key:'

/** What spending is read from, and how it is. */
export interface SpendBooks {
  readonly ledger: OpenLedger
  /** Enrolment's, where devices have their names. */
  readonly database: Database
  readonly identities: Identities
  readonly orgSpendCapUsd: number | undefined
}

/** Of everybody who spent anything or was corrected, the dearest first; or of one alone. */
export async function spendingOf(
  books: SpendBooks,
  month: string,
  only?: Spender,
): Promise<Spending[]> {
  const { reports, corrections: corrected } = books.ledger
  const sinceMs = Date.parse(`${month}-01T00:00:00Z`)
  const filter = { sinceMs, untilMs: monthEndMs(sinceMs) }
  const corrections = await corrected.in(month)
  const all: Spending[] = []
  for (const kind of only ? [only.kind] : (['device', 'org'] as const)) {
    const charged = await reports.spentBy(kind, only ? { ...filter, [kind]: only.name } : filter)
    const named = corrections.filter((each) => each.kind === kind).map(({ name }) => name)
    for (const name of new Set(only ? [only.name] : [...charged.keys(), ...named])) {
      const own = corrections.filter((each) => each.kind === kind && each.name === name)
      all.push(spending(books, { kind, name }, charged.get(name), own))
    }
  }
  return all.toSorted((a, b) => b.chargedMicroUsd - a.chargedMicroUsd)
}

function spending(
  { database, orgSpendCapUsd }: SpendBooks,
  { kind, name }: Spender,
  sums: SpentSums | undefined,
  corrections: readonly Correction[],
): Spending {
  const device = kind === 'device' ? deviceOfHash(database, name) : undefined
  const key = kind === 'device' && !device ? newestKey(database, 'identity', name) : undefined
  const { chargedMicroUsd = 0, estimatedMicroUsd = 0 } = sums ?? {}
  const creditedMicroUsd = corrections.reduce((sum, each) => sum + each.creditMicroUsd, 0)
  const spentMicroUsd = Math.max(0, chargedMicroUsd - creditedMicroUsd)
  const capUsd = kind === 'org' ? orgSpendCapUsd : device?.spendCap
  const capMicroUsd = capUsd === undefined ? undefined : Math.round(capUsd * 1_000_000)
  return {
    kind,
    name,
    label: key ? KEY_PREFIX + key.name : device?.label,
    orgId: device?.orgId ?? key?.org ?? undefined,
    chargedMicroUsd,
    estimatedMicroUsd,
    creditedMicroUsd,
    spentMicroUsd,
    capMicroUsd,
    leftMicroUsd: capMicroUsd === undefined ? undefined : Math.max(0, capMicroUsd - spentMicroUsd),
    corrections,
  }
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
  const isOrg = isOrgNamed(database, name) || (await ledger.reports.knows({ kind: 'org', name }))
  const [hash, ...more] = hashes
  if (hash !== undefined && more.length === 0 && !isOrg) {
    return { ok: true, spender: { kind: 'device', name: hash } }
  }
  if (hash === undefined && isOrg) return { ok: true, spender: { kind: 'org', name } }
  if (hash === undefined) {
    const hint =
      'postern spend lists who spent anything; a device is named by its id, label or hash, a key by key:NAME'
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
  { month, correction }: SpendQuestion,
  nowMs: number,
): Promise<Corrected> {
  if (!correction) return { ok: true }
  const { creditMicroUsd, reason } = correction
  const added = await ledger.corrections.add(
    { ...spender, atMs: nowMs, month, creditMicroUsd, reason, actor: 'cli' },
    () =>
      audit(database, {
        at: nowMs / 1000,
        actor: 'cli',
        action: creditMicroUsd > 0 ? 'credit' : 'debit',
        subject: `${spender.kind}:${spender.name} ${month} ${usd(Math.abs(creditMicroUsd))}`,
      }),
  )
  if (added.ok) return added
  const message = `${usd(Math.max(0, added.spentMicroUsd))} was spent in ${month}`
  return { ok: false, message, hint: 'give that at the most; the ledger may be a second behind' }
}

/** To the last digit that is one. */
export function usd(microUsd: number): string {
  const whole = Math.trunc(microUsd / 1_000_000)
  const decimals = String(Math.abs(microUsd % 1_000_000)).padStart(6, '0')
  return `$${whole}.${decimals.replace(/0{1,4}$/, '')}`
}
