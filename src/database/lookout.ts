// When a gate checks its file: soon after the system reports a change, and a few times a second in any
// case, because the system reports changes of these files and not of the folders above them. Checking
// at the higher rate all the time would cost an idle gate one percent of a core. A busy gate does so
// anyway: being told of each of its own writes would cost more.

import { type FSWatcher, watch } from 'node:fs'

/** Shorter than it takes to type a command after `rm`. */
const SOON_MS = 25
const ANYWAY_MS = 250
/** This many changes within a second mean a busy gate. */
const BUSY_CHANGES = 20
const SECOND_MS = 1000
/** How long a busy gate is not told of changes. */
const BUSY_MS = 30_000

/**
 * Linux watches a file without opening it. If the runtime has to open it, closing it again drops
 * SQLite's locks (database.ts).
 */
const CAN_WATCH = process.platform === 'linux'

export interface Lookout {
  stop(): void
}

/**
 * `filesNow`: the files to watch, in another array after each change; undefined if there are none.
 */
export function lookout(look: () => void, filesNow: () => readonly string[] | undefined): Lookout {
  let watched: readonly string[] | undefined
  let watchers: FSWatcher[] = []
  let timer: ReturnType<typeof setTimeout> | undefined
  let isSoon = false
  let calmFromMs = 0
  let changes = 0
  let countedFromMs = 0

  const lookIn = (ms: number): void => {
    clearTimeout(timer)
    isSoon = ms === SOON_MS
    timer = setTimeout(turn, ms).unref()
  }
  const unwatch = (): void => {
    for (const watcher of watchers) watcher.close()
    watchers = []
  }
  const onChange = (): void => {
    const nowMs = performance.now()
    if (nowMs - countedFromMs > SECOND_MS) {
      countedFromMs = nowMs
      changes = 0
    }
    changes += 1
    if (changes >= BUSY_CHANGES) {
      calmFromMs = nowMs + BUSY_MS
      watched = undefined
      unwatch()
    }
    if (!isSoon) lookIn(SOON_MS)
  }
  const watchNow = (files: readonly string[]): void => {
    try {
      for (const file of files) {
        watchers.push(watch(file, { persistent: false }, onChange).on('error', unwatch))
      }
    } catch {
      // One of them is gone, or the system watches no more: checking has to do.
      unwatch()
    }
  }
  const turn = (): void => {
    const files = filesNow()
    // Before the check, so that no change falls between the two.
    if (files !== watched && performance.now() >= calmFromMs) {
      unwatch()
      watched = files
      if (files && CAN_WATCH) watchNow(files)
    }
    look()
    lookIn(watchers.length > 0 && filesNow() === watched ? ANYWAY_MS : SOON_MS)
  }
  lookIn(SOON_MS)
  return {
    stop() {
      clearTimeout(timer)
      unwatch()
    },
  }
}
