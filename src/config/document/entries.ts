// Reads the lists of a document: what their entries give to the gate's settings, what an entry lacks, and
// what the lists leave out.

import { UPSTREAM_KINDS, type UpstreamKind } from '../../names.ts'
import type { FallbackEntry } from '../fallback.ts'
import type { FromDocument } from '../from-document.ts'
import type { Given } from '../given.ts'
import { ISSUER_KEYS, type IssuerOwn } from '../issuers.ts'
import type { Listed, PolicyEntry, RuleEntry } from '../policies.ts'
import { type Key, settingOf } from '../table.ts'
import { CHOSEN_BY, isKeyless, keysOf } from '../upstreams.ts'
import type { Report } from './report.ts'
import { nested } from './shapes.ts'
import { memberOf, settingsIn, type Schema } from './tree.ts'

/** One entry of a list, or the document itself. */
export interface DocumentEntry {
  readonly from: string
  readonly given: Map<Key, Given>
  /** Includes settings whose value could not be read. */
  readonly mentioned: Set<Key>
  readonly own: Record<string, unknown>
  /** The places of entries in its own lists: `upstreams[0]`. */
  readonly places: Map<string, string>
  /** As it was written, for `postern config`. */
  readonly written: unknown
}

export interface DocumentEntries {
  readonly issuers: readonly DocumentEntry[]
  readonly upstreams: readonly (DocumentEntry & { readonly kind: UpstreamKind })[]
  readonly policies: readonly DocumentEntry[]
  readonly rules: readonly DocumentEntry[]
  readonly fallback: readonly DocumentEntry[]
}

/** The members that an issuer needs. */
const ISSUER_NEEDS = [
  ['issuer', 'issuer'],
  ['audiences', 'audiences'],
] as const satisfies readonly (readonly [Key, string])[]

type Settled = Pick<
  FromDocument,
  'given' | 'mentioned' | 'issuers' | 'upstreams' | 'policies' | 'fallback' | 'needed' | 'excluded'
>

/** `root`: everything outside lists. `listed`: the schemas of the lists, by name. */
export function settled(
  root: DocumentEntry,
  entries: DocumentEntries,
  listed: ReadonlyMap<string, Schema>,
  { wrong }: Report,
  name: string,
): Settled {
  const given = new Map(root.given)
  const mentioned = new Set(root.mentioned)
  const needed = new Map<Key, { from: string; member: string }>()
  const excluded = new Map<Key, { why: string; said: readonly Given[] }>()
  const { issuers, upstreams } = entries
  for (const entry of [...issuers, ...upstreams]) {
    for (const key of entry.mentioned) mentioned.add(key)
  }

  const leftOut = (schema: Schema, what: string, list: string): void => {
    const why = `${name} lists no ${what} under ${list}`
    for (const key of settingsIn(schema)) excluded.set(key, { why, said: [] })
  }
  /** The environment may complete a single entry. */
  const complete = (entry: DocumentEntry): void => {
    for (const [key, each] of entry.given) given.set(key, each)
  }
  /** Nothing completes several entries. */
  const whole = (
    all: readonly DocumentEntry[],
    keys: readonly Key[],
    what: string,
    list: string,
  ): void => {
    const why = `${name} lists several ${what} under ${list}`
    for (const key of keys) {
      const said = all.flatMap((entry) => entry.given.get(key) ?? [])
      excluded.set(key, { why, said })
    }
  }
  const lacks = ({ from, mentioned: has }: DocumentEntry, key: Key, member: string): void => {
    if (!has.has(key)) wrong(from, `lacks ${member}`, settingOf(key).about)
  }

  const settleIssuers = (schema: Schema): void => {
    const [one] = issuers
    if (!one) return leftOut(schema, 'issuer', 'issuers')
    mentioned.add('jwksUrl')
    if (issuers.length === 1) {
      complete(one)
      for (const [key, member] of ISSUER_NEEDS) needed.set(key, { from: one.from, member })
      return
    }
    whole(issuers, ISSUER_KEYS, 'issuers', 'issuers')
    for (const entry of issuers) {
      for (const [key, member] of ISSUER_NEEDS) lacks(entry, key, member)
    }
    for (const [key] of ISSUER_NEEDS) mentioned.add(key)
  }

  const settleUpstreams = (schema: Schema, kind: UpstreamKind): void => {
    const ofKind = upstreams.filter((each) => each.kind === kind)
    const [one, second] = ofKind
    if (!one) return leftOut(schema, `upstream of kind ${kind}`, 'upstreams')
    const key = CHOSEN_BY[kind]
    const member = memberOf(key)?.replace(/^.*\./, '') ?? ''
    if (!second) {
      complete(one)
      if (!isWhole(one, kind)) needed.set(key, { from: one.from, member })
      return
    }
    const hint = 'one person signs in at a gate, to one account; leave one'
    if (kind === 'anthropic-oauth') wrong(second.from, `is a second upstream of kind ${kind}`, hint)
    else {
      whole(ofKind, keysOf(kind), `upstreams of kind ${kind}`, 'upstreams')
      for (const entry of ofKind) if (!isWhole(entry, kind)) lacks(entry, key, member)
      mentioned.add(key)
    }
  }

  const ofIssuers = listed.get('issuers')
  if (ofIssuers) settleIssuers(ofIssuers)
  for (const schema of listed.get('upstreams')?.anyOf ?? []) {
    const kind = UPSTREAM_KINDS.find((each) => each === schema.properties?.['kind']?.const)
    if (kind) settleUpstreams(schema, kind)
  }
  return {
    given,
    mentioned,
    needed,
    excluded,
    issuers: issuers.map((entry) => withOwn<IssuerOwn>(entry)),
    upstreams,
    policies: {
      policies: entries.policies.map((entry) => withOwn<PolicyEntry>(entry)),
      rules: entries.rules.map((entry) => withOwn<RuleEntry>(entry)),
    },
    fallback: entries.fallback.map((entry) => withOwn<FallbackEntry>(entry)),
  }
}

const isWhole = ({ given }: DocumentEntry, kind: UpstreamKind): boolean =>
  kind === 'anthropic' && isKeyless(given)

const withOwn = <Own>({ own, ...entry }: DocumentEntry): DocumentEntry & Listed<Own> => ({
  ...entry,
  own: nested(own) as Partial<Own>,
})
