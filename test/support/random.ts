// Chance that can be had again: a property test says its seed when it fails, and POSTERN_SEED
// repeats that run.

export interface Random {
  /** From 0 to 1. */
  next(): number
  /** A whole number from 0 to below `bound`. */
  int(bound: number): number
  pick<T>(from: readonly T[]): T
}

/** mulberry32. */
export function random(seed: number): Random {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
  const int = (bound: number): number => Math.floor(next() * bound)
  return { next, int, pick: (from) => from[int(from.length)] as never }
}

export function seeded(body: (random: Random) => void | Promise<void>): () => Promise<void> {
  return async () => {
    const seed = Number(process.env['POSTERN_SEED'] ?? Math.floor(Math.random() * 2 ** 32))
    try {
      await body(random(seed))
    } catch (error) {
      console.error(`POSTERN_SEED=${seed} repeats this`)
      throw error
    }
  }
}
