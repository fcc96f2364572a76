// The relayed routes: the life of a request after its guard, step by step.

import { Elysia, t } from 'elysia'
import type { Budget, Reserved } from '../budget/budget.ts'
import type { Charges } from '../budget/charge.ts'
import type { PickByModel } from '../dispatch/by-model.ts'
import { type AskedModels, someAsk } from '../dispatch/asked-models.ts'
import { isByModel, servedModel, servedModels } from '../dispatch/choose.ts'
import {
  isEnding,
  isStored,
  type OwnerOf,
  type PickKept,
  servingStored,
} from '../dispatch/stored.ts'
import type { Dispatch } from '../dispatch/dispatch.ts'
import { isMerged, type MergeModels } from '../dispatch/merged-models.ts'
import { modelHint } from '../dispatch/model-hint.ts'
import { LIST, modelIn } from '../dispatch/model-list.ts'
import type { Exchange } from '../exchange.ts'
import { instant } from '../turn/instant.ts'
import { allows, bounded } from '../policy/allows.ts'
import { type Decision, granted, type Refusal, refused } from '../refusal.ts'
import { RelayClient, type SetIdleTimeout } from '../relay/client.ts'
import type { Relay } from '../relay/relay.ts'
import type { UpstreamRequest } from '../http1/request.ts'
import { amongOf, isReferring } from './among.ts'
import { UPSTREAM_HEADER } from './cors.ts'
import { NOT_ADMITTED } from './door.ts'
import { admittedIdleSeconds } from './keep-alive.ts'
import { type GuardParts, relayedGuard } from './relayed-guard.ts'
import { NAME_SEGMENT } from './route-table.ts'
import type { ServedRoute } from './routes.ts'

export interface InferenceParts extends GuardParts {
  readonly budget: Budget
  readonly charges: Charges
  readonly dispatch: Dispatch
  readonly pickByModel: PickByModel
  readonly pickKept: PickKept
  readonly mergeModels: MergeModels
  readonly askedModels: AskedModels
  readonly ownerOf: OwnerOf
  readonly relay: Relay
  /** Of the listener. Elysia would define its `server` on each request that uses it. */
  readonly setIdleTimeout: SetIdleTimeout
}

const hintOf = (body: UpstreamRequest['body']): string | undefined =>
  body instanceof Uint8Array ? modelHint(body) : undefined

const NO_BODY = granted(false)
/** The name of a model, a batch or a file. */
const NAMED = t.String({ pattern: NAME_SEGMENT.source, error: 'no name' })
const PARAMS = t.Object({ id: NAMED })
const ITEM_PARAMS = t.Object({ id: NAMED, item: NAMED })

