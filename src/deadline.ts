// Time limits by the hundred: one timer looks after all of them, so that setting one and clearing it
// again, which is what nearly every request does, costs next to nothing. They are kept to the tenth
// of a second and never early.

import { type Placed, Unordered } from './unordered.ts'

export interface Deadline extends Placed {
  readonly atMs: number
  readonly passed: () => void
}

const TICK_MS = 100

const pending = new Unordered<Deadline>()
let ticking: ReturnType<typeof setInterval> | undefined

/** `passed` is called once, in `afterMs` or up to a tick later, unless it was cleared before. */
export function deadline(afterMs: number, passed: () => void): Deadline {
  const set: Deadline = { atMs: performance.now() + afterMs, passed, place: -1 }
  pending.add(set)
  ticking ??= setInterval(tick, TICK_MS)
  return set
}

export function clearDeadline(set: Deadline | undefined): void {
  if (set) pending.delete(set)
}

function tick(): void {
  const now = performance.now()
  for (const each of pending.all()) {
    // One that has passed may have cleared another.
    if (each.atMs <= now && pending.delete(each)) each.passed()
  }
  if (pending.size > 0) return
  clearInterval(ticking)
  ticking = undefined
}
