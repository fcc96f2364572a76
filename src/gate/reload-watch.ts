// Tells when files have changed and stand still again. By looking: what stands at a path is what counts,
// and neither an editor's rename nor a symbolic link that is swapped two folders above is an event of the
// file that was there.

import { ABSENT, isUnchanged, type Stamps, stampsOf } from './reload-files.ts'

export interface WatchOptions {
  /** What is known already, by its path. */
  readonly seen: () => Stamps
  readonly onChange: () => void
  readonly pollMs?: number
  readonly settleMs?: number
  readonly maxAbsentMs?: number
}

const POLL_MS = 500
/** Between two looks that have to be alike. */
const SETTLE_MS = 50
/** How long a file that is gone may come back before its absence counts. */
const MAX_ABSENT_MS = 2000

export function watchFiles(options: WatchOptions): { stop(): void } {
  const { seen, onChange, pollMs = POLL_MS, settleMs = SETTLE_MS } = options
  const { maxAbsentMs = MAX_ABSENT_MS } = options
  /** What the last look found, where it was something new. */
  let found: Stamps | undefined
  let goneSinceMs: number | undefined
  let stopped = false
  let timer: ReturnType<typeof setTimeout> | undefined

  /** How long until the next. */
  const look = (): number => {
    const known = seen()
    const stamps = stampsOf([...known.keys()])
    const before = found
    found = isUnchanged(known, stamps) ? undefined : stamps
    const isGone = [...stamps].some(([path, at]) => at === ABSENT && known.get(path) !== ABSENT)
    goneSinceMs = isGone ? (goneSinceMs ?? performance.now()) : undefined
    if (!found) return pollMs
    if (!before || !isUnchanged(before, stamps)) return settleMs
    if (goneSinceMs !== undefined && performance.now() - goneSinceMs < maxAbsentMs) return settleMs
    found = undefined
    goneSinceMs = undefined
    onChange()
    return pollMs
  }
  const lookIn = (ms: number): void => {
    timer = setTimeout(() => {
      const nextMs = look()
      if (!stopped) lookIn(nextMs)
    }, ms)
    timer.unref()
  }
  lookIn(pollMs)
  return {
    stop() {
      stopped = true
      clearTimeout(timer)
    },
  }
}
