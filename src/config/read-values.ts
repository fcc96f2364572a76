// From flags, environment and document to the values of all settings, or to every mistake at once.

import { together, lackingEntries } from './both.ts'
import { cautions } from './cautions.ts'
import { contradictions, type Mode } from './demands.ts'
import type { FromDocument, OpenDocument } from './from-document.ts'
import {
  DOCUMENT_FLAG,
  documentPath,
  type ProcessEnvironment,
  findGiven,
  type Flags,
  type Given,
} from './given.ts'
import {
  type FallbackEntry,
  fallbackEntries,
  type FallbackGiven,
  fallbackMistakes,
} from './fallback.ts'
import { type IssuerEntry, issuerEntries, type IssuerGiven } from './issuers.ts'
import { keyPolicyMistakes } from './keys.ts'
import type { Mistake } from './kinds.ts'
import { isSignIn, missing } from './missing.ts'
import {
  type PoliciesGiven,
  type PolicyEntries,
  policyEntries,
  policyCautions,
  policyMistakes,
} from './policies.ts'
import { readAddress, readWindow } from './spellings.ts'
import { flagOf, type Key, KEYS, settingOf, type Values } from './table.ts'
import { upstreamEntries, upstreamMistakes, type UpstreamRead, upstreamReads } from './upstreams.ts'

const choosesWay = (mentioned: ReadonlySet<Key>): boolean =>
  [...mentioned].some((key) => key === 'devMode' || settingOf(key).required !== undefined)

/** Entries in the form of a document, for `postern config`. */
export interface Listings extends PoliciesGiven {
  readonly issuers: readonly IssuerGiven[]
  /** Without secrets. */
  readonly upstreams: readonly PrintedUpstream[]
  readonly fallback: FallbackGiven
}
export type PrintedUpstream = Omit<UpstreamRead, 'values'>

const NONE_LISTED = { issuers: [], policies: [], rules: [], fallback: [] }

const nameOf = ({ name }: { readonly name: string }): string => name

const OWN_ISSUER = 'is set in development mode, which brings its own issuer and upstreams'

export interface ValuesRead {
  readonly values: Values
  readonly issuers: readonly IssuerEntry[]
  readonly upstreams: readonly UpstreamRead[]
  readonly policies: PolicyEntries
  readonly fallback: readonly FallbackEntry[]
  readonly listed: Omit<Listings, 'upstreams'>
  readonly mistakes: readonly Mistake[]
  readonly warnings: readonly string[]
  readonly noWayChosen: boolean
  readonly given: ReadonlyMap<Key, Given>
}

export function readValues(
  flags: Flags,
  env: ProcessEnvironment,
  open: OpenDocument | undefined,
): ValuesRead {
  const mistakes: Mistake[] = []
  const warnings: string[] = []
  const values: Record<string, unknown> = {}
  const given = new Map<Key, Given>()
  let document: FromDocument | undefined
  /** Includes settings whose value could not be read. */
  const mentioned = new Set<Key>()

  const take = (key: Key, text: string, from: string): void => {
    const read = settingOf(key).kind.read(text)
    if (read.ok) values[key] = read.value
    else mistakes.push({ setting: from, message: read.message, hint: read.hint })
  }
  const read = (key: Key, devMode: boolean): void => {
    const setting = settingOf(key)
    const elsewhere = findGiven(setting, flags, env, devMode)
    if (elsewhere && 'message' in elsewhere) {
      mistakes.push(elsewhere)
      mentioned.add(key)
      return
    }
    const found = document ? together(key, elsewhere, document, mistakes) : elsewhere
    if (document?.mentioned.has(key)) mentioned.add(key)
    if (found) {
      given.set(key, found)
      mentioned.add(key)
      if (setting.secret && found.from === flagOf(setting.env)) {
        warnings.push(`${found.from} shows a secret to everybody who can list processes`)
      }
      return take(key, found.text, found.from)
    }
    const fallback = devMode ? (setting.devFallback ?? setting.fallback) : setting.fallback
    if (fallback !== undefined) take(key, fallback, setting.env)
  }

  // First, because it decides the defaults of the others.
  read('devMode', false)
  const devMode = values['devMode'] === true
  const path = documentPath(flags, env)
  if (path !== undefined) {
    if (!open) throw new Error('nothing here reads a document')
    document = open(path, env, devMode)
    mistakes.push(...document.mistakes)
    if (!document.whole)
      return {
        values,
        issuers: [],
        upstreams: [],
        listed: NONE_LISTED,
        policies: NONE_LISTED,
        fallback: [],
        mistakes,
        warnings,
        noWayChosen: false,
        given,
      }
  } else if (flags?.['config'] !== undefined) {
    mistakes.push({ setting: DOCUMENT_FLAG, message: 'names no file', hint: 'give its path' })
  }
  for (const key of KEYS) if (key !== 'devMode') read(key, devMode)

  const signIn = isSignIn(mentioned)
  const mode: Mode = devMode ? 'development' : signIn ? 'sign-in' : 'production'
  const upstreams = upstreamReads(document?.upstreams ?? [], given, values, devMode, mistakes)
  if (!devMode) {
    const lacking = missing(mentioned, signIn, values as Values, upstreams, document?.memberOf)
    mistakes.push(...lacking, ...(document ? lackingEntries(document, mentioned, lacking) : []))
  }
  if (signIn && !given.has('host')) values['host'] = '127.0.0.1'
  const address = readAddress(given)
  for (const respelled of [address, readWindow(given, values)]) {
    Object.assign(values, respelled.values)
    mistakes.push(...respelled.mistakes)
  }
  const addr = given.get('addr')
  for (const key of addr ? (['host', 'port'] as const) : []) {
    const text = address.values[key]
    if (addr && text !== undefined) given.set(key, { from: addr.from, text: String(text) })
  }
  mistakes.push(...contradictions(mode, given, values, upstreams))
  const listed = document
    ? { issuers: document.issuers, fallback: document.fallback, ...document.policies }
    : NONE_LISTED
  const issuers = issuerEntries(document?.issuers ?? [], given, values, mistakes)
  mistakes.push(...upstreamMistakes(upstreams))
  const entries = upstreamEntries(upstreams)
  mistakes.push(...policyMistakes(listed, issuers, entries.map(nameOf)))
  mistakes.push(...fallbackMistakes(listed.fallback, entries))
  mistakes.push(...keyPolicyMistakes(values, given, listed))
  if (devMode && document && document.issuers.length > 1) {
    const [{ from = '' } = {}] = document.issuers
    mistakes.push({ setting: from, message: OWN_ISSUER, hint: 'leave development mode' })
  }
  const unkeyed = mode === 'production' && !given.has('identityHashKey')
  if (unkeyed && !mistakes.some(({ setting }) => setting.includes('IDENTITY'))) {
    warnings.push('IDENTITY_HASH_KEY is not set: hashed identities change with every start')
  }
  warnings.push(...cautions(values), ...policyCautions(listed, issuers))
  const noWayChosen = document === undefined && !choosesWay(mentioned)
  return {
    values,
    issuers,
    upstreams,
    listed,
    policies: policyEntries(listed),
    fallback: fallbackEntries(listed.fallback),
    mistakes,
    warnings,
    noWayChosen,
    given,
  }
}
