// The documents of the enclave for which clients seal bodies.

import type { Ask } from '../http1/ask.ts'
import type { PublicDocuments } from '../upstream/documents.ts'
import { documents } from '../upstream/tinfoil/documents.ts'
import type { Sources } from './sources.ts'

/** Clients seal for one enclave: the one that serves every model, or else the first. */
export function enclaveDocuments(
  upstreams: Sources['upstreams'],
  ask: Ask,
): PublicDocuments | undefined {
  const enclaves = upstreams.filter((each) => each.kind === 'tinfoil')
  const enclave =
    enclaves.find(({ models, askModels }) => models === undefined && !askModels) ?? enclaves[0]
  return enclave && documents({ ask, ...enclave })
}
