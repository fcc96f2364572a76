// The relayed routes: the life of a request after its guard, step by step.

import { Elysia, t } from 'elysia'
import type { Budget, Reserved } from '../budget/budget.ts'
import type { Charges } from '../budget/charge.ts'
import { isByModel, servedModels } from '../dispatch/choose.ts'
import type { Dispatch } from '../dispatch/dispatch.ts'
import { isMerged, type MergeModels } from '../dispatch/merged-models.ts'
import { LIST, modelIn } from '../dispatch/model-list.ts'
import type { Exchange } from '../exchange.ts'
import { bounded } from '../policy/allows.ts'
import { granted, type Refusal } from '../refusal.ts'
import { RelayClient, type SetIdleTimeout } from '../relay/client.ts'
import type { Relay } from '../relay/relay.ts'
import type { Waits } from '../budget/waits.ts'
import type { Running } from '../dispatch/load.ts'
import type { ListOwn } from '../dispatch/own-lists.ts'
import { type FallbackPlans, planFor } from '../dispatch/plan.ts'
import { isOwnAccount } from '../dispatch/stored.ts'
import { isForOneEnclave } from '../upstream/inspected.ts'
import { FallbackAttempts } from './attempts.ts'
import { chargingFor } from './charging.ts'
import { choosing, type ChoosingParts } from './choosing.ts'
import { UPSTREAM_HEADER } from './cors.ts'
import { NOT_ADMITTED } from './door.ts'
import { admittedIdleSeconds } from './keep-alive.ts'
import type { PickedUpstream } from './picked.ts'
import { isPickedByBody, pickingByBody, type PickingParts } from './picking.ts'
import { type GuardParts, relayedGuard } from './relayed-guard.ts'
import { factsOf } from './route-facts.ts'
import { NAME_SEGMENT } from './route-table.ts'
import type { ServedRoute } from './routes.ts'
import { isSpread, placeAt } from './spreading.ts'

export interface InferenceParts extends GuardParts, ChoosingParts, PickingParts {
  readonly budget: Budget
  readonly charges: Charges
  readonly dispatch: Dispatch
  readonly mergeModels: MergeModels
  readonly listOwn: ListOwn
  /** Undefined while no upstream stands in for another. */
  readonly plans: () => FallbackPlans | undefined
  readonly running: Running
  readonly waits: Waits
  readonly relay: Relay
  /** The listener's. Elysia would define its `server` on each request that uses it. */
  readonly setIdleTimeout: SetIdleTimeout
}

const NO_BODY = granted(false)
const ONE_MODEL = '/v1/models/:id'
/** The name of a model, a batch or a file. */
const NAMED = t.String({ pattern: NAME_SEGMENT.source, error: 'no name' })
const PARAMS = t.Object({ id: NAMED })
const NAME = NAME_SEGMENT.source.slice(1, -1)
/** Slashes that were encoded are decoded here. */
const MODEL_PARAMS = t.Object({
  id: t.String({ pattern: `^${NAME}(?:/${NAME}){0,3}$`, error: 'no name' }),
})
const ITEM_PARAMS = t.Object({ id: NAMED, item: NAMED })

function paramsOf(path: string) {
  if (path.includes(':item')) return ITEM_PARAMS
  return path === ONE_MODEL ? MODEL_PARAMS : PARAMS
}

