// What is different between the settings of now and those that were read again, and whether a running
// gate may take it. Pure.

import type { Settings } from '../config/read.ts'
import { RELOADING, type Reloading } from '../config/reloading.ts'
import { type Key, KEYS, settingOf } from '../config/table.ts'
import { Secret } from '../secret.ts'
import { BY_PATH, type NamedFiles } from './named-files.ts'

/** What a gate goes by. */
export interface Configuration {
  readonly settings: Settings
  /** What stands in the files that settings name. */
  readonly named: NamedFiles
}

export interface Change {
  readonly kind: 'none' | 'exchange' | 'restart'
  /** Of the settings. */
  readonly names: readonly string[]
}

type Member = keyof Settings

/** What a document alone can list. */
const LISTS: Readonly<Record<Exclude<Member, Key>, Reloading>> = {
  issuers: 'value',
  policies: 'taken',
}

/** What is different, by the names of the settings. */
export function changeOf(before: Configuration, after: Configuration): Change {
  const [mine, theirs] = [before.settings, after.settings]
  const members = [...new Set([...Object.keys(mine), ...Object.keys(theirs)])] as Member[]
  const changed = members.filter((each) => !isSame(mine[each], theirs[each]))
  const lasting = changed.filter((each) => !mayChange(each, mine[each], theirs[each]))
  if (lasting.length > 0) return { kind: 'restart', names: lasting.map(nameOf) }
  const contents = BY_PATH.filter(
    (key) => !changed.includes(key) && before.named.contents[key] !== after.named.contents[key],
  )
  const names = [...changed, ...contents].map(nameOf)
  return { kind: names.length > 0 ? 'exchange' : 'none', names }
}

function mayChange(member: Member, before: unknown, after: unknown): boolean {
  const reloading = isKey(member) ? RELOADING[member] : LISTS[member]
  return reloading === 'taken' || (reloading === 'value' && isEmpty(before) === isEmpty(after))
}

const isKey = (member: string): member is Key => KEYS.includes(member as Key)

const isEmpty = (value: unknown): boolean =>
  value === undefined || (Array.isArray(value) && value.length === 0)

const nameOf = (member: string): string => (isKey(member) ? settingOf(member).env : member)

/** Secrets by what they hold, and addresses by their text. */
export function isSame(a: unknown, b: unknown): boolean {
  if (a instanceof Secret && b instanceof Secret) return a.reveal() === b.reveal()
  if (a instanceof URL && b instanceof URL) return a.href === b.href
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b
  if (a.constructor !== b.constructor) return false
  const [mine, theirs] = [Object.entries(a), new Map(Object.entries(b))]
  return (
    mine.length === theirs.size &&
    mine.every(([name, value]) => theirs.has(name) && isSame(value, theirs.get(name)))
  )
}
