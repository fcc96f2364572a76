// What a document gives, and what it leaves to the environment. The folder document/ reads it, and is loaded
// only if there is one.

import type { ProcessEnvironment, Given } from './given.ts'
import type { IssuerGiven } from './issuers.ts'
import type { Mistake } from './kinds.ts'
import type { FallbackGiven } from './fallback.ts'
import type { PoliciesGiven } from './policies.ts'
import type { Key } from './table.ts'
import type { ListedUpstream } from './upstreams.ts'

export interface Excluded {
  readonly why: string
  /** Several entries give it; repeating it elsewhere adds nothing. */
  readonly said: readonly Given[]
}

/** The settings that a document gives, by their names in the table. */
export interface FromDocument {
  /** False if nothing could be read; then no setting is reported as missing. */
  readonly whole: boolean
  readonly given: ReadonlyMap<Key, Given>
  /** Includes settings whose value could not be read. */
  readonly mentioned: ReadonlySet<Key>
  readonly mistakes: readonly Mistake[]
  /** In their order. A single entry is in `given` too, so that the environment may complete it. */
  readonly issuers: readonly IssuerGiven[]
  /** In their order. A single entry of its kind is in `given` too. */
  readonly upstreams: readonly ListedUpstream[]
  readonly policies: PoliciesGiven
  readonly fallback: FallbackGiven
  /** What an entry lacks, with the entry's place. */
  readonly needed: ReadonlyMap<Key, { readonly from: string; readonly member: string }>
  /** Settings that the lists leave out; given elsewhere, they would add an entry to the document. */
  readonly excluded: ReadonlyMap<Key, Excluded>
  /** The member for a setting: `listen.port`. */
  readonly memberOf: (key: Key) => string | undefined
}

/** Reads a document; config/document/open.ts implements it, and is loaded only if it is needed. */
export type OpenDocument = (path: string, env: ProcessEnvironment, devMode: boolean) => FromDocument
