// What the operator reads and does over /admin and by `postern usage`, what a device may see of
// itself and no more, and what is forgotten in time.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { DAY_MS } from '../../src/turn/calendar.ts'
import { sqliteLedger } from '../../src/ledger/sqlite/writer.ts'
import { store } from '../../src/database/store.ts'
import { TABLES } from '../../src/gate/migrations.ts'
import { connectionBy } from '../support/connection.ts'
import { bearer, eventually } from '../support/sink.ts'
import { opened, opening, outcome, recordingLog } from '../settle/ledger-parts.ts'
import {
  ADMIN_TOKEN,
  answerUnary,
  type Device,
  ended,
  HAIKU,
  haikuCost,
  type Json,
  type LedgerScene,
  ledgerScene,
  NOTHING,
  told,
} from './scene.ts'

const USED = { input: 11, output: 7, cacheRead: 5, cacheCreation: 3 }
const OPUS = 'claude-opus-4-1'

let scene: LedgerScene
let ours: Device
let theirs: Device
let ourHash = ''
let theirHash = ''

beforeAll(async () => {
  scene = await ledgerScene()
  scene.upstream.respond((_request, response, body) =>
    answerUnary(response, USED, JSON.parse(body.toString('utf8')).model),
  )
  ours = await scene.device('--org', 'acme')
  theirs = await scene.device('--org', 'other')
  await ask(ours, 150, HAIKU)
  await ask(theirs, 60, OPUS)
  await ask(theirs, 40, HAIKU)
  await ended(scene, 250)
  ourHash = (await ours.own())['metrics'][0].device
  theirHash = (await theirs.own())['metrics'][0].device
})
afterAll(() => scene.close())

async function ask(device: Device, count: number, model: string): Promise<void> {
  await Promise.all(
    Array.from({ length: count }, async () => {
      const response = await device.post({ model })
      expect(response.status).toBe(200)
      await response.bytes()
    }),
  )
}
const usage = (query: string): Promise<Json> => scene.admin(`/admin/usage${query}`)

