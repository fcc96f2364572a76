// Rounds of chance that can be had again. Each round has a seed of its own, and a round that fails
// says it: FUZZ_SEED=<it> FUZZ_ROUNDS=1 repeats that round alone. FUZZ_ROUNDS alone asks for more.

import { howMany } from '../support/long.ts'
import { type Random, random } from '../support/random.ts'

const given = process.env['FUZZ_SEED']
const rounds = process.env['FUZZ_ROUNDS']
const first = given === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(given)

/** One of the file's own rounds; what it has found wrong, it throws. */
export type Round = (random: Random, round: number) => void | Promise<void>

/** What `just test-long` does for each round of `bun test`. */
const LONGER = 30

/**
 * `usual` is how many rounds `bun test` takes, with another seed each time; `share` is
 * the part of FUZZ_ROUNDS that is its own.
 */
export function fuzz(name: string, usual: number, body: Round, share = 1): () => Promise<void> {
  return async () => {
    const count =
      rounds === undefined
        ? howMany(usual, LONGER * usual)
        : Math.max(1, Math.round(Number(rounds) * share))
    console.log(`fuzz ${name}: FUZZ_SEED=${first} FUZZ_ROUNDS=${count}`)
    for (let round = 0; round < count; round += 1) {
      const seed = (first + round) >>> 0
      try {
        await body(random(seed), round)
      } catch (error) {
        console.error(`fuzz ${name}: FUZZ_SEED=${seed} FUZZ_ROUNDS=1 repeats this round`)
        throw error
      }
    }
  }
}

/** As long as somebody asks for that many rounds. */
export const FUZZ_MS = rounds === undefined ? howMany(120_000, 1_200_000) : 24 * 3600 * 1000

export const chance = ({ next }: Random, of: number): boolean => next() < of

/** So many of `from`, any of them twice. */
export function some<T>(random: Random, from: readonly T[], most: number): T[] {
  return Array.from({ length: random.int(most + 1) }, () => random.pick(from))
}

/** A text with a few characters put in, taken out, doubled or changed. */
export function mangled(random: Random, text: string, alphabet: readonly string[]): string {
  let now = text
  for (let times = 1 + random.int(3); times > 0; times -= 1) {
    const at = random.int(now.length + 1)
    const end = at + random.int(3)
    const put = random.pick(['', random.pick(alphabet), now.slice(at, end).repeat(2)])
    now = now.slice(0, at) + put + now.slice(random.pick([at, end]))
  }
  return now
}