export function inferenceRoutes(parts: InferenceParts, served: readonly ServedRoute[]) {
  const { answers, budget, charges, dispatch, mergeModels, plans, relay } = parts
  const { listOwn, running, setIdleTimeout } = parts
  const choose = choosing(parts)
  const pickByBody = pickingByBody(parts)
  const chargeFor = chargingFor(charges)
  const attempting = { ...parts, chargeFor }

  /** Refuses a request that already holds a concurrency slot. */
  const giveUp = (
    refusal: Refusal,
    reserved: Reserved,
    client: RelayClient,
    exchange: Exchange,
  ): Response => {
    client.release()
    reserved.release()
    return client.signal.aborted
      ? answers.left(exchange, refusal)
      : answers.refuse(exchange, refusal)
  }

  // A handler without the guard does not compile: `admitted` comes from it.
  const group = new Elysia().use(relayedGuard(parts))

  for (const routes of Map.groupBy(served, ({ method, path }) => `${method} ${path}`).values()) {
    const [{ about }] = routes as [ServedRoute]
    const facts = factsOf(routes)
    const { named, method, path, isOwned, hasBody, isRun } = facts
    group.route(
      method,
      path,
      async ({ arrival, request, admitted, relayed }) => {
        const { exchange, target, idleSeconds } = arrival
        // In case Elysia drops the guard: it has ways to drop a hook silently (arrivals.ts).
        if (!admitted) return answers.refuse(exchange, NOT_ADMITTED)
        const { choices, group, lists, unpriced } = relayed
        const { policy } = admitted
        const { path: to, search } = target

        const model = hasBody ? undefined : modelIn(to)
        const asked = { request, path: to, hasBody, isOwned, model, group, lists }
        const choice = choose(choices, admitted, asked, exchange)
        const chosen = choice instanceof Promise ? await choice : choice
        if (!chosen.ok) return answers.refuse(exchange, chosen)
        const { among, inspected } = chosen.value
        const unknown = unpriced === undefined ? undefined : charges.unpriced(admitted, unpriced)
        if (unknown) return answers.refuse(exchange, unknown)
        if (path === LIST && isMerged(among)) {
          const { dialect } = exchange
          const list = { dialect, search, patterns: policy.models }
          const merged = await mergeModels(among, list, performance.now())
          return merged.ok ? answers.free(exchange, merged.value) : answers.refuse(exchange, merged)
        }

        const { sealed } = inspected
        const limited = isRun ? charges.needsBody(admitted, named, sealed) : NO_BODY
        if (!limited.ok) return answers.refuse(exchange, limited)
        const slot = budget.reserve(admitted, exchange)
        if (!slot.ok) return answers.refuse(exchange, slot)
        const reserved = slot.value
        const client = new RelayClient(request, admittedIdleSeconds(idleSeconds), setIdleTimeout)
        client.hold()
        const permitted = { admitted, reserved }
        try {
          if (lists && !isOwnAccount(chosen.value.on)) {
            const { dialect } = exchange
            const { headers, signal } = request
            const list = { dialect, path, search, headers, signal }
            const own = await listOwn(among, list, admitted, (name) => (exchange.upstream = name))
            if (!own.ok) return giveUp(own, reserved, client, exchange)
            client.release()
            reserved.release()
            return answers.free(exchange, own.value)
          }
          let picked: PickedUpstream = {
            on: chosen.value.on,
            among: isOwned ? [chosen.value.on] : among,
            inspected: bounded(policy, inspected),
            held: undefined,
          }
          const planned = isRun && policy.fallback ? plans() : undefined
          const fallback = planned && !isForOneEnclave(request.headers) ? planned : undefined
          const planOf = fallback?.spreads && isSpread(picked) ? fallback.planOf : undefined
          if (planOf || isPickedByBody(facts, picked)) {
            const byBody = { request, path: to, facts, group, planOf, from: picked }
            const found = await pickByBody(permitted, byBody, exchange)
            if (!found.ok) return giveUp(found, reserved, client, exchange)
            picked = found.value
          }
          const { on, held } = picked
          const { upstream } = on
          exchange.upstream = upstream.name
          const incoming = {
            request,
            method,
            path: to,
            search,
            upstream,
            models: !hasBody && isByModel(among) ? servedModels(among) : undefined,
            limited: limited.value,
            held,
          }

          const plan = fallback && planFor(fallback.planOf, group, upstream, sealed)
          if (plan) {
            const place = placeAt(running, upstream.name, plan, reserved)
            const asked = { plan, permitted, facts, group, incoming, picked, place, exchange }
            const attempts = new FallbackAttempts(attempting, asked)
            const first = await attempts.first()
            if (!first.ok) return giveUp(first, reserved, client, exchange)
            const { outgoing, charge } = first.value
            return await relay.send(outgoing, { reserved, charge }, exchange, client, attempts)
          }

          const outgoing = await dispatch(permitted, incoming, picked.inspected, exchange)
          if (!outgoing.ok) return giveUp(outgoing, reserved, client, exchange)
          const charge = chargeFor(admitted, facts, on, outgoing.value)
          if (!charge.ok) return giveUp(charge, reserved, client, exchange)
          const taken = { reserved, charge: charge.value }
          if (policy.tellsUpstream) exchange.headers.set(UPSTREAM_HEADER, upstream.name)
          return await relay.send(outgoing.value, taken, exchange, client)
        } catch (bug) {
          // A bug of ours must keep neither the concurrency slot nor what was taken to send the request.
          reserved.release()
          relay.abandon(exchange)
          throw bug
        }
      },
      {
        parse: 'none',
        relayed: routes,
        ...(path.includes(':') && { params: paramsOf(path) }),
        detail: { summary: about, tags: ['relayed', ...routes.map(({ dialect }) => dialect)] },
      },
    )
  }
  return group
}
