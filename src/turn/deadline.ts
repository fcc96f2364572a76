// Timeouts for hundreds of requests on one timer. Nearly every request sets one and clears it again, so
// both have to be cheap. A timeout fires up to 100 ms late and never early.

import { type Placed, Unordered } from './unordered.ts'

/** An object may implement Deadline itself, which saves an object and a closure for each timer. */
export interface Deadline extends Placed {
  /** Written by this file; -1 until it is set. */
  atMs: number
  passed(): void
}

const TICK_MS = 100

const pending = new Unordered<Deadline>()
let ticking: ReturnType<typeof setInterval> | undefined

/** Calls `passed` once, after `afterMs` and up to a tick, unless it is cleared first. */
export function deadline(afterMs: number, passed: () => void): Deadline {
  const set: Deadline = { atMs: -1, passed, place: -1 }
  setDeadline(set, afterMs)
  return set
}

/** For an object that implements Deadline. A deadline that is already set is moved. */
export function setDeadline(set: Deadline, afterMs: number): void {
  set.atMs = performance.now() + afterMs
  if (set.place < 0) pending.add(set)
  ticking ??= setInterval(tick, TICK_MS)
}

export function clearDeadline(set: Deadline | undefined): void {
  if (set) pending.delete(set)
}

function tick(): void {
  const now = performance.now()
  for (const each of pending.all()) {
    // An earlier one may have cleared or moved this one.
    if (each.atMs <= now && pending.delete(each)) each.passed()
  }
  if (pending.size > 0) return
  clearInterval(ticking)
  ticking = undefined
}
