// Until when an upstream asked not to be asked again for a model. Only where another one can stand in for
// it: nothing here makes a request wait. Pure; `now` is an argument.

import type { Instant } from '../turn/instant.ts'
import { Recent } from './recent.ts'

/** Of an answer. `retry-after-ms` is Azure's and OpenAI's own, and finer. */
export interface RetryHeaders {
  readonly 'retry-after'?: string | undefined
  readonly 'retry-after-ms'?: string | undefined
}

export interface Waits {
  /**
   * `model`: as the upstream reads it, so that nobody shuts others out of a model that they did not ask for.
   * Undefined, if that is not known, notes nothing.
   */
  note(upstream: object, model: string | undefined, headers: RetryHeaders, now: Instant): void
  /**
   * Milliseconds; 0 where it may be asked. The caller's own claim of a model is enough. `nowMs` is
   * monotonic.
   */
  waitMs(upstream: object, model: string | undefined, nowMs: number): number
}

/** Much longer is said by mistake, and must not take an upstream away. */
const MAX_WAIT_MS = 60_000
/** Of one upstream. */
const MAX_WAITS = 128
/** A longer name is a caller's own invention. */
const MAX_MODEL_LENGTH = 128

export function waits(): Waits {
  /** By upstream, and not by its name: a reload may give that to another address or account. */
  const all = new WeakMap<object, Recent<{ atMs: number }>>()
  return {
    note(upstream, model, headers, now) {
      const ms = Math.min(retryAfterMs(headers, now), MAX_WAIT_MS)
      if (ms <= 0 || model === undefined || model.length > MAX_MODEL_LENGTH) return
      const until = all.get(upstream) ?? new Recent<{ atMs: number }>(MAX_WAITS / 2)
      all.set(upstream, until)
      until.get(model, () => ({ atMs: 0 })).atMs = now.monotonicMs + ms
    },
    waitMs(upstream, model, nowMs) {
      const until = model === undefined ? undefined : all.get(upstream)?.find(model)
      return Math.max(0, (until?.atMs ?? 0) - nowMs)
    },
  }
}

const NUMBER = /^\d{1,9}(?:\.\d{1,6})?$/

/** RFC 9110 §10.2.3: seconds, or a date. 0 where nothing is said that can be read. */
export function retryAfterMs(headers: RetryHeaders, { epochSeconds }: Instant): number {
  const { 'retry-after': text = '', 'retry-after-ms': ms = '' } = headers
  if (NUMBER.test(ms)) return Number(ms)
  if (NUMBER.test(text)) return Number(text) * 1000
  const atMs = text.endsWith(' GMT') ? Date.parse(text) : Number.NaN
  return Number.isNaN(atMs) ? 0 : Math.max(0, atMs - epochSeconds * 1000)
}