describe('GET /admin/usage and /admin/stats', () => {
  test("stats have system C's names and units, and the members that it left out", async () => {
    const stats = await scene.admin(`/admin/stats?device=${ourHash}`)
    expect(stats).toEqual({
      totalRequests: 150,
      totalInputTokens: 150 * 11,
      totalOutputTokens: 150 * 7,
      totalCacheReadTokens: 150 * 5,
      totalCacheCreationTokens: 150 * 3,
      totalCostMicroUsd: 150 * haikuCost(USED),
      averageLatency: expect.any(Number),
      successRate: 100,
    })
    const { metrics, ...rest } = await usage(`?device=${ourHash}`)
    expect(rest).toEqual({ stats, next: expect.any(String) })
    expect(metrics).toHaveLength(100)
    expect(Object.keys(metrics[0]).toSorted()).toEqual(ROW_MEMBERS)
    expect(Date.now() - Date.parse(metrics[0].openedAt)).toBeLessThan(60_000)
  })

  test('pages follow a cursor, each row once, whatever comes in meanwhile', async () => {
    const seen: string[] = []
    const times: string[] = []
    let before = ''
    for (let pages = 0; pages < 50; pages++) {
      const { metrics, next } = await usage(`?limit=40&device=${theirHash}${before}`)
      for (const { requestId, openedAt } of metrics) {
        seen.push(requestId)
        times.push(openedAt)
      }
      if (pages === 0) await ask(ours, 3, HAIKU)
      if (next === undefined) break
      before = `&before=${next}`
    }
    expect(seen).toHaveLength(100)
    expect(new Set(seen).size).toBe(100)
    expect(times).toEqual(times.toSorted().toReversed())
  })

  test('filters: device, organisation, model, time, and all at once', async () => {
    const count = async (query: string): Promise<number> => {
      let rows = 0
      let cursor = ''
      for (let pages = 0; pages < 20; pages++) {
        const { metrics, next } = await usage(`?${query}${cursor}`)
        rows += metrics.length
        if (next === undefined) return rows
        cursor = `&before=${next}`
      }
      throw new Error('no end')
    }
    expect(await count(`device=${theirHash}`)).toBe(100)
    expect(await count('org=other')).toBe(100)
    expect(await count(`model=${OPUS}`)).toBe(60)
    expect(await count(`org=other&model=${HAIKU}`)).toBe(40)
    expect(await count(`device=${ourHash}&org=other`)).toBe(0)
    expect(await count(`device=${theirHash}&since=${new Date().toISOString()}`)).toBe(0)
    const hourAgo = new Date(Date.now() - 3_600_000).toISOString()
    expect(await count(`device=${theirHash}&since=${hourAgo}`)).toBe(100)
    expect(await count(`device=${theirHash}&until=${hourAgo}`)).toBe(0)
    const stats = await scene.admin(`/admin/stats?org=other&model=${OPUS}`)
    expect(stats).toMatchObject({ totalRequests: 60, totalInputTokens: 660 })
  })

  test('a device sees its own, whatever it asks for', async () => {
    for (const query of [
      '',
      `?device=${theirHash}`,
      '?org=other',
      `?device=${ourHash}&device=${theirHash}&org=other`,
      "?device=' OR 1=1 --",
    ]) {
      const { stats, metrics } = await ours.own(query)
      expect(stats.totalInputTokens, query).toBe(stats.totalRequests * 11)
      expect(stats.totalRequests, query).toBeGreaterThanOrEqual(150)
      expect(stats.totalRequests, query).toBeLessThan(160)
      expect(new Set(metrics.map(({ device }: Json) => device)), query).toEqual(new Set([ourHash]))
    }
    expect((await ours.own(`?model=${OPUS}`))['metrics']).toEqual([])
  })

  test('a filter is a value: nothing in it is SQL or a pattern, and no cursor is forged', async () => {
    for (const text of ["' OR 1=1 --", '%', '_', '*', '"', "'; DROP TABLE ledger; --", '\u0000']) {
      for (const name of ['device', 'org', 'model']) {
        const { stats, metrics } = await usage(`?${name}=${encodeURIComponent(text)}`)
        expect([stats.totalRequests, metrics], `${name} ${text}`).toEqual([0, []])
      }
      const url = `${scene.gate.url}/admin/usage?before=${encodeURIComponent(text)}`
      expect((await fetch(url, { headers: bearer(ADMIN_TOKEN) })).status, text).toBe(400)
    }
    for (const limit of ['0', '-1', '1e9', 'NaN', '1;--']) {
      const { metrics } = await usage(`?limit=${limit}`)
      expect(metrics.length).toBeGreaterThan(0)
      expect(metrics.length).toBeLessThanOrEqual(100)
    }
    expect((await scene.admin('/admin/stats'))['totalRequests']).toBeGreaterThanOrEqual(250)
  })

  test('nobody without a complete credential', async () => {
    for (const path of ['/admin/usage', '/admin/stats', '/admin/devices']) {
      const as = async (headers: Record<string, string>): Promise<number> =>
        (await fetch(scene.gate.url + path, { headers })).status
      expect(await as({})).toBe(401)
      expect(await as(bearer(ADMIN_TOKEN.slice(0, -1)))).toBe(401)
      expect(await as(bearer(`${ADMIN_TOKEN}0`))).toBe(401)
      expect(await as({ cookie: `token=${ADMIN_TOKEN}` })).toBe(401)
      expect(await as(bearer(ADMIN_TOKEN))).toBe(200)
    }
    const inference = await fetch(`${scene.gate.url}/v1/messages`, {
      method: 'POST',
      headers: bearer(ADMIN_TOKEN),
      body: '{}',
    })
    expect(inference.status).toBe(401)
  })
})

