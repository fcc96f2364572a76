// The model lists of upstreams: requested with a deadline, at most once a minute, for all callers
// together. An upstream that does not answer keeps its last list.

import type { AskAt } from '../http1/ask.ts'
import type { Dialect } from '../refusal.ts'
import { echoOf } from '../upstream/echo.ts'
import type { Upstream } from '../upstream/upstream.ts'
import { type ListedModel, modelsIn } from '../upstream/reading/listed-models.ts'
import { LIST, WHOLE_LIST } from './model-list.ts'

/** Undefined if the upstream has not given a readable list. */
export type Models = readonly ListedModel[] | undefined

export interface ModelLists {
  /** The newest list. `now` is monotonic milliseconds. */
  of(upstream: Upstream, dialect: Dialect, now: number): Promise<Models>
  /**
   * For a request that must not wait: the last list, while a newer one is requested. Returns a promise only
   * until the first list arrives.
   */
  last(
    upstream: Upstream,
    dialect: Dialect,
    now: number,
  ): { readonly told: Models } | Promise<Models>
}

const KEEP_MS = 60_000
const RETRY_MS = 5000
const TIMEOUT_MS = 5000
/** How long a request waits for an upstream that failed the last time. */
const PATIENCE_MS = 1000
const MAX_BYTES = 4 * 1024 * 1024

interface KeptList {
  readonly atMs: number
  readonly list: Promise<Models>
  /** The previous request for the list failed. */
  readonly isRetry: boolean
  failed: boolean
  /** The newest list, from this request or an earlier one. */
  told: { readonly told: Models } | undefined
}

export function modelLists(ask: AskAt): ModelLists {
  const kept = new WeakMap<Upstream, KeptList>()

  const asked = (upstream: Upstream, dialect: Dialect, now: number): KeptList => {
    const before = kept.get(upstream)
    if (before && now - before.atMs < (before.failed ? RETRY_MS : KEEP_MS)) return before
    const list = askFor(ask, upstream, dialect, now).then((models) => {
      next.failed = models === undefined
      const told = models ?? before?.told?.told
      next.told = { told }
      return told
    })
    const isRetry = before?.failed === true
    const next: KeptList = { atMs: now, list, isRetry, failed: false, told: before?.told }
    kept.set(upstream, next)
    return next
  }

  return {
    of(upstream, dialect, now) {
      const { list, isRetry, told } = asked(upstream, dialect, now)
      return isRetry ? Promise.race([list, after(PATIENCE_MS, told?.told)]) : list
    },
    last(upstream, dialect, now) {
      const { told, list } = asked(upstream, dialect, now)
      return told ?? list
    },
  }
}

const after = (ms: number, models: Models): Promise<Models> =>
  new Promise((resolve) => setTimeout(resolve, ms, models))

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
