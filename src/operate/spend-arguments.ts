// Reads the arguments of `postern spend`.

import { dayOf, monthOf, periodFrom } from '../turn/calendar.ts'

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
