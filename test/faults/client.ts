// Each toxic between clients and the gate, both ways. Clients may miss what the network lost; no
// answer of theirs ends falsely, the upstream stops working for those who are gone, and the ledger
// still says what the upstream's own accounts say.

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { PATIENCE_MS } from '../support/patience.ts'
import { eventually } from '../support/sink.ts'
import type { Outcome } from './judge.ts'
import {
  type Asked,
  type AskOptions,
  type FaultScene,
  faultScene,
  HASTY,
  leftNothing,
} from './scene.ts'
import { SHAPES } from './shapes.ts'
import { type Direction, type Kind, type Toxic, type ToxicProxy, toxicProxy } from './toxic.ts'
import { LONG } from '../support/long.ts'

// A scene waits for its turn (scene.ts), and what is slow on purpose is slower on a busy machine.
setDefaultTimeout(600_000)

/** Of each shape. */
const COUNT = LONG ? 12 : 2
/** Of 228 streams at once, or of 1,296. */
const GROWTH_BYTES = (LONG ? 160 : 64) * 1024 * 1024

interface Case {
  readonly name: string
  readonly kind: Kind
  readonly direction: Direction
  readonly toxic?: Toxic
  readonly midway?: boolean
  /** Until then. */
  readonly beforehand?: Toxic
  /** Late or slow, and nothing worse. */
  readonly harmless?: boolean
  readonly asking?: Omit<AskOptions, 'through'>
  /** Of another number than `COUNT`. */
  readonly count?: number
}

const up = 'upstream'
const down = 'downstream'

function one(toxic: Toxic, direction: Direction, more: Partial<Case> = {}): Case {
  const when = more.midway ? ' midway' : ''
  return { name: `${toxic.kind} ${direction}${when}`, kind: toxic.kind, direction, toxic, ...more }
}
const harmless = { harmless: true }
const midway = { midway: true }

/** More than all kernels and the proxy hold. */
const LARGE = { events: 600, eventBytes: 20_000, gapMs: 0 }

const CASES: readonly Case[] = [
  one({ kind: 'latency', latencyMs: 60, jitterMs: 40 }, up, harmless),
  one({ kind: 'latency', latencyMs: 60, jitterMs: 40 }, down, harmless),
  one({ kind: 'bandwidth', bytesPerSecond: 1_000_000 }, up, harmless),
  one({ kind: 'bandwidth', bytesPerSecond: 20_000 }, down, harmless),
  one({ kind: 'slow_close', delayMs: 300 }, up, harmless),
  one({ kind: 'slow_close', delayMs: 300 }, down, harmless),
  one({ kind: 'slicer', averageBytes: 20_000, variationBytes: 19_000, delayMs: 1 }, up, harmless),
  one({ kind: 'slicer', averageBytes: 60, variationBytes: 59, delayMs: 1 }, down, harmless),
  one({ kind: 'timeout', timeoutMs: 400 }, up),
  one({ kind: 'timeout', timeoutMs: 150 }, down, { ...midway, asking: { events: 60 } }),
  // Nobody closes: the gate itself has to, and the upstream must not be kept.
  one({ kind: 'timeout', timeoutMs: 0 }, down, { ...midway, asking: LARGE, count: 1 }),
  one({ kind: 'timeout', timeoutMs: 0 }, up, {
    ...midway,
    beforehand: { kind: 'bandwidth', bytesPerSecond: 1_000_000 },
    asking: { uploadBytes: 2_000_000 },
  }),
  one({ kind: 'reset_peer', timeoutMs: 100 }, up),
  one({ kind: 'reset_peer', timeoutMs: 0 }, down, midway),
  one({ kind: 'limit_data', bytes: 0, variationBytes: 3000 }, up),
  one({ kind: 'limit_data', bytes: 0, variationBytes: 9000 }, down),
  { name: 'down', kind: 'down', direction: down },
  { name: 'down midway', kind: 'down', direction: down, midway: true, asking: { events: 60 } },
]

/** All cases at once; the last test takes every one of them again. */
const PLACES = CASES.length * SHAPES.length * COUNT

const env = { MAX_UPSTREAM_CONCURRENCY: String(PLACES) }
/** One for those whom the gate itself must end, and one for all others. */
let hasty: FaultScene
let patient: FaultScene
let before = 0
beforeAll(async () => {
  hasty = await faultScene({ env: { ...env, ...HASTY } })
  patient = await faultScene({ env })
  before = patient.gate.rssBytes()
})
afterAll(async () => {
  await hasty.close()
  await patient.close()
})
const sceneOf = ({ toxic }: Case): FaultScene =>
  toxic?.kind === 'timeout' && toxic.timeoutMs === 0 ? hasty : patient

const askAll = (
  at: FaultScene,
  through: ToxicProxy,
  count: number,
  asking: Case['asking'],
): Asked[] =>
  SHAPES.flatMap((shape) =>
    Array.from({ length: count }, (_, index) =>
      at.ask(shape, { ...asking, through, keep: index % 2 === 0 }),
    ),
  )

async function ask(at: FaultScene, each: Case, proxy: ToxicProxy): Promise<Outcome[]> {
  const { toxic, beforehand, direction, asking, count = COUNT } = each
  if (beforehand) proxy.set(direction, beforehand)
  const ail = async (): Promise<void> => {
    if (toxic) proxy.set(direction, toxic)
    else await proxy.down()
  }
  if (!each.midway) await ail()
  const asked = askAll(at, proxy, count, asking)
  if (each.midway) {
    await Bun.sleep(150)
    await ail()
  }
  const outcomes = await Promise.all(
    asked.map(async ({ outcome, leave }) => {
      // A client that nobody tells anything gives up in the end.
      const patience = setTimeout(leave, each.harmless ? PATIENCE_MS : 5000, 'fin')
      const seen = await outcome
      clearTimeout(patience)
      return seen
    }),
  )
  await proxy.heal()
  return outcomes
}

describe('between a client and the gate', () => {
  let seed = 100
  test.concurrent.each(CASES.map((each) => [each.name, each] as const))(
    '%s',
    async (_name, each) => {
      const at = sceneOf(each)
      const proxy = await toxicProxy(at.gate.port, (seed += 1))
      try {
        const outcomes = await ask(at, each, proxy)
        const well = each.harmless === true
        const circumstances = { clientWell: well, upstreamWell: true }
        expect(await at.judged(outcomes, circumstances)).toEqual([])
        const harmed = outcomes.some(({ whole, status }) => !whole || status !== 200)
        expect(harmed).toBe(!well)
        // Nobody goes on writing for who is gone.
        await eventually(async () =>
          outcomes.every(({ asking }) => at.upstream.counted.get(asking.id)?.over !== false),
        )
        await eventually(async () => proxy.open === 0)
      } finally {
        await proxy.close()
      }
    },
  )
})

test('afterwards both gates are as they were, and everything works', async () => {
  await Promise.all([hasty.rest(), patient.rest()])
  const at = patient
  const everybody = askAll(at, at.front, PLACES / SHAPES.length, { uploadBytes: 1000 })
  const after = await Promise.all(everybody.map(({ outcome }) => outcome))
  expect(await at.judged(after, { clientWell: true, upstreamWell: true })).toEqual([])
  await at.rest()
  expect(at.gate.rssBytes() - before).toBeLessThan(GROWTH_BYTES)
  expect([...(await leftNothing(hasty)), ...(await leftNothing(patient))]).toEqual([])
})
