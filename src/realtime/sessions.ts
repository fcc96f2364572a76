// All WebSockets of the gate: one timer watches them, and one stop ends them.

import { Unordered } from '../turn/unordered.ts'
import {
  RealtimeSession,
  type SessionParts,
  type SessionStart,
  type SessionTimes,
} from './session.ts'

export interface RealtimeSessions {
  start(begun: SessionStart): RealtimeSession
  /** Ends each when its response is done; resolves when none is left. */
  drain(): Promise<void>
  breakAll(): void
  stop(): void
  readonly running: number
}

const WATCH_MS = 250

export function sessions(
  parts: Omit<SessionParts, 'running'>,
  times: () => SessionTimes,
): RealtimeSessions {
  const running = new Unordered<RealtimeSession>()
  let isDraining = false
  let watch: ReturnType<typeof setInterval> | undefined
  const look = (): void => {
    const now = performance.now()
    const at = times()
    for (const each of running.all()) {
      try {
        each.watch(now, at)
      } catch (bug) {
        each.onBug(bug)
      }
    }
    if (running.size > 0) return
    clearInterval(watch)
    watch = undefined
  }
  return {
    start(begun) {
      watch ??= setInterval(look, WATCH_MS)
      const session = new RealtimeSession({ ...parts, running }, begun)
      if (isDraining) session.drain()
      return session
    },
    async drain() {
      isDraining = true
      for (const each of running.all()) each.drain()
      while (running.size > 0) await Bun.sleep(WATCH_MS)
    },
    breakAll() {
      for (const each of running.all()) each.break()
    },
    stop() {
      clearInterval(watch)
    },
    get running() {
      return running.size
    },
  }
}
