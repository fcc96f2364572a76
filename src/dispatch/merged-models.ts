// `GET /v1/models` where several upstreams serve a caller: their lists in one, in the settings' order.
// Each upstream is asked for its list with a deadline, once a minute at most, whoever the caller is; one
// that does not answer leaves out nothing of the others, and is told by its last list.

import type { AskAt } from '../http1/ask.ts'
import { type Decision, type Dialect, refused } from '../refusal.ts'
import { allowedModel } from '../token/model-pattern.ts'
import { echoOf } from '../upstream/echo.ts'
import type { Upstream } from '../upstream/upstream.ts'
import type { Served } from './choose.ts'
import { LIST, type ListedModel, modelsIn, paged, WHOLE_LIST } from './model-list.ts'

export interface ModelsAsked {
  readonly dialect: Dialect
  /** The caller's own query. */
  readonly search: string
  /** What the caller may use; undefined is every model. */
  readonly patterns: readonly string[] | undefined
}

/** The body of the answer; `now` is monotonic milliseconds. */
export type MergeModels = (
  among: readonly Served[],
  asked: ModelsAsked,
  now: number,
) => Promise<Decision<Uint8Array>>

const KEEP_MS = 60_000
const RETRY_MS = 5000
const TIMEOUT_MS = 5000
const MAX_BYTES = 4 * 1024 * 1024

type Models = readonly ListedModel[] | undefined

interface KeptList {
  readonly atMs: number
  readonly list: Promise<Models>
  failed: boolean
}

/** A list that is the account's of whoever asks is nobody else's. */
export const isMerged = (among: readonly Served[]): boolean =>
  among.length > 1 && among.every(({ upstream }) => upstream.credential === undefined)

export function mergingModels(ask: AskAt): MergeModels {
  const kept = new WeakMap<Upstream, KeptList>()

  const listOf = (upstream: Upstream, dialect: Dialect, now: number): Promise<Models> => {
    const before = kept.get(upstream)
    if (before && now - before.atMs < (before.failed ? RETRY_MS : KEEP_MS)) return before.list
    const asked = askFor(ask, upstream, dialect, now).then((models) => {
      next.failed = models === undefined
      return models ?? before?.list
    })
    const next: KeptList = { atMs: now, list: asked, failed: false }
    kept.set(upstream, next)
    return asked
  }

  return async (among, { dialect, search, patterns }, now) => {
    const lists = await Promise.all(among.map(({ upstream }) => listOf(upstream, dialect, now)))
    if (lists.every((list) => list === undefined)) {
      return refused('upstream_unavailable', { reason: 'no list of models' })
    }
    const merged = new Map<string, ListedModel>()
    for (const [index, list] of lists.entries()) {
      const served = among[index]?.models
      for (const model of list ?? []) {
        const isSeen = allowedModel(model.id, served) && allowedModel(model.id, patterns)
        if (isSeen && !merged.has(model.id)) merged.set(model.id, model)
      }
    }
    return paged(dialect, [...merged.values()], search)
  }
}

/** Undefined where there is none that can be read. */
async function askFor(
  ask: AskAt,
  upstream: Upstream,
  dialect: Dialect,
  now: number,
): Promise<Models> {
  const search = dialect === 'anthropic' ? WHOLE_LIST : ''
  const to = await upstream.destination({ method: 'GET', path: LIST, search, sealed: false }, now)
  if (!to.ok) return undefined
  const headers = upstream.requestHeaders(new Headers({ accept: 'application/json' }))
  const reply = await ask(to.value, {
    method: 'GET',
    headers,
    timeoutMs: TIMEOUT_MS,
    maxBytes: MAX_BYTES,
    reads: (status) => status === 200,
  })
  if (!reply.ok || reply.status !== 200 || echoOf(headers).inBytes(reply.body)) return undefined
  const found = modelsIn(reply.body)
  return found.ok ? found.value : undefined
}
