// Turns an admitted request with its reservation into the upstream request. It reads the body: whole if it is
// small or a limit depends on its content, otherwise as a stream.

import type { Costly } from '../upstream/costly.ts'
import type { Exchange } from '../exchange.ts'
import { instant } from '../turn/instant.ts'
import type { Policy } from '../policy/policy.ts'
import { type Decision, granted, refused } from '../refusal.ts'
import { intersection } from '../token/model-pattern.ts'
import type { UpstreamRequest } from '../http1/request.ts'
import type { Destination } from '../http1/destination.ts'
import type { Asked, Rewrite, Upstream } from '../upstream/upstream.ts'
import { type Bodies, type Permitted, type Readable, readableAs, UNREAD } from './bodies.ts'
import { type Inspected, tooLarge } from '../upstream/inspected.ts'
import { IDEMPOTENCY, idempotencyKey } from './idempotency.ts'
import { hiddenModel, type ListedModels, listedModels } from './model-list.ts'

declare const proof: unique symbol

export interface Outgoing {
  readonly [proof]: true
  readonly upstream: Upstream
  readonly asked: Asked
  readonly call: UpstreamRequest
  /**
   * Rebuilds this request with a fresh credential; used once, after a 401. Present only if the credential can
   * be renewed.
   */
  readonly renew?: () => Promise<Decision<UpstreamRequest>>
  /** The cost that the body implies, if a limit depends on it. */
  readonly costly: Costly | undefined
  /** Present if the response does not pass unchanged. */
  readonly rewrite?: Rewrite | undefined
}

export interface Incoming {
  readonly request: Request
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** A path from our own table; the client's path is not parsed again. */
  readonly path: string
  /** The raw query with its `?`, or ''. */
  readonly search: string
  readonly upstream: Upstream
  /** The models that the route's upstreams serve; undefined means every model. */
  readonly models?: readonly string[] | undefined
  /** A limit depends on the body's content. */
  readonly limited: boolean
  /** It may be sent again, and its body is kept for that. */
  readonly isKept?: boolean
  /** The body, if it was already read. */
  readonly held?: Decision<Uint8Array> | undefined
}

export type Dispatch = (
  permitted: Permitted,
  incoming: Incoming,
  inspected: Inspected,
  exchange: Exchange,
) => Promise<Decision<Outgoing>>

const ALL_MODELS = granted<ListedModels | undefined>(undefined)
const NOT_COSTLY = granted<Costly | undefined>(undefined)
const NOT_READ = granted(UNREAD)

export function dispatching(bodies: Bodies): Dispatch {
  return async (permitted, incoming, inspected, exchange) => {
    const { method, path, search, request, upstream } = incoming
    const { sealed, enclaveHost } = inspected
    const { identity, policy } = permitted.admitted
    const listed =
      method === 'GET' ? modelsFor(path, search, listable(policy, incoming)) : ALL_MODELS
    if (!listed.ok) return listed
    const rewrite = listed.value?.rewrite ?? upstream.rewriting?.(method, path)
    const asked: Asked = {
      method,
      path,
      search: listed.value?.search ?? search,
      sealed,
      enclaveHost,
      identity,
    }
    const found = upstream.destination(asked, exchange.at.monotonicMs)
    const destination = found instanceof Promise ? await found : found
    if (!destination.ok) return destination
    const readable = incoming.limited ? readableAs(request.headers, path) : NOT_READ
    if (!readable.ok) return readable
    const read = incoming.held ?? bodies.read(permitted, incoming, inspected, exchange)
    const body = read instanceof Promise ? await read : read
    if (!body.ok) return body
    if (body.value instanceof Uint8Array) {
      exchange.bytesIn = body.value.byteLength
      // A chunked body declares no length, so it was read within the maximum of the first upstream.
      if (incoming.held && body.value.byteLength > inspected.maxBytes) {
        return tooLarge(inspected.maxBytes)
      }
    }
    const costly = incoming.limited
      ? await costlyOf(bodies, permitted, incoming, body.value, readable.value, inspected.maxBytes)
      : NOT_COSTLY
    if (!costly.ok) return costly
    if (costly.value) exchange.model = costly.value.model
    if (!upstream.credential) {
      const plain = callOf(identity, incoming, destination.value, body.value)
      const call = rewrite ? unencoded(plain) : plain
      return granted({ upstream, asked, costly: costly.value, call, rewrite } as Outgoing)
    }

    const { admitted } = permitted
    return renewable(
      admitted.identity,
      incoming,
      asked,
      destination.value,
      body.value,
      costly.value,
      rewrite,
    )
  }
}

/** For a response that will be read. */
function unencoded(call: UpstreamRequest): UpstreamRequest {
  return { ...call, headers: { ...call.headers, 'accept-encoding': 'identity' } }
}

/** The models that a caller may see in a list: those that the policy allows and an upstream serves. */
function listable(
  { models: allowed }: Pick<Policy, 'models'>,
  { models: served }: Incoming,
): readonly string[] | undefined {
  return allowed && served ? intersection(allowed, served) : (allowed ?? served)
}

function modelsFor(
  path: string,
  search: string,
  patterns: readonly string[] | undefined,
): Decision<ListedModels | undefined> {
  if (patterns === undefined) return ALL_MODELS
  return hiddenModel(path, patterns) ?? listedModels(path, search, patterns)
}

/** A function of its own: a function that creates a closure keeps its variables on the heap. */
function costlyOf(
  bodies: Bodies,
  permitted: Permitted,
  { upstream, path }: Incoming,
  body: UpstreamRequest['body'],
  as: Readable,
  maxBytes: number,
): Promise<Decision<Costly>> {
  return bodies.decoded(permitted, body, as, maxBytes, (plain) => upstream.costOf(path, plain))
}

/** A function of its own: variables that a closure captures are allocated when their function begins. */
async function renewable(
  identity: string,
  incoming: Incoming,
  asked: Asked,
  destination: Destination,
  body: UpstreamRequest['body'],
  costly: Costly | undefined,
  rewrite: Rewrite | undefined,
): Promise<Decision<Outgoing>> {
  const { upstream } = incoming
  const credential = await upstream.credential?.(identity, instant())
  if (!credential?.ok) return credential ?? refused('session_ended')
  const renew: Outgoing['renew'] = async () => {
    const newer = await upstream.credential?.(identity, instant(), credential.value)
    if (!newer?.ok) return newer ?? refused('session_ended')
    const next = callOf(identity, incoming, destination, body, newer.value)
    return granted(rewrite ? unencoded(next) : next)
  }
  const plain = callOf(identity, incoming, destination, body, credential.value)
  const call = rewrite ? unencoded(plain) : plain
  return granted({ upstream, asked, costly, call, renew, rewrite } as Outgoing)
}

function callOf(
  identity: string,
  { method, request, upstream, isKept = false }: Incoming,
  to: Destination,
  body: UpstreamRequest['body'],
  credential?: string,
): UpstreamRequest {
  const headers = upstream.requestHeaders(request.headers, credential)
  const key = headers[IDEMPOTENCY]
  if (key !== undefined) headers[IDEMPOTENCY] = idempotencyKey(identity, key)
  // With a renewable credential, the request may be sent a second time.
  const sentOnce = credential === undefined && !isKept
  return { method, to, headers, body, sentOnce }
}
