// Each toxic between the gate and its upstreams, both ways. Whatever it does: no byte that reached
// the gate is lost, no end is a false one, nothing stands still or stays behind, and the ledger says
// what the upstream's own accounts say. `POSTERN_LONG=1 bun test ./test/faults` runs all of it.

import { describe, expect, setDefaultTimeout, test } from 'bun:test'
import { lostBytes, type Outcome } from './judge.ts'
import { type Asked, type FaultScene, faultScene, HASTY, leftNothing } from './scene.ts'
import { SHAPES } from './shapes.ts'
import type { Direction, Kind, Toxic } from './toxic.ts'
import { LONG } from '../support/long.ts'

// A scene waits for its turn (scene.ts), and what is slow on purpose is slower on a busy machine.
setDefaultTimeout(600_000)

/** Of each shape. */
const COUNT = LONG ? 12 : 2
const PLACES = SHAPES.length * COUNT
const GROWTH_BYTES = 48 * 1024 * 1024

interface Case {
  readonly kind: Kind
  readonly direction: Direction
  readonly toxic?: Toxic
  /** Set while answers are on their way, and not before. */
  readonly midway?: boolean
  /** Late or slow, and nothing worse. */
  readonly harmless?: boolean
  /** It cuts in order, so that what passed it has arrived. */
  readonly orderly?: boolean
  readonly longOnly?: boolean
}

const up = 'upstream'
const down = 'downstream'
const CASES: readonly Case[] = [
  ...both({ kind: 'latency', latencyMs: 60, jitterMs: 40 }, { harmless: true }),
  { ...one({ kind: 'bandwidth', bytesPerSecond: 1_000_000 }, up), harmless: true },
  { ...one({ kind: 'bandwidth', bytesPerSecond: 20_000 }, down), harmless: true },
  ...both({ kind: 'slow_close', delayMs: 300 }, { harmless: true }),
  {
    ...one({ kind: 'slicer', averageBytes: 20_000, variationBytes: 19_000, delayMs: 1 }, up),
    harmless: true,
  },
  {
    ...one({ kind: 'slicer', averageBytes: 60, variationBytes: 59, delayMs: 1 }, down),
    harmless: true,
  },
  ...both({ kind: 'timeout', timeoutMs: 400 }, { orderly: true }),
  { ...one({ kind: 'timeout', timeoutMs: 400 }, down), midway: true, orderly: true },
  { ...one({ kind: 'timeout', timeoutMs: 0 }, down), midway: true },
  { ...one({ kind: 'timeout', timeoutMs: 0 }, up), longOnly: true },
  { ...one({ kind: 'reset_peer', timeoutMs: 0 }, down), midway: true },
  { ...one({ kind: 'reset_peer', timeoutMs: 0 }, up), longOnly: true },
  { ...one({ kind: 'reset_peer', timeoutMs: 150 }, down), longOnly: true },
  one({ kind: 'limit_data', bytes: 0, variationBytes: 2000 }, up),
  { ...one({ kind: 'limit_data', bytes: 0, variationBytes: 9000 }, down), orderly: true },
  { ...one({ kind: 'limit_data', bytes: 0 }, down), orderly: true, longOnly: true },
  { ...one({ kind: 'limit_data', bytes: 0, variationBytes: 300_000 }, up), longOnly: true },
  { kind: 'down', direction: down, midway: true, orderly: true },
  { kind: 'down', direction: up },
]

function one(toxic: Toxic, direction: Direction, more: Partial<Case> = {}): Case {
  return { kind: toxic.kind, direction, toxic, ...more }
}

function both(toxic: Toxic, more: Partial<Case>): Case[] {
  return [one(toxic, up, more), one(toxic, down, more)]
}

/** All at once, so that breaks are waited for once. */
function askAll(at: FaultScene): Asked[] {
  return SHAPES.flatMap((shape) =>
    Array.from({ length: COUNT }, (_, index) => at.ask(shape, { keep: index % 2 === 0 })),
  )
}

async function ail(at: FaultScene, { toxic, direction }: Case): Promise<void> {
  if (toxic) at.back.set(direction, toxic)
  else await at.back.down()
}

async function ask(at: FaultScene, each: Case): Promise<Outcome[]> {
  if (!each.midway) await ail(at, each)
  const asked = askAll(at)
  if (each.midway) {
    await Bun.sleep(100)
    await ail(at, each)
  }
  const outcomes = await Promise.all(asked.map(({ outcome }) => outcome))
  await at.back.heal()
  return outcomes
}

function lost(at: FaultScene, outcomes: readonly Outcome[]): string[] {
  const byPort = new Map(at.back.links.map((link) => [link.localPort, link]))
  return outcomes.flatMap((outcome) => {
    const counted = at.upstream.counted.get(outcome.asking.id)
    const link = counted && byPort.get(counted.remotePort)
    return link ? lostBytes(outcome, link.passed.downstream) : []
  })
}

/** Those that break something wait for it, each in a scene of its own; the others take turns. */
const SCENES = Map.groupBy(
  CASES.filter(({ longOnly }) => LONG || !longOnly),
  ({ kind, direction, midway, harmless }) =>
    harmless ? kind : `${kind} ${direction}${midway ? ' midway' : ''}`,
)

describe.each([...SCENES])('%s before the upstream', (_name, cases) => {
  test.concurrent(
    'loses nothing that had arrived, ends nothing falsely, leaves nothing behind',
    async () => {
      // Just as many places as are asked for at once: one that is not given back is missed.
      const places = { MAX_UPSTREAM_CONCURRENCY: String(PLACES) }
      const hasty = cases.some(({ toxic }) => toxic?.kind === 'timeout' && toxic.timeoutMs === 0)
      const at = await faultScene({ env: { ...places, ...(hasty && HASTY) } })
      try {
        const before = at.gate.rssBytes()
        for (const each of cases) {
          const outcomes = await ask(at, each)
          const circumstances = { clientWell: true, upstreamWell: each.harmless === true }
          expect(await at.judged(outcomes, circumstances)).toEqual([])
          if (each.orderly) expect(lost(at, outcomes)).toEqual([])
          // It did break something, where that is what it is for.
          const broke = outcomes.some(({ whole, status }) => !whole || status >= 500)
          expect([each.kind, broke]).toEqual([each.kind, each.harmless !== true])
          at.back.forget()
        }
        // And everything works again, on whatever connections there are.
        const after = await Promise.all(askAll(at).map(({ outcome }) => outcome))
        expect(await at.judged(after, { clientWell: true, upstreamWell: true })).toEqual([])
        await at.rest()
        expect(at.gate.rssBytes() - before).toBeLessThan(GROWTH_BYTES)
        expect(await leftNothing(at)).toEqual([])
      } finally {
        await at.close()
      }
    },
  )
})
