// A run of this folder's: an attack at the size that it is worded in, against the compiled binary.

import type { Finding, State } from './table.ts'

export type Size = 'full' | 'quick'

export interface Own {
  readonly name: string
  /** Without it, skipped; and how to get it. */
  readonly needs?: Tool
  run(size: Size): Promise<Finding>
  /** Mostly waits, and counts no time or memory that others could disturb. */
  readonly beside?: true
}

export type Tool = 'faketime' | 'slowhttptest'

/** By their Debian packages. */
export const HOW_TO_GET: Readonly<Record<Tool, string>> = {
  faketime: 'apt-get install faketime',
  slowhttptest: 'apt-get install slowhttptest',
}

/** Held where all of it is so; and broken by name where not. */
export function judged(
  seen: string,
  size: Size,
  bounds: Readonly<Record<string, boolean>>,
  differing: Readonly<Record<string, boolean>> = {},
): Finding {
  const missed = (of: Readonly<Record<string, boolean>>): string[] =>
    Object.entries(of).flatMap(([name, holds]) => (holds ? [] : [name]))
  const [broken, otherwise] = [missed(bounds), missed(differing)]
  const state: State =
    broken.length > 0
      ? 'broken'
      : otherwise.length > 0
        ? 'otherwise'
        : size === 'quick'
          ? 'shortened'
          : 'held'
  const not = [...broken, ...otherwise]
  return { state, seen: not.length > 0 ? `NOT ${not.join(', NOT ')}: ${seen}` : seen }
}

export const MIB = 1_048_576
export const mib = (bytes: number): string =>
  `${(bytes / MIB).toFixed(bytes < 10 * MIB ? 1 : 0)} MiB`
export const ms = (value: number): string => `${value.toFixed(value < 10 ? 2 : 0)} ms`

/** The value that `share` of them do not exceed. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

/** The most that `look` gave from now until `stop`. */
export function peakOf(look: () => number, everyMs = 20): { stop(): number } {
  let most = look()
  const timer = setInterval(() => {
    most = Math.max(most, look())
  }, everyMs)
  return {
    stop() {
      clearInterval(timer)
      return Math.max(most, look())
    },
  }
}
