// Requests that name an object which an upstream stores under the operator's key (a response, a chat, a
// conversation, a file, a batch) by its id in the path or the body. An id belongs to the caller whose request created the
// object; to everybody else it does not exist. The request goes to the upstream that stores it.

import type { Admitted } from '../admit/admitted.ts'
import type { Exchange } from '../exchange.ts'
import { type Decision, granted, type Refusal, refused } from '../refusal.ts'
import type { Upstream } from '../upstream/upstream.ts'
import type { Inspected } from '../upstream/inspected.ts'
import { type Bodies, type Permitted, readableAs } from './bodies.ts'
import type { ByModel } from './by-model.ts'
import type { Served } from './choose.ts'

export interface StoredOwner {
  readonly identity: string
  /** By name. */
  readonly upstream: string
}

/** `renews`: what is asked for is remembered for longer. */
export type OwnerOf = (id: string, renews?: boolean) => Decision<StoredOwner | undefined>

type Caller = Pick<Admitted, 'identity' | 'former'>

const STORED =
  /^(\/v1\/(?:responses|conversations|chat\/completions|files|uploads|batches|vector_stores|containers|fine_tuning\/jobs|messages\/batches)\/)(?::id(?:\/|$)|[^:])/
/** What a vector store holds was made by itself, and its id belongs to its own caller, too. */
const HELD = /^\/v1\/vector_stores\/[^/]+\/(?:files|file_batches)\/([^/]+)/
const ENDING = /\/(?:cancel|pause|resume)$/

/** From a route's pattern. */
export const isStored = (pattern: string): boolean =>
  pattern.includes('/:id') && STORED.test(pattern)

/** Of one of them: what was made before is ended or goes on, and there is no body. */
export const isEnding = (pattern: string): boolean => ENDING.test(pattern)

/** What it keeps is the account's of the caller who has signed in. */
export const isOwnAccount = ({ upstream }: Served): boolean => upstream.credential !== undefined

export function servingStored(
  among: readonly Served[],
  path: string,
  caller: Caller,
  ownerOf: OwnerOf,
): Decision<Served> {
  const account = among.find(isOwnAccount)
  if (account && among.length === 1) return granted(account)
  const { length = 0 } = STORED.exec(path)?.[1] ?? ''
  const [id = ''] = path.slice(length).split('/', 1)
  const held = HELD.exec(path)?.[1]
  const found = keepingAll(among, held === undefined ? [id] : [id, held], caller, ownerOf)
  if (!found.ok) return found
  const [on = account] = found.value
  return on ? granted(on) : noSuchObject()
}

/** The upstreams that store an object of this caller. */
function keeping(
  among: readonly Served[],
  id: string,
  caller: Caller,
  ownerOf: OwnerOf,
): Decision<readonly Served[]> {
  const owner = ownerOf(id)
  if (!owner.ok) return owner
  const { value } = owner
  return granted(
    isOf(value, caller) ? among.filter(({ upstream }) => upstream.name === value?.upstream) : [],
  )
}

const isOf = (owner: StoredOwner | undefined, { identity, former }: Caller): boolean =>
  owner !== undefined && (owner.identity === identity || former?.includes(owner.identity) === true)

/** Whether this upstream stores it for this caller. What is another's is not remembered for longer. */
export function keptBy(
  upstream: string,
  id: string,
  caller: Caller,
  ownerOf: OwnerOf,
): Decision<boolean> {
  const owner = ownerOf(id, false)
  if (!owner.ok) return owner
  const isKept = isOf(owner.value, caller) && owner.value?.upstream === upstream
  if (isKept) ownerOf(id)
  return granted(isKept)
}

export interface PickedKept {
  /** Never empty. */
  readonly among: readonly Served[]
  /** From the first. */
  readonly inspected: Inspected
  /** Undefined if the body was not read. */
  readonly held: Decision<Uint8Array> | undefined
}

export type PickKept = (
  permitted: Permitted,
  asked: ByModel,
  exchange: Exchange,
) => Promise<Decision<PickedKept>>

/** Each one costs a database lookup. */
const MAX_IDS = 500

/** The upstreams for a request whose body may name an object that one of them stores. */
export function pickingKept(bodies: Bodies, ownerOf: OwnerOf): PickKept {
  return async (permitted, { request, path, inspected, among }, exchange) => {
    const referring = among.map(({ upstream }) => upstream.referring?.(path))
    const reads = new Set(referring.filter((each) => each !== undefined))
    if (reads.size === 0) return granted({ among, inspected, held: undefined })
    const readable = readableAs(request.headers, path)
    if (!readable.ok) return readable
    const sender = { request, method: 'POST', limited: true }
    const body = await bodies.read(permitted, sender, inspected, exchange)
    if (!body.ok) return body
    const { maxBytes } = inspected
    const held = body as Decision<Uint8Array>
    // If every member is optional, so is the body.
    if (held.ok && held.value.length === 0) return granted({ among, inspected, held })
    const read = (plain: Uint8Array): Decision<readonly string[]> => namedBy(reads, plain)
    const ids = await bodies.decoded(permitted, body.value, readable.value, maxBytes, read)
    if (!ids.ok) return ids
    if (ids.value.length > MAX_IDS) return TOO_MANY_IDS
    const left = keepingAll(among, ids.value, permitted.admitted, ownerOf)
    if (!left.ok) return left
    const [first] = left.value
    if (!first) return noSuchObject()
    const seen =
      first === among[0] ? granted(inspected) : first.upstream.inspect(request.headers, true)
    if (!seen.ok) return seen
    return granted({ among: left.value, inspected: seen.value, held })
  }
}

/** Upstreams keep different things, and any of them may get the request. */
function namedBy(
  reads: ReadonlySet<NonNullable<ReturnType<NonNullable<Upstream['referring']>>>>,
  plain: Uint8Array,
): Decision<readonly string[]> {
  const all = new Set<string>()
  for (const read of reads) {
    const ids = read(plain)
    if (!ids.ok) return ids
    for (const id of ids.value) all.add(id)
  }
  return granted([...all])
}

function keepingAll(
  among: readonly Served[],
  ids: readonly string[],
  caller: Caller,
  ownerOf: OwnerOf,
): Decision<readonly Served[]> {
  let left = among
  for (const id of ids) {
    const found = keeping(left, id, caller, ownerOf)
    if (!found.ok || found.value.length === 0) return found
    left = found.value
  }
  return granted(left)
}

const TOO_MANY_IDS = refused('bad_request', {
  message: `the body names more than ${MAX_IDS} stored objects`,
  reason: 'too many ids',
})
export const noSuchObject = (): Refusal => refused('not_found', { message: NO_SUCH_OBJECT })
const NO_SUCH_OBJECT =
  'no such object; what is kept at the upstream is there for the caller alone whose request made it'
