// `postern spend` beside a running gate: what was spent, and corrections of it that the gate hears of.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { Database } from 'bun:sqlite'
import { REMAINDER_TOKENS } from '../../src/upstream/reading/passed.ts'
import { bearer, eventually } from '../support/sink.ts'
import {
  answerUnary,
  beginStream,
  type Device,
  HAIKU,
  haikuCost,
  type Json,
  leaveMidway,
  type LedgerScene,
  ledgerScene,
  NOTHING,
  type Used,
} from './scene.ts'

/** $0.006. One request fits into the cap, and no second. */
const USED: Used = { ...NOTHING, input: 1000, output: 1000 }
const COST = haikuCost(USED)
const BODY = JSON.stringify({ model: HAIKU, max_tokens: 1000, messages: [] })
const CAP = '0.012'
const REASON = ['--reason', 'a stream that Esc ended']

let scene: LedgerScene
beforeAll(async () => {
  scene = await ledgerScene({ ORG_SPEND_CAP: '0.02' })
})
afterAll(() => scene.close())
beforeEach(() => {
  scene.upstream.respond((_request, response) => answerUnary(response, USED))
})

/** The id of the last one enrolled. */
let enrolled = 0
async function deviceOf(...terms: string[]): Promise<Device & { readonly id: string }> {
  const device = await scene.device(...terms)
  enrolled += 1
  return Object.assign(device, { id: `device-${enrolled}` })
}
const spend = async (...words: string[]): Promise<Json> =>
  JSON.parse((await scene.command('spend', '--json', ...words)).stdout)
const about = async (device: Device): Promise<Json> =>
  (await fetch(`${scene.gate.url}/device`, { headers: bearer(device.token) })).json() as never
const isCapped = async (device: Device): Promise<void> => {
  const response = await device.post(BODY)
  expect([response.status, ((await response.json()) as Json)['error'].type]).toEqual([
    429,
    'billing_error',
  ])
}

test('a credit gives room back to a running gate, and outlives it', async () => {
  const device = await deviceOf('--spend-cap', CAP)
  expect((await device.post(BODY)).status).toBe(200)
  await isCapped(device)
  await device.rows(2)

  const done = await scene.command('spend', device.id, '--credit', '0.006', ...REASON)
  expect(done).toMatchObject({ exitCode: 0, stderr: '' })
  expect(done.stdout).toContain('credit $0.006  a stream that Esc ended (cli)')
  const [cap] = await eventually(async () => {
    const { caps } = await about(device)
    return caps[0].credited_micro_usd > 0 && caps
  })
  expect(cap).toMatchObject({
    scope: 'device',
    limit_micro_usd: 12_000,
    spent_micro_usd: 0,
    estimated_micro_usd: 0,
    credited_micro_usd: COST,
    left_micro_usd: 12_000,
  })
  expect((await device.post(BODY)).status).toBe(200)
  await device.rows(3)

  await scene.gate.stop()
  await scene.restart()
  await isCapped(device)
  expect((await about(device))['caps'][0]).toMatchObject({ spent_micro_usd: COST })
})

test('a debit takes it again, and both are in the audit table', async () => {
  const device = await deviceOf('--spend-cap', CAP, '--label', 'lap\u0301top')
  expect((await device.post(BODY)).status).toBe(200)
  await device.rows(1)
  const name = 'lap\u0301top'
  await scene.command('spend', name, '--credit', '0.006', '--reason', 'by mistake')
  await scene.command('spend', name, '--debit', '0.006', '--reason', 'it was one')
  const { spending } = await spend(device.id)
  expect(spending).toMatchObject([
    { kind: 'device', label: name, spentMicroUsd: COST, creditedMicroUsd: 0, capMicroUsd: 12_000 },
  ])
  expect(spending[0].corrections).toMatchObject([
    { creditMicroUsd: COST, reason: 'by mistake', actor: 'cli' },
    { creditMicroUsd: -COST, reason: 'it was one', actor: 'cli' },
  ])
  const database = new Database(`${scene.folder}/data/postern.db`, { readonly: true })
  const entries = database
    .query<Json, [string]>("SELECT * FROM audit WHERE subject LIKE ?1 || '%' ORDER BY seq")
    .all(`device:${spending[0].name} `)
  database.close()
  expect(entries).toMatchObject([
    { actor: 'cli', action: 'credit' },
    { actor: 'cli', action: 'debit' },
  ])
  expect(entries[0]?.['subject']).toEndWith(' $0.006')
})

test('what was estimated is told apart, and an organisation is named by its id', async () => {
  const device = await deviceOf('--org', 'acme')
  scene.upstream.respond((_request, response) => beginStream(response, USED))
  await leaveMidway(device, BODY)
  await device.rows(1)
  const seen = haikuCost({ ...USED, output: 1 })
  const estimated = REMAINDER_TOKENS * 5
  const expected = {
    kind: 'org',
    name: 'acme',
    chargedMicroUsd: seen + estimated,
    estimatedMicroUsd: estimated,
    capMicroUsd: 20_000,
    leftMicroUsd: 20_000 - seen - estimated,
  }
  for (const name of ['acme', 'org:acme']) {
    expect((await spend(name))['spending']).toMatchObject([expected])
  }
  expect((await about(device))['caps']).toMatchObject([
    { scope: 'org', spent_micro_usd: seen + estimated, estimated_micro_usd: estimated },
  ])
  await scene.command('spend', 'acme', '--credit', '0.001', ...REASON)
  await eventually(async () => (await about(device))['caps'][0].credited_micro_usd === 1000)
  const table = await scene.command('spend')
  expect(table.stdout).toContain('org:acme')
  expect(table.stdout).toMatch(/Who +Period +Cap +Spent +Estimated +Credited +Left +Policy\n/)
  const all = await spend()
  expect(all['spending'].map(({ kind }: Json) => kind)).toContain('device')
})

describe('refuses', () => {
  const refused = async (exitCode: number, says: RegExp, ...words: string[]): Promise<void> => {
    const done = await scene.command('spend', ...words)
    expect([words, done.exitCode, done.stdout]).toEqual([words, exitCode, ''])
    expect(done.stderr).toMatch(says)
  }

  test('what is no correction, and says what to give', async () => {
    const name = 'device-1'
    await refused(64, /needs a name/, '--credit', '1', ...REASON)
    await refused(64, /two corrections/, name, '--credit', '1', '--debit', '1', ...REASON)
    for (const amount of ['0', '-1', '1e3', '1.1234567', '1000001', 'all', '']) {
      await refused(64, /not an amount|missing/, name, `--credit=${amount}`, ...REASON)
    }
    await refused(64, /--reason is missing/, name, '--credit', '1')
    await refused(64, /--reason/, name, '--credit', '1', '--reason', '\u001b[2J')
    await refused(64, /--reason needs a correction/, name, ...REASON)
    await refused(64, /not a month/, name, '--month', '2026-13')
    await refused(64, /has not begun/, name, '--month', '2999-01')
  })

  test('a name that nobody has, one that several have, and more than was spent', async () => {
    await refused(1, /nothing has this name/, 'nobody-goes-by-this')
    await deviceOf('--label', 'twin')
    await deviceOf('--label', 'twin')
    await refused(1, /several have this name/, 'twin', '--credit', '1', ...REASON)
    await refused(1, /was spent in \d{4}-\d\d\n +give that/, 'acme', '--credit', '1', ...REASON)
  })
})
