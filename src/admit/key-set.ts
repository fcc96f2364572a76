// What a JWK set (RFC 7517 §5) gives: the public keys by `kid`, and for every other entry its name and why
// it is not used. Each entry is judged alone: providers publish sets that are older, longer and odder than
// the RFC, and one bad entry must not cost the good ones their use.

import { elementTexts } from '../token/strict-json.ts'
import { namedKey, type NotUsed, type PublicKey } from './public-key.ts'

export interface VerifyKey {
  readonly kid: string
  /** More than one where the set has different keys under this `kid`: a signature may be by any. */
  readonly keys: readonly PublicKey[]
  /** Equal for equal keys, so that a refresh can tell a changed key from a kept one. */
  readonly print: string
}

export interface DroppedEntry extends NotUsed {
  /** Its `kid`, or its place in the set where it has none that can be shown. */
  readonly name: string
}

export interface KeySet {
  readonly keys: readonly VerifyKey[]
  readonly dropped: readonly DroppedEntry[]
}

export class KeySetError extends Error {}

export const NOT_A_KEY_SET = 'not a JWK set'

/** A set of 1 MiB has about as many; what comes after them is dropped. */
const MAX_ENTRIES = 4000
/** Between them other requests have their turn. */
const ENTRIES_AT_ONCE = 50
/** A signature is tried against each of them. */
const MAX_KEYS_OF_A_KID = 4
const MAX_SHOWN_KID = 64

/** Throws where there is no usable key. */
export async function parseKeySet(text: string): Promise<KeySet> {
  // RFC 8259 §8.1 lets a parser ignore a byte order mark.
  const entries = elementTexts(text.replace(/^\uFEFF/, ''), 'keys')
  if (!entries) throw new KeySetError(NOT_A_KEY_SET)
  const found = new Map<string, Map<string, PublicKey>>()
  const dropped: DroppedEntry[] = []
  for (const [at, entry] of entries.slice(0, MAX_ENTRIES).entries()) {
    // Each key costs some 20 µs.
    if (at % ENTRIES_AT_ONCE === ENTRIES_AT_ONCE - 1) await new Promise(setImmediate)
    const named = namedKey(entry)
    const drop = (why: string, foreign = false): void => {
      dropped.push({ name: shownName(entry, at), why, foreign })
    }
    if ('why' in named) {
      drop(named.why, named.foreign)
      continue
    }
    const { kid, print } = named
    const ofKid = found.get(kid) ?? new Map<string, PublicKey>()
    if (ofKid.has(print)) continue
    if (ofKid.size >= MAX_KEYS_OF_A_KID) {
      drop('too many different keys have this kid')
      continue
    }
    try {
      ofKid.set(print, named.make())
      found.set(kid, ofKid)
    } catch {
      drop('its numbers are no key of its type')
    }
  }
  if (entries.length > MAX_ENTRIES) {
    const name = `entries ${MAX_ENTRIES + 1} to ${entries.length}`
    dropped.push({ name, why: 'the set is too long', foreign: false })
  }
  if (found.size === 0) throw new KeySetError(noKeys(dropped))
  const keys = [...found].map(([kid, ofKid]) => ({
    kid,
    keys: [...ofKid.values()],
    print: [...ofKid.keys()].join(' '),
  }))
  return { keys, dropped }
}

function noKeys(dropped: readonly DroppedEntry[]): string {
  const [first] = dropped
  const example = first ? `; of ${first.name}: ${first.why}` : ''
  return `no usable key in the set${example}`
}

function shownName(text: string, at: number): string {
  const entry: unknown = JSON.parse(text)
  const kid: unknown = Object(entry)['kid']
  return typeof kid === 'string' && kid !== '' ? kid.slice(0, MAX_SHOWN_KID) : `entry ${at + 1}`
}
