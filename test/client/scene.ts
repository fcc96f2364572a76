// A folder of a test's own, and a tempo in which seconds are milliseconds.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { TEMPO, type Tempo } from '../../src/client/tempo.ts'
import { PATIENCE_MS } from '../support/patience.ts'

export function folder(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'postern-client-'))
  return { path: join(path, 'kept'), remove: () => rmSync(path, { recursive: true, force: true }) }
}

/**
 * A lost answer is given up soon; the grace of the gate has to be made as short. A gate that answers,
 * however slow the machine, is waited for.
 */
export const FAST: Tempo = {
  ...TEMPO,
  healthTimeoutMs: PATIENCE_MS,
  standingTimeoutMs: PATIENCE_MS,
  bootstrapTimeoutMs: PATIENCE_MS,
  refreshTimeoutMs: PATIENCE_MS,
  resendWithinMs: 600,
  resendPauseMs: 10,
}

/** A clock that a test moves, and timers that run when it says so. */
export function manual(from: Tempo = FAST): {
  readonly tempo: Tempo
  aheadMs: number
  readonly delays: number[]
  /** Runs what is due next; resolves when its requests have had their answers. */
  runNext(): void
  pending(): number
} {
  const waiting: { run: () => void }[] = []
  const scene = {
    aheadMs: 0,
    delays: [] as number[],
    pending: () => waiting.length,
    runNext() {
      waiting.shift()?.run()
    },
    tempo: {
      ...from,
      now: () => Date.now() + scene.aheadMs,
      later(delayMs: number, run: () => void) {
        const entry = { run }
        waiting.push(entry)
        scene.delays.push(delayMs)
        return () => {
          const at = waiting.indexOf(entry)
          if (at >= 0) waiting.splice(at, 1)
        }
      },
    },
  }
  return scene
}
