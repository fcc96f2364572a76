// What a document gives, and what it leaves to the environment; how it is read, the folder document/
// knows, which is loaded only where there is one.

import type { ProcessEnvironment, Given } from './given.ts'
import type { IssuerGiven } from './issuers.ts'
import type { Mistake } from './kinds.ts'
import type { PoliciesGiven } from './policies.ts'
import type { Key } from './table.ts'
import type { ListedUpstream } from './upstreams.ts'

export interface Excluded {
  readonly why: string
  /** By entries of which several say it; the same elsewhere says nothing else. */
  readonly said: readonly Given[]
}

/** What a document gives, under the names of the table. */
export interface FromDocument {
  /** False where nothing of it could be read; nothing is then missing from anywhere else. */
  readonly whole: boolean
  readonly given: ReadonlyMap<Key, Given>
  /** Those too whose value could not be read. */
  readonly mentioned: ReadonlySet<Key>
  readonly mistakes: readonly Mistake[]
  /** In their order. One alone is in `given`, too, so that the environment may complete it. */
  readonly issuers: readonly IssuerGiven[]
  /** The same of these: one alone of its kind is in `given`. */
  readonly upstreams: readonly ListedUpstream[]
  readonly policies: PoliciesGiven
  /** What an entry of a list cannot do without, and where that entry stands. */
  readonly needed: ReadonlyMap<Key, { readonly from: string; readonly member: string }>
  /** What the lists leave out; given elsewhere it would add what the document does not name. */
  readonly excluded: ReadonlyMap<Key, Excluded>
  /** The member in which a setting would stand: `listen.port`. */
  readonly memberOf: (key: Key) => string | undefined
}

/** Reads a document; config/document/open.ts has the one there is, loaded only where it is needed. */
export type OpenDocument = (path: string, env: ProcessEnvironment, devMode: boolean) => FromDocument
