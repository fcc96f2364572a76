// The port for the documents with which clients verify an upstream before they seal a body for it.

import type { Decision } from '../refusal.ts'

export interface PublicDocument {
  readonly status: number
  readonly contentType: string | undefined
  readonly body: Uint8Array
}

export interface PublicDocuments {
  hpkeKeys(now: number): Promise<Decision<PublicDocument>>
  /** `body` is the JSON of a POST, undefined for a GET. */
  attestation(body: Uint8Array | undefined, now: number): Promise<Decision<PublicDocument>>
}
