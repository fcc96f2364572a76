// Requests for what an upstream keeps under the operator's key, by its id: a stored response. An id
// belongs to the caller whose request made it; for everybody else there is no such thing. The request
// goes to the upstream that keeps it.

import { type Decision, granted, refused } from '../refusal.ts'
import type { Served } from './choose.ts'

export interface StoredOwner {
  readonly identity: string
  /** By name. */
  readonly upstream: string
}

export type OwnerOf = (id: string) => Decision<StoredOwner | undefined>

const ROOT = '/v1/responses/'

/** Of a route's pattern. */
export const isStored = (pattern: string): boolean => pattern.startsWith(ROOT)

export function servingStored(
  among: readonly Served[],
  path: string,
  identity: string,
  ownerOf: OwnerOf,
): Decision<Served> {
  const [id = ''] = path.slice(ROOT.length).split('/', 1)
  const owner = ownerOf(id)
  if (!owner.ok) return owner
  const { upstream: name } = owner.value?.identity === identity ? owner.value : { upstream: '' }
  const found = among.find(({ upstream }) => upstream.name === name)
  return found ? granted(found) : refused('not_found', { message: NO_SUCH_RESPONSE })
}

const NO_SUCH_RESPONSE = 'no such response; one is there for the caller whose request made it alone'
