// Reports when files have changed and are stable again. It polls, because the content at a path counts,
// and neither an editor's rename nor a symbolic link that changes two folders above is an event of the
// old file.

import { ABSENT, isUnchanged, type Stamps, stampsOf } from './reload-files.ts'

export interface WatchOptions {
  /** The known stamps, by path. */
  readonly seen: () => Stamps
  readonly onChange: () => void
  readonly pollMs?: number
  readonly settleMs?: number
  readonly maxAbsentMs?: number
}

const POLL_MS = 500
/** Between two looks that must find the same. */
const SETTLE_MS = 50
/** How long a file may be missing before its absence counts. */
const MAX_ABSENT_MS = 2000

export function watchFiles(options: WatchOptions): { stop(): void } {
  const { seen, onChange, pollMs = POLL_MS, settleMs = SETTLE_MS } = options
  const { maxAbsentMs = MAX_ABSENT_MS } = options
  /** The stamps of the last look, if they were new. */
  let found: Stamps | undefined
  let goneSinceMs: number | undefined
  let stopped = false
  let timer: ReturnType<typeof setTimeout> | undefined

  /** Returns the time until the next look. */
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
