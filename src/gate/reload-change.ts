// Compares the settings in force with those that were read again, and decides whether a running gate may
// apply them. Pure.

import type { Settings } from '../config/read.ts'
import { type Key, KEYS, type Reloaded, settingOf } from '../config/table.ts'
import { settingAt, takesDevices, type UpstreamEntry } from '../config/upstreams.ts'
import { Secret } from '../secret.ts'
import { BY_PATH, type NamedFiles } from './named-files.ts'

/** The configuration of a gate. */
export interface Configuration {
  readonly settings: Settings
  /** The content of the files that settings name. */
  readonly named: NamedFiles
}

export interface Change {
  readonly kind: 'none' | 'exchange' | 'restart'
  /** Of the settings. */
  readonly names: readonly string[]
  /** Changes that would have been applied without those. */
  readonly withheld?: readonly string[]
  /** How the change could be made. */
  readonly hint?: string
}

type Member = keyof Settings

/** Lists that only a document can have. */
const LISTS: Readonly<Record<Exclude<Member, Key | 'upstreams'>, Reloaded>> = {
  issuers: 'value',
  policies: 'taken',
  fallback: 'taken',
}

/** The differences, by the names of the settings. */
export function changeOf(before: Configuration, after: Configuration): Change {
  const [mine, theirs] = [before.settings, after.settings]
  const members = [...new Set([...Object.keys(mine), ...Object.keys(theirs)])] as Member[]
  const changed = members.filter(
    (each): each is Exclude<Member, 'upstreams'> =>
      each !== 'upstreams' && !isSame(mine[each], theirs[each]),
  )
  const upstreams = upstreamChange(mine.upstreams, theirs.upstreams)
  const stated = [
    ...changed.filter((each) => !mayChange(each, mine[each], theirs[each])).map(nameOf),
    ...(upstreams.isTaken ? [] : upstreams.names),
  ]
  const contents = BY_PATH.filter(
    (key) => !changed.includes(key) && before.named.contents[key] !== after.named.contents[key],
  )
  const named = [...changed, ...contents].map(nameOf)
  const names = [...new Set([...upstreams.names, ...named])]
  const forgets = forgetsNames(mine, theirs)
  const lasting = new Set([...stated, ...(forgets ? [nameOf('identityHashKey')] : [])])
  if (lasting.size === 0) return { kind: names.length > 0 ? 'exchange' : 'none', names }
  const withheld = names.filter((name) => !lasting.has(name))
  return {
    kind: 'restart',
    names: [...lasting],
    ...(withheld.length > 0 && { withheld }),
    ...(forgets && { hint: KEEP_KEY }),
  }
}

const mayChange = (
  member: Exclude<Member, 'upstreams'>,
  before: unknown,
  after: unknown,
): boolean => isTaken(isKey(member) ? settingOf(member).reload : LISTS[member], before, after)

const isTaken = (reload: Reloaded | undefined, before: unknown, after: unknown): boolean =>
  reload === 'taken' || (reload === 'value' && isEmpty(before) === isEmpty(after))

interface UpstreamChange {
  /** Of the settings. */
  readonly names: readonly string[]
  readonly isTaken: boolean
}

function upstreamChange(
  before: readonly UpstreamEntry[],
  after: readonly UpstreamEntry[],
): UpstreamChange {
  const isListSame = isSame(before.map(nameAndKind), after.map(nameAndKind))
  const members = before.flatMap((one) => {
    const other = after.find((each) => isSame(nameAndKind(each), nameAndKind(one)))
    return other ? changedMembers(one, other) : []
  })
  return {
    names: [...new Set([...(isListSame ? [] : ['upstreams']), ...members])],
    isTaken: isSame(startedFor(before), startedFor(after)),
  }
}

const nameAndKind = ({ name, kind }: UpstreamEntry): readonly string[] => [name, kind]

/** Those who enrol devices, and the one who signs in, have parts of the gate that the start makes. */
const startedFor = (upstreams: readonly UpstreamEntry[]): readonly boolean[] => [
  takesDevices(upstreams),
  upstreams.some(({ kind }) => kind === 'anthropic-oauth'),
]

function changedMembers(one: UpstreamEntry, other: UpstreamEntry): readonly string[] {
  const [mine, theirs] = [new Map(Object.entries(one)), new Map(Object.entries(other))]
  return [...new Set([...mine.keys(), ...theirs.keys()])]
    .filter((member) => !isSame(mine.get(member), theirs.get(member)))
    .map((member) => {
      const key = settingAt(one.kind, member)
      // An upstream with the name of its kind is set by a variable.
      return key !== undefined && one.name === one.kind ? nameOf(key) : `upstreams.${one.name}`
    })
}

/** Without the previous key nobody would be recognised, and their spending would be forgotten. */
function forgetsNames({ identityHashKey: before }: Settings, theirs: Settings): boolean {
  const known = [theirs.identityHashKey, ...(theirs.identityHashKeyOld ?? [])]
  return (
    theirs.identityHashKey !== undefined &&
    before !== undefined &&
    !known.some((each) => isSame(each, before))
  )
}

const KEEP_KEY = 'put the key of before into IDENTITY_HASH_KEY_OLD'

const isKey = (member: string): member is Key => KEYS.includes(member as Key)

const isEmpty = (value: unknown): boolean =>
  value === undefined || (Array.isArray(value) && value.length === 0)

const nameOf = (member: string): string => (isKey(member) ? settingOf(member).env : member)

/** Compares secrets by content and URLs by text. */
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
