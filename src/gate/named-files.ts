// The content of files that settings name by path: prices and trusted certificates.

import { readFileSync } from 'node:fs'
import { bundledPrices, parsePrices } from '../budget/price-table.ts'
import type { Prices } from '../budget/prices.ts'
import { readCaFile } from '../config/ca-file.ts'
import type { Mistake } from '../config/kinds.ts'
import type { Settings } from '../config/read.ts'
import type { Key } from '../config/table.ts'

export const BY_PATH = ['pricesFile', 'upstreamCaFile'] as const satisfies readonly Key[]

export interface NamedFiles {
  /** The built-in prices, or those of the operator's file. */
  readonly prices: Prices
  /** In PEM. */
  readonly certificates: readonly string[]
  readonly warnings: readonly string[]
  /** Equal if the files' content has not changed. */
  readonly contents: Readonly<Record<(typeof BY_PATH)[number], string>>
}

export type NamedFilesRead =
  | { readonly ok: true; readonly named: NamedFiles }
  | { readonly ok: false; readonly mistakes: readonly Mistake[] }

export function readNamedFiles(
  { pricesFile, upstreamCaFile }: Pick<Settings, (typeof BY_PATH)[number]>,
  nowMs: number,
): NamedFilesRead {
  const prices = readPrices(pricesFile)
  const authorities = readCaFile(upstreamCaFile, nowMs)
  if (!prices.ok || !authorities.ok) {
    const mistakes = [prices, authorities].flatMap((read) => (read.ok ? [] : read.mistakes))
    return { ok: false, mistakes }
  }
  const { certificates, warnings } = authorities
  const contents = { pricesFile: prices.text, upstreamCaFile: certificates.join('\n') }
  return { ok: true, named: { prices: prices.value, certificates, warnings, contents } }
}

type PricesRead =
  | { readonly ok: true; readonly value: Prices; readonly text: string }
  | { readonly ok: false; readonly mistakes: readonly Mistake[] }

function readPrices(file: string | undefined): PricesRead {
  if (file === undefined) return { ok: true, value: bundledPrices(), text: '' }
  const mistake = (message: string, hint: string) => ({ setting: 'PRICES_FILE', message, hint })
  try {
    const text = readFileSync(file, 'utf8')
    const parsed = parsePrices(text)
    if (parsed.ok) return { ok: true, value: parsed.prices, text }
    return { ok: false, mistakes: parsed.mistakes.map((each) => mistake(each.message, each.hint)) }
  } catch {
    return { ok: false, mistakes: [mistake('names a file that cannot be read', 'check the path')] }
  }
}
