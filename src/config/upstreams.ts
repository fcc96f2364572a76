// The upstreams of the settings: one of each kind that the environment names, or those that a document
// lists. What their members may be, the table of settings says; whether they go together is judged here.

import { type CallerKind, UPSTREAM_KINDS, type UpstreamKind } from '../names.ts'
import type { Secret } from '../secret.ts'
import type { Given } from './given.ts'
import type { HeaderLines } from './header-lines.ts'
import type { Mistake } from './kinds.ts'
import { ownValues } from './own-values.ts'
import { type Key, settingOf, type Values } from './table.ts'

/** What an upstream of each kind is made of, and the setting that says each of it. */
export const MEMBERS = {
  tinfoil: {
    apiKey: 'tinfoilApiKey',
    baseUrl: 'tinfoilBaseUrl',
    attestationUrl: 'tinfoilAttestationUrl',
    enclaveHosts: 'tinfoilEnclaveHosts',
    requireEhbp: 'requireEhbp',
    callers: 'tinfoilCallers',
  },
  anthropic: {
    apiKey: 'anthropicApiKey',
    baseUrl: 'anthropicBaseUrl',
    keyHeader: 'anthropicKeyHeader',
    headers: 'anthropicHeaders',
    callers: 'anthropicCallers',
  },
  // How one signs in are settings of the whole gate.
  'anthropic-oauth': {},
  openai: {
    baseUrl: 'openaiUpstreamUrl',
    apiKey: 'openaiUpstreamKey',
    keyHeader: 'openaiUpstreamKeyHeader',
    headers: 'openaiUpstreamHeaders',
    routes: 'openaiUpstreamRoutes',
    callers: 'openaiUpstreamCallers',
  },
} as const satisfies Readonly<Record<UpstreamKind, Readonly<Record<string, Key>>>>

type Members = typeof MEMBERS

/** The one setting that says that an upstream is there. */
export const CHOSEN_BY = {
  tinfoil: 'tinfoilApiKey',
  anthropic: 'anthropicApiKey',
  'anthropic-oauth': 'clientId',
  openai: 'openaiUpstreamUrl',
} as const satisfies Readonly<Record<UpstreamKind, Key>>

/** A server of Anthropic's API that asks for no key; said, so that no key is left out by a slip. */
export const isKeyless = (given: ReadonlyMap<Key, Given>): boolean =>
  given.get('anthropicKeyHeader')?.text === 'none'

const isChosen = (kind: UpstreamKind, given: ReadonlyMap<Key, Given>): boolean =>
  given.has(CHOSEN_BY[kind]) || (kind === 'anthropic' && isKeyless(given))

/** In development mode, one of these that lacks what chooses it is answered from within. */
export const EMBEDDED = [
  'tinfoil',
  'anthropic',
  'openai',
] as const satisfies readonly UpstreamKind[]
/** In development mode these are there without a word. */
const USUAL: ReadonlySet<UpstreamKind> = new Set(['tinfoil', 'anthropic'])

/** What a document can say of an upstream, and no variable. */
export interface UpstreamOwn {
  readonly name?: string
  /** Exact names, or beginnings with a trailing `*`. Absent: every model. */
  readonly models?: readonly string[]
  /** Whether it is asked which models it has. */
  readonly askModels?: boolean
}

interface Common<Kind extends UpstreamKind> {
  readonly kind: Kind
  /** In logs, in the ledger and in policies; that of its kind unless it has one. */
  readonly name: string
  readonly models?: readonly string[]
  readonly askModels?: boolean
  readonly callers: readonly CallerKind[]
}

type Taken<M> = { readonly [Member in keyof M]: NonNullable<Values[M[Member] & Key]> }

export type UpstreamEntryOf<Kind extends UpstreamKind> = Common<Kind> &
  Omit<Taken<Members[Kind]>, 'apiKey' | 'headers' | 'callers'> &
  // Absent in development mode, and for a server that asks for none.
  ('apiKey' extends keyof Members[Kind] ? { readonly apiKey?: Secret } : unknown) &
  ('headers' extends keyof Members[Kind] ? { readonly headers?: HeaderLines } : unknown)

export type UpstreamEntry = { readonly [Kind in UpstreamKind]: UpstreamEntryOf<Kind> }[UpstreamKind]

/** Devices enrol wherever an upstream takes them, and beside a key for Anthropic in any case. */
export const takesDevices = (
  upstreams: readonly Pick<UpstreamEntry, 'kind' | 'callers'>[],
): boolean =>
  upstreams.some(({ kind, callers }) => kind === 'anthropic' || callers.includes('device'))

type KeyOf<M> = M[keyof M]
/** The settings that stand in `upstreams`, and no longer by themselves. */
export type UpstreamKey = { [Kind in UpstreamKind]: KeyOf<Members[Kind]> }[UpstreamKind]

const membersOf = (kind: UpstreamKind): Readonly<Record<string, Key>> => MEMBERS[kind]

/** The setting that says this member; undefined of what a document alone can say. */
export const settingAt = (kind: UpstreamKind, member: string): Key | undefined =>
  membersOf(kind)[member]

