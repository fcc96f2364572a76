// Chooses between several upstreams by the request's model. The body is read first, and is sent as it came.

import { foreignModel } from '../budget/model-limit.ts'
import type { Exchange } from '../exchange.ts'
import { type Decision, granted, refused } from '../refusal.ts'
import type { Inspected } from '../upstream/inspected.ts'
import { bodyModel } from '../upstream/reading/body-model.ts'
import { type Bodies, type Permitted, readableAs } from './bodies.ts'
import { type Served, servedModel } from './choose.ts'

export interface Picked {
  readonly on: Served
  /** From the chosen upstream. */
  readonly inspected: Inspected
  /** Undefined if the body was not read. */
  readonly held: Decision<Uint8Array> | undefined
}

export interface ByModel {
  readonly request: Request
  readonly path: string
  readonly inspected: Inspected
  readonly among: readonly Served[]
  /** Present if it was already read. */
  readonly held?: Decision<Uint8Array> | undefined
}

export type PickByModel = (
  permitted: Permitted,
  asked: ByModel,
  exchange: Exchange,
) => Promise<Decision<Picked>>

export function pickingByModel(bodies: Bodies): PickByModel {
  return async (permitted, { request, path, inspected, among, held }, exchange) => {
    const readable = readableAs(request.headers, path)
    const isForm = !readable.ok || readable.value.boundary !== undefined
    const picked = isForm && !held ? unread(request, among) : undefined
    if (picked) return picked
    if (!readable.ok) return readable
    const sender = { request, method: 'POST', limited: true }
    const body = held ?? (await bodies.read(permitted, sender, inspected, exchange))
    if (!body.ok) return body
    const { maxBytes } = inspected
    const on = await bodies.decoded(permitted, body.value, readable.value, maxBytes, (plain) => {
      const model = bodyModel(plain)
      if (!model.ok) return ofAll(path, plain, among)
      exchange.model = model.value
      return servingAll(path, plain, servedModel(among, model.value))
    })
    if (!on.ok) return on
    const seen = on.value.upstream.inspect(request.headers, true)
    if (!seen.ok) return seen
    return granted({ on: on.value, inspected: seen.value, held: body as Decision<Uint8Array> })
  }
}

/**
 * The gate does not read the model in a form with files. Such a request goes to an upstream that serves every
 * model, if there is one.
 */
function unread({ headers }: Request, among: readonly Served[]): Decision<Picked> | undefined {
  const on = among.find(({ models }) => models === undefined)
  if (!on) return undefined
  const seen = on.upstream.inspect(headers, true)
  return seen.ok ? granted({ on, inspected: seen.value, held: undefined }) : seen
}

/** A batch holds requests, each with its own model; any other body has to name one. */
function ofAll(path: string, plain: Uint8Array, among: readonly Served[]): Decision<Served> {
  const costly = among[0]?.upstream.costOf(path, plain)
  if (!costly) return refused('upstream_not_allowed')
  if (!costly.ok) return costly
  const on = among.find(({ models }) => !models || !foreignModel(costly.value, models))
  return on ? granted(on) : servedModel(among, costly.value.model)
}

/** A request may name more models than the one that chose: what runs beside it, or in its place. */
function servingAll(path: string, plain: Uint8Array, found: Decision<Served>): Decision<Served> {
  if (!found.ok || found.value.models === undefined) return found
  const costly = found.value.upstream.costOf(path, plain)
  if (!costly.ok) return costly
  return foreignModel(costly.value, found.value.models) ?? found
}
