// Time limits by the hundred: one timer looks after all of them, so that setting one and clearing it
// again, which is what nearly every request does, costs next to nothing. They are kept to the tenth
// of a second and never early.

import { type Placed, Unordered } from './unordered.ts'

/** Whatever has one can be it itself, without an object and a closure beside it. */
export interface Deadline extends Placed {
  /** Is written here; -1 until it is set. */
  atMs: number
  passed(): void
}

const TICK_MS = 100

const pending = new Unordered<Deadline>()
let ticking: ReturnType<typeof setInterval> | undefined

/** `passed` is called once, in `afterMs` or up to a tick later, unless it was cleared before. */
export function deadline(afterMs: number, passed: () => void): Deadline {
  const set: Deadline = { atMs: -1, passed, place: -1 }
  setDeadline(set, afterMs)
  return set
}

/** The same for what is its own deadline; one that is set already is moved. */
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
    // One that has passed may have cleared another, or moved it.
    if (each.atMs <= now && pending.delete(each)) each.passed()
  }
  if (pending.size > 0) return
  clearInterval(ticking)
  ticking = undefined
}