test('GET /admin/devices: all of them, page by page, and no token or id of theirs', async () => {
  const { stdout } = await scene.command('enrol', '--uses', '120', '--org', 'many')
  for (let count = 0; count < 120; count++) {
    const body = { device_id: `device-canary-${count}`, enrollment_code: stdout.trim() }
    const response = await fetch(`${scene.gate.url}/bootstrap`, {
      method: 'POST',
      body: JSON.stringify(body),
    })
    expect(response.status).toBe(200)
  }
  const first = await scene.admin('/admin/devices')
  expect(first['devices']).toHaveLength(100)
  const second = await scene.admin(`/admin/devices?before=${first['next']}`)
  expect(second['next']).toBeUndefined()
  const all = [...first['devices'], ...second['devices']]
  expect(new Set(all.map(({ family }: Json) => family)).size).toBe(all.length)
  const many = all.filter(({ entitlements }: Json) => entitlements['orgId'] === 'many')
  expect(many).toHaveLength(120)
  expect(JSON.stringify(all)).not.toContain('canary')
  expect(all.at(-1)).toMatchObject({ deviceHash: ourHash, entitlements: { orgId: 'acme' } })
})

describe('postern usage, beside the running gate', () => {
  test('the table, by each group', async () => {
    for (const by of ['day', 'model', 'device', 'org']) {
      const { exitCode, stdout, stderr } = await scene.command('usage', '--by', by)
      expect([exitCode, stderr]).toEqual([0, ''])
      if (process.env['POSTERN_SHOW']) process.stderr.write(`\n${stdout}`)
      expect(stdout).toContain('Cost')
    }
    const { stdout } = await scene.command('usage', '--by', 'model', '--org', 'other')
    const line = stdout.split('\n').find((each) => each.startsWith(OPUS))
    expect(line?.split(/\s+/).slice(0, 8)).toEqual([
      OPUS,
      '60',
      '0',
      '660',
      '420',
      '300',
      '180',
      '$0.0452',
    ])
  })

  test('--json and --csv say the same as the API', async () => {
    const sums = await told(scene, '--by', 'org', '--org', 'other')
    const stats = await scene.admin('/admin/stats?org=other')
    expect(sums).toMatchObject({
      requests: 100,
      succeeded: 100,
      tokens: { input: 1100, output: 700, cacheRead: 500, cacheCreation: 300 },
      costMicroUsd: stats['totalCostMicroUsd'],
    })
    const { stdout } = await scene.command('usage', '--csv', '--by', 'model', '--org', 'other')
    const [head = '', ...lines] = stdout.trim().split('\r\n')
    const cells = lines.map((line) => line.split(','))
    const column = head.split(',').indexOf('input_tokens')
    expect(cells.map((line) => [line[0], line[column]]).toSorted()).toEqual([
      [HAIKU, '440'],
      [OPUS, '660'],
    ])
    expect((await scene.command('usage', '--json', '--csv')).exitCode).not.toBe(0)
    expect((await scene.command('usage', '--device', 'nobody')).stdout).toContain('No requests.')
  })
})

test('without ADMIN_TOKEN the operator’s routes are 404; with ADMIN_PORT they are elsewhere', async () => {
  const { ADMIN_TOKEN: _, ...env } = scene.env
  const status = async (url: string, path: string, token: string): Promise<number> =>
    (await fetch(`${url}${path}`, { headers: bearer(token) })).status
  const bare = await ledgerScene({ ...env, ADMIN_TOKEN: '' })
  try {
    for (const path of ['/admin/devices', '/admin/circuit-breaker']) {
      expect(await status(bare.gate.url, path, ADMIN_TOKEN)).toBe(404)
    }
    expect(await status(bare.gate.url, '/admin/usage', ADMIN_TOKEN)).toBe(401)
    expect(await status(bare.gate.url, '/admin/usage', ours.token)).toBe(200)
  } finally {
    await bare.close()
  }
  const apart = await ledgerScene({ ADMIN_PORT: '0' })
  try {
    const line = apart.gate.lines().find(({ msg }) => msg === 'listening')
    const url = `http://${line?.['admin']}`
    expect(await status(url, '/admin/devices', ADMIN_TOKEN)).toBe(200)
    expect(await status(url, '/v1/models', ADMIN_TOKEN)).toBe(404)
    expect(await status(apart.gate.url, '/admin/devices', ADMIN_TOKEN)).toBe(404)
    expect(await status(apart.gate.url, '/admin/usage', ADMIN_TOKEN)).toBe(404)
  } finally {
    await apart.close()
  }
})

