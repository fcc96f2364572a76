// Each toxic between the gate and its key set, both ways: while none was ever read, nobody is let
// in and it is said why; what has been read once serves on, and no request waits for the network.

import { describe, expect, setDefaultTimeout, test } from 'bun:test'
import { bearer, errorOf, eventually } from '../support/sink.ts'
import { soon } from '../support/patience.ts'
import { type FaultScene, faultScene, leftNothing } from './scene.ts'
import type { Shape } from './shapes.ts'
import type { Direction, Kind, Toxic, ToxicProxy } from './toxic.ts'
import { LONG } from '../support/long.ts'

// A scene waits for its turn (scene.ts), and what is slow on purpose is slower on a busy machine.
setDefaultTimeout(600_000)

/** Between requests, for the sake of all other tests. */
const PAUSE_MS = LONG ? 0 : 100

const ASKED: readonly Shape[] = ['message', 'chat', 'chat_whole']

interface Case {
  readonly kind: Kind
  readonly direction: Direction
  readonly toxic?: Toxic
  /** The set is still read, late or slowly. */
  readonly harmless?: boolean
}

/** One direction of each, unless all of it is wanted. */
const both = (toxic: Toxic, first: Direction, harmless = false): Case[] => {
  const other: Direction = first === 'upstream' ? 'downstream' : 'upstream'
  const directions: readonly Direction[] = LONG ? [first, other] : [first]
  return directions.map((direction) => ({ kind: toxic.kind, direction, toxic, harmless }))
}

const CASES: readonly Case[] = [
  ...both({ kind: 'latency', latencyMs: 150, jitterMs: 100 }, 'upstream', true),
  ...both({ kind: 'bandwidth', bytesPerSecond: 1000 }, 'downstream', true),
  ...both({ kind: 'slow_close', delayMs: 300 }, 'upstream', true),
  ...both({ kind: 'slicer', averageBytes: 7, variationBytes: 6, delayMs: 1 }, 'downstream', true),
  ...both({ kind: 'timeout', timeoutMs: 200 }, 'downstream'),
  ...both({ kind: 'reset_peer', timeoutMs: 0 }, 'upstream'),
  ...both({ kind: 'limit_data', bytes: 60 }, 'upstream'),
  // In the middle of the key itself.
  {
    kind: 'limit_data',
    direction: 'downstream',
    toxic: { kind: 'limit_data', bytes: 300 },
  },
  { kind: 'down', direction: 'downstream' },
]

async function ail(keys: ToxicProxy, { toxic, direction }: Case): Promise<void> {
  if (toxic) keys.set(direction, toxic)
  else await keys.down()
}

const isReady = async ({ gate }: FaultScene): Promise<boolean> =>
  (await fetch(`${gate.url}/readyz`, { keepalive: false })).ok

async function keepsOut(at: FaultScene): Promise<void> {
  const headers = bearer(await at.issuer.token())
  const asked = fetch(`${at.gate.url}/v1/models`, { headers, keepalive: false })
  const response = await soon(asked, 'a refusal')
  expect(response.status).toBe(503)
  expect(errorOf(await response.text())['code']).toBe('keys_unavailable')
  expect(await isReady(at)).toBe(false)
}

describe.each(CASES.map((each) => [`${each.kind} ${each.direction}`, each] as const))(
  '%s before the key set',
  (_name, each) => {
    test.concurrent(
      'admits nobody without a key set, and keeps admitting with the last one',
      async () => {
        const at = await faultScene({
          ail: ({ keys }) => ail(keys, each),
          unready: true,
          env: { JWKS_REFRESH_SECONDS: '1' },
        })
        try {
          if (!each.harmless) {
            await keepsOut(at)
            await at.keys.heal()
          }
          await eventually(() => isReady(at))
          await ail(at.keys, each)
          const before = at.keys.links.length
          // Long enough for the set to be asked for again, and streams all that time.
          const until = performance.now() + (LONG ? 6000 : 2200)
          const outcomes = []
          while (performance.now() < until) {
            const token = await at.issuer.token({ sub: `user-${outcomes.length}` })
            const asked = ASKED.map((shape) =>
              at.ask(shape, shape.startsWith('message') ? {} : { token }),
            )
            outcomes.push(...(await Promise.all(asked.map(({ outcome }) => outcome))))
            await Bun.sleep(PAUSE_MS)
          }
          expect(await at.judged(outcomes, { clientWell: true, upstreamWell: true })).toEqual([])
          expect(outcomes.every(({ whole, status }) => whole && status === 200)).toBe(true)
          expect(await isReady(at)).toBe(true)
          if (each.toxic) expect(at.keys.links.length).toBeGreaterThan(before)
          const told = at.gate.lines().some(({ msg }) => msg === 'key set cannot be read')
          expect(told).toBe(each.harmless !== true)
          await at.keys.heal()
          await at.rest()
          expect(await leftNothing(at)).toEqual([])
        } finally {
          await at.close()
        }
      },
    )
  },
)