const MEMBER_NAMES = { apiKey: 'api_key', baseUrl: 'base_url' } as const

/** What an operator knows a member by: its variable, where the upstream has the name of its kind. */
export function settingNameOf(
  { kind, name }: { readonly kind: UpstreamKind; readonly name: string },
  member: keyof typeof MEMBER_NAMES,
): string {
  const key = settingAt(kind, member)
  return key !== undefined && name === kind
    ? settingOf(key).env
    : `the ${MEMBER_NAMES[member]} of upstream ${name}`
}

export const keysOf = (kind: UpstreamKind): readonly Key[] => Object.values(membersOf(kind))

export const UPSTREAM_KEYS: ReadonlySet<string> = new Set(UPSTREAM_KINDS.flatMap(keysOf))

/** Who reaches an upstream of this kind where no setting says so. */
export function usualCallers(kind: UpstreamKind): readonly CallerKind[] {
  const key = membersOf(kind)['callers']
  // The person who has signed in reaches their own account, and nobody else does.
  if (key === undefined) return ['session']
  return (settingOf(key).fallback ?? '').split(',') as CallerKind[]
}

/** As a document lists one. */
export interface ListedUpstream {
  readonly kind: UpstreamKind
  readonly from: string
  readonly given: ReadonlyMap<Key, Given>
  readonly own: UpstreamOwn
}

/** Where somebody said who reaches it. */
export function callersOf({ kind, given }: ListedUpstream): Given | undefined {
  const key = membersOf(kind)['callers']
  return key === undefined ? undefined : given.get(key)
}

export function takes({ kind, values }: UpstreamRead, caller: CallerKind): boolean {
  const key = membersOf(kind)['callers']
  const callers = key === undefined ? usualCallers(kind) : (values[key] as readonly CallerKind[])
  return callers?.includes(caller) ?? false
}

/** One upstream, with what its settings were read as. */
export interface UpstreamRead extends ListedUpstream {
  readonly values: Values
  /** One of several of its kind: no variable says anything of it. */
  readonly isOneOfSeveral: boolean
}

/**
 * What there is: what a document lists, in its order, or what the environment names. Mistakes of values
 * go to `mistakes`.
 */
export function upstreamReads(
  listed: readonly ListedUpstream[],
  given: ReadonlyMap<Key, Given>,
  values: Values,
  devMode: boolean,
  mistakes: Mistake[],
): readonly UpstreamRead[] {
  const alone = (each: Omit<ListedUpstream, 'given'>): UpstreamRead => ({
    ...each,
    given,
    values,
    isOneOfSeveral: false,
  })
  const within = listed.map((each): UpstreamRead => {
    if (listed.filter(({ kind }) => kind === each.kind).length === 1) return alone(each)
    const own = ownValues(keysOf(each.kind), each.given, devMode, mistakes)
    return { ...each, values: { ...values, ...own }, isOneOfSeveral: true }
  })
  const elsewhere = UPSTREAM_KINDS.filter(
    (kind) => (devMode && USUAL.has(kind)) || (listed.length === 0 && isChosen(kind, given)),
  ).filter((kind) => listed.every((each) => each.kind !== kind))
  return [...within, ...elsewhere.map((kind) => alone({ kind, from: '', own: {} }))]
}

export const upstreamEntries = (reads: readonly UpstreamRead[]): readonly UpstreamEntry[] =>
  reads.map(({ kind, own, values }) => {
    const members = Object.entries(membersOf(kind)).map(([member, key]) => [member, values[key]])
    const entry = { callers: usualCallers(kind), ...Object.fromEntries(members) }
    return { ...entry, ...own, kind, name: own.name ?? kind } as UpstreamEntry
  })

/** Of what a document lists: what no single value shows. */
export function upstreamMistakes(reads: readonly UpstreamRead[]): Mistake[] {
  const mistakes: Mistake[] = []
  const wrong = (setting: string, message: string, hint: string): void => {
    mistakes.push({ setting, message, hint })
  }
  const names = new Map<string, string>()
  for (const { kind, from, own, values, isOneOfSeveral } of reads) {
    if (from === '') continue
    // One that could not be read is there, and is a mistake already.
    if (isOneOfSeveral && !('name' in own)) {
      wrong(from, 'lacks name', `several of kind ${kind} are told apart by their names`)
    }
    const name = own.name ?? (isOneOfSeveral ? undefined : kind)
    const before = name === undefined ? undefined : names.get(name)
    if (UPSTREAM_KINDS.some((each) => each !== kind && each === name)) {
      wrong(from, 'has the name of another kind', 'rename it')
    } else if (before !== undefined) wrong(from, `has the name of ${before}`, 'rename one')
    else if (name !== undefined) names.set(name, from)
    if (kind === 'tinfoil' && values.requireEhbp === true && (own.models || own.askModels)) {
      const hint = 'which model is in a sealed body only the enclave sees; set require_ehbp: false'
      const what = own.models ? 'models' : 'ask_models'
      wrong(from, `has ${what}, and takes sealed bodies alone`, hint)
    }
  }
  return mistakes
}
