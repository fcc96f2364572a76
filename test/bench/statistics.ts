// What is said of several rounds of one figure, and the order in which a round goes.

import type { Random } from '../support/random.ts'

export interface Summary {
  readonly median: number
  /** The least and the most of the rounds. */
  readonly least: number
  readonly most: number
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length / 2
  const upper = sorted[Math.floor(middle)]
  if (upper === undefined) throw new RangeError('the median of nothing')
  const lower = sorted[Math.ceil(middle) - 1] ?? upper
  return (lower + upper) / 2
}

export function summary(values: readonly number[]): Summary {
  return { median: median(values), least: Math.min(...values), most: Math.max(...values) }
}

/** `share` between 0 and 1: the least value that so many of them are not above. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  const found = sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]
  if (found === undefined) throw new RangeError('a percentile of nothing')
  return found
}

export function shuffled<T>(items: readonly T[], random: Random): T[] {
  const order = [...items]
  for (let last = order.length - 1; last > 0; last--) {
    const other = random.int(last + 1)
    const kept = order[last] as T
    order[last] = order[other] as T
    order[other] = kept
  }
  return order
}