export function inferenceRoutes(parts: InferenceParts, served: readonly ServedRoute[]) {
  const { answers, askedModels, budget, charges, dispatch, pickByModel, pickKept, relay } = parts

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

  for (const [named, routes] of Map.groupBy(served, ({ method, path }) => `${method} ${path}`)) {
    const [{ method, path, about, runsNothing }] = routes as [ServedRoute]
    const isOwned = isStored(path)
    const hasBody = method === 'POST' && !(isOwned && isEnding(path))
    const isRun = hasBody && runsNothing !== true
    const mayRefer = hasBody && isReferring(routes, path)
    group.route(
      method,
      path,
      async ({ arrival, request, admitted, relayed: { choices, group } }) => {
        const { exchange, target, idleSeconds } = arrival
        // In case Elysia drops the guard: it has ways to drop a hook silently (arrivals.ts).
        if (!admitted) return answers.refuse(exchange, NOT_ADMITTED)
        let among = amongOf(choices[admitted.kind], admitted, request, hasBody)
        if (hasBody && someAsk(among)) {
          const told = askedModels.told(among, exchange.dialect, exchange.at.monotonicMs)
          among = told instanceof Promise ? await told : told
        }
        let on = among[0]
        if (!on) return answers.refuse(exchange, refused('upstream_not_allowed'))
        const { path: to, search } = target
        const isByPath = !hasBody && isByModel(among)
        const model = hasBody ? undefined : modelIn(to)
        if (model !== undefined && (isByPath || isMerged(among))) {
          const at = exchange.at.monotonicMs
          const found = isMerged(among)
            ? await askedModels.having(among, model, exchange.dialect, at)
            : servedModel(among, model)
          if (!found.ok) return answers.refuse(exchange, found)
          on = found.value
        }
        if (isOwned) {
          const found = servingStored(among, to, admitted, parts.ownerOf)
          if (!found.ok) return answers.refuse(exchange, found)
          on = found.value
        }
        const inspected = on.upstream.inspect(request.headers, hasBody)
        if (!inspected.ok) return answers.refuse(exchange, inspected)
        const { sealed } = inspected.value
        const { policy } = admitted
        const passes = allows(policy, group, on.upstream.name, hasBody, inspected.value)
        if (!passes.ok) return answers.refuse(exchange, passes)
        if (path === LIST && isMerged(among)) {
          const { dialect } = exchange
          const asked = { dialect, search, patterns: policy.models }
          const merged = await parts.mergeModels(among, asked, performance.now())
          return merged.ok ? answers.free(exchange, merged.value) : answers.refuse(exchange, merged)
        }
        const limited = isRun ? charges.needsBody(admitted, named, sealed) : NO_BODY
        if (!limited.ok) return answers.refuse(exchange, limited)
        const reserved = budget.reserve(admitted, exchange)
        if (!reserved.ok) return answers.refuse(exchange, reserved)

        const client = new RelayClient(
          request,
          admittedIdleSeconds(idleSeconds),
          parts.setIdleTimeout,
        )
        client.hold()
        const permitted = { admitted, reserved: reserved.value }
        try {
          let seen = bounded(policy, inspected.value)
          let held: Decision<Uint8Array> | undefined
          let left = isOwned ? [on] : among
          if (mayRefer && !sealed) {
            const naming = { request, path: to, inspected: seen, among: left }
            const kept = await pickKept(permitted, naming, exchange)
            if (!kept.ok) return giveUp(kept, reserved.value, client, exchange)
            ;({ among: left, held } = kept.value)
            on = left[0] ?? on
            seen = bounded(policy, kept.value.inspected)
          }
          if (isRun && isByModel(left)) {
            const byModel = { request, path: to, inspected: seen, among: left, held }
            const picked = await pickByModel(permitted, byModel, exchange)
            if (!picked.ok) return giveUp(picked, reserved.value, client, exchange)
            ;({ on, held } = picked.value)
            seen = bounded(policy, picked.value.inspected)
          }
          exchange.upstream = on.upstream.name
          const { upstream, breaker } = on
          const incoming = {
            request,
            method,
            path: to,
            search,
            upstream,
            models: isByPath ? servedModels(among) : undefined,
            limited: limited.value,
            held,
          }
          const outgoing = await dispatch(permitted, incoming, seen, exchange)
          if (!outgoing.ok) return giveUp(outgoing, reserved.value, client, exchange)
          const { costly, asked, call } = outgoing.value
          const asking = {
            host: asked.enclaveHost ?? '',
            route: named,
            hasBody: isRun,
            sealed: asked.sealed,
            model: costly?.model ?? (asked.sealed ? undefined : hintOf(call.body)),
          }
          const charge = charges.take(admitted, costly, breaker, asking, instant())
          if (!charge.ok) return giveUp(charge, reserved.value, client, exchange)
          const taken = { reserved: reserved.value, charge: charge.value }
          if (policy.tellsUpstream) exchange.headers.set(UPSTREAM_HEADER, upstream.name)
          return await relay.send(outgoing.value, taken, exchange, client)
        } catch (bug) {
          // A bug of ours must not keep the concurrency slot.
          reserved.value.release()
          throw bug
        }
      },
      {
        parse: 'none',
        relayed: routes,
        ...(path.includes(':') && { params: path.includes(':item') ? ITEM_PARAMS : PARAMS }),
        detail: { summary: about, tags: ['relayed', ...routes.map(({ dialect }) => dialect)] },
      },
    )
  }
  return group
}
