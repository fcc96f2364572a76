// Reports over very many day sums, asked for by an operator and by devices while the gate answers
// requests: what they are told is right, and no request waits for them.

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { SUM_COLUMNS } from '../../src/ledger/columns.ts'
import { DAY_MS } from '../../src/turn/calendar.ts'
import { store } from '../../src/database/store.ts'
import { TABLES } from '../../src/gate/migrations.ts'
import { bearer } from '../support/sink.ts'
import {
  ADMIN_TOKEN,
  answerUnary,
  type Device,
  HAIKU,
  type Json,
  type LedgerScene,
  ledgerScene,
  NOTHING,
} from './scene.ts'
import { howMany } from '../support/long.ts'

const DAYS = 90
const DEVICES = howMany(1500, 3000)

let scene: LedgerScene
let device: Device

beforeAll(async () => {
  scene = await ledgerScene()
  scene.upstream.respond((_request, response) => answerUnary(response, NOTHING))
  await scene.gate.stop('SIGTERM')
  fill()
  await scene.restart()
  device = await scene.device()
})
afterAll(() => scene.close())

/** In full 270,000 rows: 3,000 devices over three months. */
function fill(): void {
  const opened = store(`${scene.folder}/data/postern.db`, TABLES).open()
  if (!opened.ok) throw new Error(opened.reason)
  const { database } = opened
  const today = Math.floor(Date.now() / DAY_MS)
  database.run(`
    INSERT INTO ledger_day (day, device, org, model,
      ${SUM_COLUMNS.join(', ')})
    WITH RECURSIVE
      days(day) AS (SELECT ${today} UNION ALL SELECT day - 1 FROM days LIMIT ${DAYS}),
      devices(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM devices LIMIT ${DEVICES})
    SELECT day, printf('%064x', n), 'org-' || (n % 20), '${HAIKU}',
      ${SUM_COLUMNS.map((name) => (name === 'requests' || name === 'succeeded' ? '1' : '0')).join(', ')}
    FROM days, devices`)
  database.close()
}

const asked = async (path: string): Promise<Response> =>
  fetch(scene.gate.url + path, { headers: bearer(ADMIN_TOKEN) })

/** How long each of the requests took that were answered while `work` went on, one after the other. */
async function takenDuring(work: Promise<unknown>): Promise<number[]> {
  const taken: number[] = []
  const over = new AbortController()
  const ended = work.finally(() => over.abort())
  while (!over.signal.aborted) {
    const began = performance.now()
    const response = await device.post({ model: HAIKU, max_tokens: 1 })
    await response.bytes()
    expect(response.status).toBe(200)
    taken.push(performance.now() - began)
  }
  await ended
  return taken
}

const middle = (taken: readonly number[]): number =>
  taken.toSorted((a, b) => a - b)[Math.floor(taken.length / 2)] ?? Infinity

test('the whole, one organisation and one model, to the row', async () => {
  const whole = await scene.admin(`/admin/stats?until=${new Date().toISOString()}`)
  expect(whole).toMatchObject({ totalRequests: DAYS * DEVICES, successRate: 100 })
  const org = await scene.admin('/admin/stats?org=org-3')
  expect(org['totalRequests']).toBe((DAYS * DEVICES) / 20)
  const one = await scene.admin(`/admin/stats?device=${(7).toString(16).padStart(64, '0')}`)
  expect(one['totalRequests']).toBe(DAYS)
  expect((await scene.admin('/admin/stats?model=none'))['totalRequests']).toBe(0)
})

test('requests are answered all the while, and about as soon as without', async () => {
  const alone = await takenDuring(Bun.sleep(500))
  const paths = ['/admin/stats', '/admin/usage', '/admin/stats?org=org-1', '/admin/usage?model=x']
  const began = performance.now()
  const beside = await takenDuring(Promise.all(paths.map(asked)))
  const reportsMs = performance.now() - began
  // A report that held the loop would let one or two of them through.
  expect(beside.length).toBeGreaterThan(20)
  expect(Math.max(...beside)).toBeLessThan(reportsMs / 2)
  expect(middle(beside)).toBeLessThan(middle(alone) * 4 + 20)
  const ms = (taken: readonly number[]): string =>
    `${middle(taken).toFixed(1)} ms, ${Math.max(...taken).toFixed(1)} at the most`
  process.stderr.write(
    `  alone ${ms(alone)}; beside ${ms(beside)} (four reports in ${reportsMs.toFixed(0)} ms)\n`,
  )
})

test('many equal requests share one answer, and too many different ones are 503', async () => {
  const same = await Promise.all(Array.from({ length: 50 }, () => asked('/admin/stats?org=org-2')))
  expect(new Set(same.map(({ status }) => status))).toEqual(new Set([200]))
  const said = await Promise.all(same.map((response) => response.json() as Promise<Json>))
  expect(new Set(said.map((stats) => stats['totalRequests'])).size).toBe(1)

  const others = await Promise.all(
    Array.from({ length: 50 }, (_, at) => asked(`/admin/stats?model=other-${at}`)),
  )
  const statuses = others.map(({ status }) => status)
  expect(statuses.filter((status) => status === 200).length).toBeGreaterThan(0)
  expect(new Set(statuses)).toEqual(new Set([200, 503]))
  const busy = others.find(({ status }) => status === 503)
  expect(busy?.headers.get('retry-after')).toBe('5')
  expect(await busy?.text()).toContain('too many reports')

  // Neither keeps a device from its own.
  expect((await device.own())['stats'].totalRequests).toBeGreaterThan(0)
})
