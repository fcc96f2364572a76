// One person under one name: what is recorded under the names of before IDENTITY_HASH_KEY was replaced
// counts for the name of now, as far as a gate has told the ledger which it is.

import type { Correction } from '../ledger/corrections.ts'
import type { PersonSpent } from '../ledger/reports.ts'

/** From each former name to the name of now. */
export type Renamed = ReadonlyMap<string, string>

export const nameNow = (renamed: Renamed, name: string): string => renamed.get(name) ?? name

export const formerNamesOf = (renamed: Renamed, name: string): string[] =>
  [...renamed].filter(([, now]) => now === name).map(([former]) => former)

/** Policy and organisation are those under the name of now, if anything was spent under it. */
export function personsNow(
  persons: ReadonlyMap<string, PersonSpent>,
  renamed: Renamed,
): ReadonlyMap<string, PersonSpent> {
  if (renamed.size === 0) return persons
  const merged = new Map<string, PersonSpent>()
  for (const [recorded, each] of persons) {
    const name = nameNow(renamed, recorded)
    const other = merged.get(name)
    const latest = other && recorded !== name ? other : each
    merged.set(name, {
      ...latest,
      chargedMicroUsd: each.chargedMicroUsd + (other?.chargedMicroUsd ?? 0),
      estimatedMicroUsd: each.estimatedMicroUsd + (other?.estimatedMicroUsd ?? 0),
    })
  }
  return merged
}

export const correctionsNow = (corrections: readonly Correction[], renamed: Renamed) =>
  corrections.map((each) =>
    each.kind === 'device' ? { ...each, name: nameNow(renamed, each.name) } : each,
  )
