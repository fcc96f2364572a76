// An identity provider's public keys: read over the network, kept through an outage, never extended by
// anything that a token says. Requests look them up by `kid` without waiting; only a timer uses the
// network, and an unknown `kid`, at most once per cooldown.

import { clearDeadline, deadline } from '../turn/deadline.ts'
import type { Logger } from '../log.ts'
import type { Ask } from '../http1/ask.ts'
import { type DroppedEntry, KeySetError, parseKeySet, type VerifyKey } from './key-set.ts'
import { readDocument } from './read-document.ts'

export type { VerifyKey }

export type KeyLookup =
  | { readonly ok: true; readonly value: VerifyKey }
  | { readonly ok: false; readonly code: 'unknown_kid' | 'keys_unavailable' }

export interface KeySource {
  /** Whether a key set has been loaded and is not too old. */
  ready(now: number): boolean
  /** The current key under this `kid`, without using the network. */
  current(kid: string, now: number): VerifyKey | undefined
  lookup(kid: string, now: number): Promise<KeyLookup>
  start(): void
  stop(): void
}

export interface JwksOptions {
  readonly ask: Ask
  /**
   * The key set's URL; a function is called before each read, for issuers that name it themselves.
   */
  readonly url: URL | (() => Promise<URL>)
  readonly refreshMs: number
  readonly maxStaleMs: number
  readonly log: Pick<Logger, 'info' | 'warn' | 'error'>
  /** For one read of the set, including its body. */
  readonly timeoutMs?: number
  /** How long a request waits for such a read. */
  readonly patienceMs?: number
}

/** A key set that hangs must not hold every request that it could concern. */
const PATIENCE_MS = 2000
/**
 * Between two attempts, whatever causes them: a stranger's unknown `kid` must not become our
 * traffic.
 */
const COOLDOWN_MS = 30_000
/** Until the first success there is nothing to serve from, so the wait is shorter. */
const FIRST_RETRY_MS = 1000

export function jwksSource(options: JwksOptions): KeySource {
  const { ask, url, refreshMs, maxStaleMs, log, timeoutMs, patienceMs = PATIENCE_MS } = options
  let keys: ReadonlyMap<string, VerifyKey> = new Map()
  /** The text that they were read from. */
  let read: string | undefined
  let told: ReadonlySet<string> = new Set()
  let loadedAt = Number.NEGATIVE_INFINITY
  let attemptedAt = Number.NEGATIVE_INFINITY
  let failures = 0
  let flight: Promise<void> | undefined
  let timer: NodeJS.Timeout | undefined
  let stopped = false

  /** Both clocks are monotonic milliseconds: a host's clock set back must not keep dead keys. */
  const fresh = (now: number): boolean => now - loadedAt <= maxStaleMs

  /** Logs once for as long as an entry stays the same. */
  const tellDropped = (dropped: readonly DroppedEntry[]): void => {
    const nameOf = ({ name, why }: DroppedEntry): string => `${name} ${why}`
    for (const [why, entries] of byReason(dropped.filter((each) => !told.has(nameOf(each))))) {
      const names = entries.slice(0, MAX_NAMED).map(({ name }) => name)
      const fields = { kids: names.join(', '), entries: entries.length, why }
      if (entries[0]?.foreign) log.info(fields, 'key set: entries that are for others')
      else log.warn(fields, 'key set: entries that cannot be used')
    }
    told = new Set(dropped.map(nameOf))
  }
  const load = async (): Promise<void> => {
    attemptedAt = performance.now()
    try {
      const at = url instanceof URL ? url : await url()
      const text = await fetchKeySet(ask, at, timeoutMs)
      // Nearly every read returns the same as the previous one.
      if (text !== read) {
        const next = await parseKeySet(text)
        keys = new Map(next.keys.map((key) => [key.kid, keep(keys.get(key.kid), key)]))
        tellDropped(next.dropped)
        read = text
      }
      loadedAt = performance.now()
      if (failures > 0) log.info({ failures }, 'key set is back')
      failures = 0
    } catch (error) {
      failures += 1
      log.error({ reason: describe(error), failures, kept: keys.size }, 'key set cannot be read')
    }
  }
  const refresh = (): Promise<void> => {
    flight ??= load().finally(() => {
      flight = undefined
    })
    return flight
  }
  /** False where it takes too long; it goes on all the same. */
  const refreshed = (): Promise<boolean> =>
    new Promise((resolve) => {
      const limit = deadline(patienceMs, () => resolve(false))
      void refresh().then(() => {
        clearDeadline(limit)
        resolve(true)
      })
    })
  const schedule = (): void => {
    if (stopped) return
    const retryMs =
      loadedAt === Number.NEGATIVE_INFINITY
        ? Math.min(FIRST_RETRY_MS * 2 ** (failures - 1), COOLDOWN_MS)
        : COOLDOWN_MS
    const waitMs = failures > 0 ? Math.min(retryMs, refreshMs) : refreshMs
    timer = setTimeout(() => void refresh().finally(schedule), waitMs)
    timer.unref()
  }
  const current = (kid: string, now: number): VerifyKey | undefined =>
    fresh(now) ? keys.get(kid) : undefined

  return {
    ready: fresh,
    current,
    async lookup(kid, now) {
      const known = current(kid, now)
      if (known) return { ok: true, value: known }
      if ((flight || now - attemptedAt >= COOLDOWN_MS) && !(await refreshed())) {
        return { ok: false, code: 'keys_unavailable' }
      }
      const later = Math.max(now, performance.now())
      if (!fresh(later)) return { ok: false, code: 'keys_unavailable' }
      const found = keys.get(kid)
      return found ? { ok: true, value: found } : { ok: false, code: 'unknown_kid' }
    },
    start() {
      void refresh().finally(schedule)
    },
    stop() {
      stopped = true
      clearTimeout(timer)
    },
  }
}

/** Of the entries that one line of the log is about. */
const MAX_NAMED = 20

export function byReason(
  dropped: readonly DroppedEntry[],
): ReadonlyMap<string, readonly DroppedEntry[]> {
  const reasons = new Map<string, DroppedEntry[]>()
  for (const each of dropped) {
    const same = reasons.get(each.why)
    if (same) same.push(each)
    else reasons.set(each.why, [each])
  }
  return reasons
}

/** The same key object as long as the key is the same: remembered tokens are bound to it. */
function keep(before: VerifyKey | undefined, now: VerifyKey): VerifyKey {
  return before?.print === now.print ? before : now
}

/** One read of the set as text; throws where there is none, so that the last good set stays. */
export function fetchKeySet(ask: Ask, url: URL, timeoutMs?: number): Promise<string> {
  return readDocument(ask, {
    url,
    accept: 'application/jwk-set+json, application/json',
    timeoutMs,
  })
}

/** Never the words of an error that is not ours: they may carry the URL. */
function describe(error: unknown): string {
  if (error instanceof KeySetError) return error.message
  return error instanceof Error ? error.name : 'unknown'
}
