// The upstream of a request whose model decides between several: its body is read first, and goes out
// as it came.

import type { Exchange } from '../exchange.ts'
import { type Decision, granted } from '../refusal.ts'
import type { Inspected } from '../upstream/inspected.ts'
import { bodyModel } from '../upstream/reading/body-model.ts'
import { type Bodies, type Permitted, readableAs } from './bodies.ts'
import { type Candidate, type Served, servedModel } from './choose.ts'

export interface Picked {
  readonly on: Served
  /** Of the upstream that was picked. */
  readonly inspected: Inspected
  readonly held: Decision<Uint8Array>
}

export type PickByModel = (
  permitted: Permitted,
  request: Request,
  inspected: Inspected,
  among: readonly Candidate[],
  exchange: Exchange,
) => Promise<Decision<Picked>>

export function pickingByModel(bodies: Bodies): PickByModel {
  return async (permitted, request, inspected, among, exchange) => {
    const codings = readableAs(request.headers)
    if (!codings.ok) return codings
    const sender = { request, method: 'POST', limited: true }
    const body = await bodies.read(permitted, sender, inspected, exchange)
    if (!body.ok) return body
    const { maxBytes } = inspected
    const model = await bodies.decoded(permitted, body.value, codings.value, maxBytes, bodyModel)
    if (!model.ok) return model
    exchange.model = model.value
    const on = servedModel(among, model.value)
    if (!on.ok) return on
    const seen = on.value.upstream.inspect(request.headers, true)
    if (!seen.ok) return seen
    return granted({ on: on.value, inspected: seen.value, held: body as Decision<Uint8Array> })
  }
}