test('LEDGER_RETENTION_DAYS: older rows are gone after a start; a cap of this month is not', async () => {
  const device = await scene.device('--spend-cap', '1')
  await device.post({ model: HAIKU, max_tokens: 1 })
  const [row] = await device.rows(1)
  const hash = row?.['device']
  await scene.gate.stop('SIGTERM')

  const now = Date.now()
  const { log } = recordingLog()
  const kept = store(`${scene.folder}/data/postern.db`, TABLES)
  const ledger = sqliteLedger(
    connectionBy(() => kept.open()),
    { log, nowMs: now },
  )
  const add = (daysAgo: number, requestId: string, costMicroUsd = 0): void => {
    const openedAtMs = now - daysAgo * DAY_MS
    const measured = { ...NOTHING, costMicroUsd }
    const entry = ledger.open(opening({ openedAtMs, requestId, device: hash, org: 'acme' }))
    ledger.close(entry, outcome({ usage: { state: 'exact', measured } }))
  }
  for (let count = 0; count < 250; count++) add(40, `old-${count}`)
  const sameMonth = new Date(now - 3 * DAY_MS).getUTCMonth() === new Date(now).getUTCMonth()
  add(3, 'three-days-ago', 999_999)
  add(1, 'yesterday')
  ledger.stop(now)

  await scene.restart({ LEDGER_RETENTION_DAYS: '2' })
  const looking = opened(kept.open({ mode: 'read' }))
  const left = await eventually(async () => {
    const rows = looking
      .query<unknown, [string, string]>(
        `SELECT request_id FROM ledger WHERE device = ? AND request_id <> ? ORDER BY id`,
      )
      .values(hash, row?.['requestId'])
    return rows.length === 1 && rows
  })
  expect(left).toEqual([['yesterday']])
  const oldestDay = looking.query<{ day: number }, []>('SELECT min(day) AS day FROM ledger_day')
  await eventually(async () => (oldestDay.get()?.day ?? 0) > (now - 32 * DAY_MS) / DAY_MS)
  looking.close()
  // On the first days of a month three days ago was another month, and nothing of it counts.
  const again = await device.post({ model: HAIKU, max_tokens: 1 })
  expect(again.status).toBe(sameMonth ? 429 : 200)
  await scene.gate.stop('SIGTERM')
  await scene.restart({ LEDGER_RETENTION_DAYS: '2' })
  expect((await device.post({ model: HAIKU, max_tokens: 1 })).status).toBe(sameMonth ? 429 : 200)
})

const ROW_MEMBERS = [
  'cacheCreationTokens',
  'cacheReadTokens',
  'codeExecutionRequests',
  'costMicroUsd',
  'device',
  'durationMs',
  'end',
  'estimatedCacheCreationTokens',
  'estimatedCacheReadTokens',
  'estimatedCostMicroUsd',
  'estimatedInputTokens',
  'estimatedOutputTokens',
  'firstByteMs',
  'identity',
  'inputTokens',
  'model',
  'openedAt',
  'org',
  'otherToolRequests',
  'outputTokens',
  'priceClass',
  'reasoningTokens',
  'requestId',
  'route',
  'status',
  'upstream',
  'usage',
  'webFetchRequests',
  'webSearchRequests',
]
