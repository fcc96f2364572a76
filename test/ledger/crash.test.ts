// What survives `kill -9`: all but the last second of ended requests, the knowledge that others were
// under way, and what has been spent. And two gates that share one file.

import { afterAll, beforeAll, beforeEach, expect, test } from 'bun:test'
import { start, until } from '../support/binary.ts'
import { bearer, eventually } from '../support/sink.ts'
import {
  answerUnary,
  beginStream,
  type Device,
  HAIKU,
  haikuCost,
  type LedgerScene,
  ledgerScene,
  NOTHING,
  sum,
  told,
  type Used,
} from './scene.ts'

const BODY = { model: HAIKU, max_tokens: 1000 }
const USED: Used = { input: 1000, output: 900, cacheRead: 70, cacheCreation: 3 }
const LOSS_MS = 1000
/** Of each client between two requests: what is tried here is the ledger, not the gate's pace. */
const PAUSE_MS = 100

let scene: LedgerScene
/** When each answer was complete, as the client saw it. */
let answered: number[] = []

beforeAll(async () => {
  scene = await ledgerScene()
})
afterAll(() => scene.close())
beforeEach(() => {
  answered = []
  scene.upstream.seen.length = 0
  scene.upstream.respond((_request, response) => answerUnary(response, USED))
})

/** Forty at once, until there were so many, or no more are answered. */
async function load(device: Device, most: number, pauseMs = 0): Promise<void> {
  let asked = 0
  const one = async (): Promise<void> => {
    while (asked++ < most) {
      try {
        const response = await device.post(BODY)
        await response.bytes()
        if (response.status !== 200) return
        answered.push(performance.now())
        if (pauseMs > 0) await Bun.sleep(pauseMs)
      } catch {
        return
      }
    }
  }
  await Promise.all(Array.from({ length: 40 }, one))
}

test('kill -9 under load loses at most a second of rows, and nothing is counted twice', async () => {
  const device = await scene.device()
  scene.upstream.respond((_request, response, body) => {
    if (JSON.parse(body.toString('utf8')).holds) beginStream(response, USED)
    else answerUnary(response, USED)
  })
  const held = Array.from({ length: 7 }, async () => {
    const response = await device.post({ ...BODY, holds: true })
    await response.bytes().catch(() => {})
  })
  await Bun.sleep(LOSS_MS)
  const loading = load(device, 100_000, PAUSE_MS)
  await until(() => answered.length > 300)
  // Those are safe by then, and the others may be lost.
  await Bun.sleep(LOSS_MS + 200)
  const killedAt = performance.now()
  await scene.gate.stop('SIGKILL')
  await loading
  await Promise.all(held)
  const given = scene.upstream.seen.length - 7

  await scene.restart()
  const { device: hash } = (await device.own())['metrics'][0]
  const stats = await eventually(async () => {
    const sums = await told(scene, '--device', hash)
    return sums['lost'] >= 7 && sums
  })
  const closed = stats['requests'] - stats['lost']
  const safe = answered.filter((at) => at < killedAt - LOSS_MS).length
  expect(safe).toBeGreaterThan(300)
  expect(closed).toBeGreaterThanOrEqual(safe)
  expect(closed).toBeLessThanOrEqual(given)
  expect(stats['tokens']).toEqual(sum(Array.from({ length: closed }, () => USED)))
  expect(stats['costMicroUsd']).toBe(closed * haikuCost(USED))
  // The seven, and those of the load whose openings had been written.
  expect(stats['lost']).toBeLessThanOrEqual(7 + 40)
  process.stderr.write(
    `  ${answered.length} answered, ${closed} in the ledger, ${stats['lost']} lost\n`,
  )

  const rows = (await scene.admin('/admin/usage?limit=100'))['metrics'] as any[]
  expect(rows.filter(({ end }) => end === null)).toEqual([])
  const { metrics } = await device.own()
  for (const row of metrics.filter(({ end }: any) => end === 'lost')) {
    expect(row).toMatchObject({ usage: 'unknown', inputTokens: null, costMicroUsd: null })
  }
})

test('kill -9 does not reset a cap: spending until a second before still counts', async () => {
  const cost = haikuCost(USED)
  const device = await scene.device('--spend-cap', '2')
  const cap = 2_000_000
  await load(device, 200)
  // No more than a second is allowed to be lost: it has passed for all of these.
  await Bun.sleep(LOSS_MS)
  expect(answered).toHaveLength(200)
  await scene.gate.stop('SIGKILL')
  await scene.restart()
  for (let tries = 0; tries < 30; tries++) await load(device, 100)
  const capped = await device.post(BODY)
  expect(capped.status).toBe(429)
  expect(((await capped.json()) as any).error.type).toBe('billing_error')
  expect(scene.upstream.seen.length * cost).toBeLessThanOrEqual(cap)
  expect(answered.length).toBeGreaterThan(200)
})

test('two gates on one file: every row of both, sums right, and nothing of the other is lost', async () => {
  const beside = await start(scene.env)
  const device = await scene.device()
  try {
    const ask = async (url: string): Promise<void> => {
      for (let count = 0; count < 50; count++) {
        const response = await fetch(`${url}/v1/messages`, {
          method: 'POST',
          headers: { ...bearer(device.token), 'content-type': 'application/json' },
          body: JSON.stringify(BODY),
        })
        expect(response.status).toBe(200)
        await response.bytes()
      }
    }
    const urls = [scene.gate.url, beside.url]
    await Promise.all(Array.from({ length: 8 }, (_, index) => ask(urls[index % 2] ?? '')))
    const [row] = await device.rows(400)
    // One that goes away in order, or not, leaves the other's rows alone.
    expect(await beside.stop('SIGTERM')).toBe(0)
    const sums = await told(scene, '--device', row?.['device'])
    expect(sums).toMatchObject({ requests: 400, succeeded: 400, lost: 0 })
    expect(sums['tokens']).toEqual(sum(Array.from({ length: 400 }, () => USED)))
    for (const { output } of [scene.gate, beside]) expect(output()).not.toContain('ledger cannot')
  } finally {
    await beside.stop()
  }
})

test('a gate that starts beside another takes none of its open rows for lost', async () => {
  const device = await scene.device()
  let end = (): void => {}
  scene.upstream.respond((_request, response) => {
    end = () => answerUnary(response, { ...NOTHING, input: 5, output: 5 })
  })
  const asked = device.post(BODY)
  await eventually(async () => (await device.own())['metrics'].length === 1)
  const beside = await start(scene.env)
  await Bun.sleep(300)
  expect((await device.own())['metrics'][0].end).toBeNull()
  end()
  await (await asked).bytes()
  const [row] = await device.rows(1)
  expect(row).toMatchObject({ end: 'complete', usage: 'exact', inputTokens: 5 })
  await beside.stop()
})

test('gates that start at once on a file that is not there yet all find it made', async () => {
  const env = { ...scene.env, DATABASE_URL: `sqlite:${scene.folder}/new/postern.db` }
  const gates = await Promise.all(Array.from({ length: 4 }, () => start(env)))
  for (const gate of gates) {
    expect(await (await fetch(`${gate.url}/readyz`)).json()).toEqual({ status: 'ready' })
    await gate.stop()
  }
})
