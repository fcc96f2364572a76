// The last checks of a request that has a slot and an upstream: its caps and the upstream's circuit.

import type { Admitted } from '../admit/admitted.ts'
import type { Charge, Charges } from '../budget/charge.ts'
import type { Served } from '../dispatch/choose.ts'
import type { Outgoing } from '../dispatch/dispatch.ts'
import { modelHint } from '../dispatch/model-hint.ts'
import type { UpstreamRequest } from '../http1/request.ts'
import type { Decision } from '../refusal.ts'
import { instant } from '../turn/instant.ts'
import type { RouteFacts } from './route-facts.ts'

export type ChargeFor = (
  admitted: Admitted,
  facts: Pick<RouteFacts, 'named' | 'isRun'>,
  on: Served,
  outgoing: Pick<Outgoing, 'asked' | 'call' | 'costly'>,
) => Decision<Charge>

export const chargingFor =
  (charges: Pick<Charges, 'take'>): ChargeFor =>
  (admitted, { named, isRun }, { breaker }, { asked, call, costly }) => {
    const asking = {
      host: asked.enclaveHost ?? '',
      route: named,
      hasBody: isRun,
      sealed: asked.sealed,
      model: modelAsked(asked, call, costly),
    }
    return charges.take(admitted, costly, breaker, asking, instant())
  }

/** As the circuits know it: the caller's own claim is enough. */
export const modelAsked = (
  { sealed }: Outgoing['asked'],
  { body }: Outgoing['call'],
  costly: Outgoing['costly'],
): string | undefined => costly?.model ?? (sealed ? undefined : hintOf(body))

const hintOf = (body: UpstreamRequest['body']): string | undefined =>
  body instanceof Uint8Array ? modelHint(body) : undefined
