// The configured upstreams: one of each kind that the environment names, or those that a document lists.
// The table of settings validates each member; this file checks how they fit together.

import { type CallerKind, UPSTREAM_KINDS, type UpstreamKind } from '../names.ts'
import type { Secret } from '../secret.ts'
import type { Given } from './given.ts'
import type { HeaderLines } from './header-lines.ts'
import type { Mistake } from './kinds.ts'
import { ownValues } from './own-values.ts'
import { type Key, settingOf, type Values } from './table.ts'

/** The members of an upstream of each kind, and the setting for each member. */
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
    routes: 'anthropicRoutes',
    callers: 'anthropicCallers',
  },
  // The other settings of a sign-in are the gate's.
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

/** The one setting that makes an upstream exist. */
export const CHOSEN_BY = {
  tinfoil: 'tinfoilApiKey',
  anthropic: 'anthropicApiKey',
  'anthropic-oauth': 'clientId',
  openai: 'openaiUpstreamUrl',
} as const satisfies Readonly<Record<UpstreamKind, Key>>

/** Whose API each kind speaks. */
export const DIALECTS: Readonly<Record<UpstreamKind, string>> = {
  tinfoil: "OpenAI's",
  openai: "OpenAI's",
  anthropic: "Anthropic's",
  'anthropic-oauth': "Anthropic's",
}

/** A server of Anthropic's API that needs no key. It must be said, so that no key is forgotten. */
export const isKeyless = (given: ReadonlyMap<Key, Given>): boolean =>
  given.get('anthropicKeyHeader')?.text === 'none'

const isChosen = (kind: UpstreamKind, given: ReadonlyMap<Key, Given>): boolean =>
  given.has(CHOSEN_BY[kind]) || (kind === 'anthropic' && isKeyless(given))

/** In development mode these are served by a built-in stand-in unless they are configured. */
export const EMBEDDED = [
  'tinfoil',
  'anthropic',
  'openai',
] as const satisfies readonly UpstreamKind[]
/** In development mode these exist without being configured. */
const USUAL: ReadonlySet<UpstreamKind> = new Set(['tinfoil', 'anthropic'])

/** Members of an upstream that only a document can give. */
export interface UpstreamOwn {
  readonly name?: string
  /** Exact names, or prefixes with a trailing `*`. Absent: every model. */
  readonly models?: readonly string[]
  /** Whether the gate asks it for its models. */
  readonly askModels?: boolean
}

interface Common<Kind extends UpstreamKind> {
  readonly kind: Kind
  /** Its name in logs, the ledger and policies; by default the name of its kind. */
  readonly name: string
  readonly models?: readonly string[]
  readonly askModels?: boolean
  readonly callers: readonly CallerKind[]
}

type Taken<M> = { readonly [Member in keyof M]: NonNullable<Values[M[Member] & Key]> }

export type UpstreamEntryOf<Kind extends UpstreamKind> = Common<Kind> &
  Omit<Taken<Members[Kind]>, 'apiKey' | 'headers' | 'callers'> &
  // Absent in development mode, and for a server that needs none.
  ('apiKey' extends keyof Members[Kind] ? { readonly apiKey?: Secret } : unknown) &
  ('headers' extends keyof Members[Kind] ? { readonly headers?: HeaderLines } : unknown)

export type UpstreamEntry = { readonly [Kind in UpstreamKind]: UpstreamEntryOf<Kind> }[UpstreamKind]

/** Devices enrol if an upstream admits them. */
export const takesDevices = (upstreams: readonly Pick<UpstreamEntry, 'callers'>[]): boolean =>
  upstreams.some(({ callers }) => callers.includes('device'))

type KeyOf<M> = M[keyof M]
/** The settings that become members of `upstreams`. */
export type UpstreamKey = { [Kind in UpstreamKind]: KeyOf<Members[Kind]> }[UpstreamKind]

const membersOf = (kind: UpstreamKind): Readonly<Record<string, Key>> => MEMBERS[kind]

/** The setting for this member; undefined if only a document can give it. */
export const settingAt = (kind: UpstreamKind, member: string): Key | undefined =>
  membersOf(kind)[member]

const MEMBER_NAMES = { apiKey: 'api_key', baseUrl: 'base_url' } as const

/** How messages name a member: by its variable if the upstream has the name of its kind. */
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

/** Who may use an upstream of this kind by default. */
export function usualCallers(kind: UpstreamKind): readonly CallerKind[] {
  const key = membersOf(kind)['callers']
  // Only the person who signed in reaches their own account.
  if (key === undefined) return ['session']
  return (settingOf(key).fallback ?? '').split(',') as CallerKind[]
}

/** An upstream as a document gives it. */
export interface ListedUpstream {
  readonly kind: UpstreamKind
  readonly from: string
  readonly given: ReadonlyMap<Key, Given>
  readonly own: UpstreamOwn
}

/** Where its callers were set. */
export function callersOf({ kind, given }: ListedUpstream): Given | undefined {
  const key = membersOf(kind)['callers']
  return key === undefined ? undefined : given.get(key)
}

export function takes({ kind, values }: UpstreamRead, caller: CallerKind): boolean {
  const key = membersOf(kind)['callers']
  const callers = key === undefined ? usualCallers(kind) : (values[key] as readonly CallerKind[])
  return callers?.includes(caller) ?? false
}

/** One upstream, with the values of its settings. */
export interface UpstreamRead extends ListedUpstream {
  readonly values: Values
  /** One of several of its kind: variables do not apply to it. */
  readonly isOneOfSeveral: boolean
}

/**
 * The upstreams that a document lists, in its order, or those that the environment names. Mistakes in
 * values go to `mistakes`.
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

/** Mistakes between the upstreams of a document. */
export function upstreamMistakes(reads: readonly UpstreamRead[]): Mistake[] {
  const mistakes: Mistake[] = []
  const wrong = (setting: string, message: string, hint: string): void => {
    mistakes.push({ setting, message, hint })
  }
  const names = new Map<string, string>()
  for (const { kind, from, own, values, isOneOfSeveral } of reads) {
    if (from === '') continue
    // A value that could not be read is already a mistake.
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
