// `postern spend` and the caps of named policies: which cap counts whose requests, by which policy, how
// each stands, and corrections of each, beside a running gate.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ADMIN_TOKEN, anthropicScene, type DeviceScene } from '../support/anthropic.ts'
import { bearer, eventually } from '../support/sink.ts'
import { HAIKU, haikuCost, type Json, NOTHING } from './scene.ts'

const DOCUMENT = `
policies:
  - { name: ci, usd_per_day: 0.01, usd_per_month: 1, organisation: { usd_per_month: 5 } }
  - { name: staff, usd_per_month: 2, organisation: { usd_per_day: 0.5, usd_per_month: 3 } }
rules:
  - { kind: user, policy: staff }
`
/** Two of them fit into a day of ci, and no third: each may cost more than it does. */
const COST = haikuCost({ ...NOTHING, input: 500, output: 500 })
const BODY = JSON.stringify({ model: HAIKU, max_tokens: 500, messages: [] })
const folder = mkdtempSync(join(tmpdir(), 'postern-spend-policies-'))
const config = join(folder, 'postern.yaml')
const REASON = ['--reason', 'it was ours']
let on: DeviceScene

beforeAll(async () => {
  writeFileSync(config, DOCUMENT, { mode: 0o600 })
  on = await anthropicScene({
    users: true,
    env: {
      POSTERN_CONFIG: config,
      ADMIN_TOKEN,
      ANTHROPIC_CALLERS: 'user,device,key',
      // What waits for a correction asks more often than once a second.
      RATE_LIMIT_RPM: '0',
    },
  })
})
afterAll(async () => {
  await on.close()
  rmSync(folder, { recursive: true, force: true })
})
beforeEach(() => answers())
function answers(): void {
  on.upstream.respond((_request, response) => {
    const usage = { input_tokens: 500, output_tokens: 500 }
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ type: 'message', model: HAIKU, usage }))
  })
}

const command = (words: readonly string[], env: Readonly<Record<string, string>> = {}) =>
  on.command(words, { POSTERN_CONFIG: config, ADMIN_TOKEN, ...env })
const spendings = async (...words: string[]): Promise<Json[]> =>
  JSON.parse((await command(['spend', '--json', ...words])).stdout)['spending']
/** Once the ledger has written so much of it. */
const spent = (name: string, microUsd: number): Promise<Json> =>
  eventually(async () => {
    const found = await command(['spend', '--json', name])
    const [one] = found.exitCode === 0 ? JSON.parse(found.stdout)['spending'] : []
    return one?.spentMicroUsd >= microUsd && (one as Json)
  })
const post = (token: string): Promise<Response> =>
  fetch(`${on.gate.url}/v1/messages`, {
    method: 'POST',
    headers: {
      ...bearer(token),
      'content-type': 'application/json',
      'anthropic-version': '2023-06-01',
    },
    body: BODY,
  })
const about = async (token: string): Promise<Json> =>
  (await fetch(`${on.gate.url}/device`, { headers: bearer(token) })).json() as never
async function key(name: string, ...flags: string[]): Promise<string> {
  const made = (await command(['key', 'add', name, ...flags])).stdout.trim()
  await eventually(async () => (await about(made))['kind'] === 'key')
  return made
}
/** As `GET /device` tells them, in the words of `postern spend`. */
const told = async (token: string): Promise<Json[]> =>
  (await about(token))['caps'].map((cap: Json) => ({
    of: cap['scope'] === 'org' ? 'organisation' : 'own',
    period: cap['period'],
    limitMicroUsd: cap['limit_micro_usd'],
    spentMicroUsd: cap['spent_micro_usd'],
    creditedMicroUsd: cap['credited_micro_usd'],
    leftMicroUsd: cap['left_micro_usd'],
    resetsAt: cap['resets_at'],
  }))
/** All that both tell, in one order. */
const isTold = async (token: string, name: string): Promise<void> => {
  const inOrder = (caps: Json[]) => caps.toSorted((a, b) => orderOf(a).localeCompare(orderOf(b)))
  const orderOf = (cap: Json): string => `${cap['of']} ${cap['period']}`
  const [one] = await spendings(name)
  expect(inOrder(one?.['caps'])).toMatchObject(inOrder(await told(token)))
}

describe('a key', () => {
  let token: string
  beforeAll(async () => {
    answers()
    token = await key('nightly', '--policy', 'ci', '--org', 'acme')
    expect((await post(token)).status).toBe(200)
  })

  test('has its day, its month and those of its organisation, as in GET /device', async () => {
    const one = await spent('key:nightly', COST)
    expect(one).toMatchObject({
      kind: 'key',
      label: 'key:nightly',
      orgId: 'acme',
      policy: 'ci',
      policyKnown: true,
      caps: [
        { of: 'own', period: 'month', policies: ['ci'], limitMicroUsd: 1_000_000 },
        { of: 'own', period: 'day', policies: ['ci'], limitMicroUsd: 10_000, leftMicroUsd: 7000 },
        { of: 'organisation', period: 'month', policies: ['ci'], limitMicroUsd: 5_000_000 },
      ],
    })
    await isTold(token, 'key:nightly')
    expect(one['caps'][0].reservedMicroUsd).toBeNull()
  })

  test('at the cap of its day gets room by a credit of that day, and by none of the month', async () => {
    for (const expected of [200, 429]) {
      const answer = await post(token)
      expect([answer.status, await answer.text()]).toEqual([expected, expect.anything()])
    }
    await spent('key:nightly', 2 * COST)
    const month = await command(['spend', 'key:nightly', '--credit', '0.003', ...REASON])
    expect([month.exitCode, month.stderr]).toEqual([0, expect.stringContaining('--day corrects')])
    await eventually(async () => (await told(token))[0]?.['creditedMicroUsd'] === 3000)
    expect((await post(token)).status).toBe(429)
    const today = new Date().toISOString().slice(0, 10)
    const day = ['spend', 'key:nightly', '--credit', '0.003', '--day', today, ...REASON]
    const done = await command(day)
    expect([done.exitCode, done.stdout]).toEqual([0, expect.stringContaining(` of ${today}  it`)])
    await eventually(async () =>
      (await told(token)).every((cap) => cap['of'] !== 'own' || cap['creditedMicroUsd'] >= 3000),
    )
    await isTold(token, 'key:nightly')
    expect((await post(token)).status).toBe(200)
    // No more than was spent, that day or that month.
    const more = await command([
      'spend',
      'key:nightly',
      '--credit',
      '0.5',
      '--day',
      today,
      ...REASON,
    ])
    expect([more.exitCode, more.stdout]).toEqual([1, ''])
  })

  test('whose policy is gone is shown as refused, and has no caps', async () => {
    const other = join(folder, 'other.yaml')
    writeFileSync(other, 'policies: [{ name: staff }]\n', { mode: 0o600 })
    const read = async (env: Readonly<Record<string, string>>): Promise<Json> =>
      JSON.parse((await command(['spend', 'key:nightly', '--json'], env)).stdout)['spending'][0]
    expect(await read({ POSTERN_CONFIG: other })).toMatchObject({ policyKnown: false, caps: [] })
    expect(await read({ POSTERN_CONFIG: '' })).toMatchObject({ policyKnown: null, caps: [] })
    const table = await command(['spend'], { POSTERN_CONFIG: other })
    expect(table.stdout).toContain('ci (gone)')
  })
})

test("a device's own cap narrows its policy's, and both are shown as the gate counts them", async () => {
  const { stdout } = await command([
    'enrol',
    '--policy',
    'staff',
    '--spend-cap',
    '0.5',
    '--org',
    'wide',
  ])
  const response = await on.bootstrap('narrow-1', stdout.trim())
  const { wrapper_token: token } = (await response.json()) as { wrapper_token: string }
  expect((await post(token)).status).toBe(200)
  const one = await spent('narrow-1', COST)
  expect(one).toMatchObject({
    kind: 'device',
    policy: 'staff',
    orgId: 'wide',
    capMicroUsd: 500_000,
  })
  await isTold(token, 'narrow-1')
})

test('a user is known by the hash, and has the caps of the policy of the last request', async () => {
  const token = (await on.issuer?.token()) ?? ''
  expect((await post(token)).status).toBe(200)
  const identity = String((await about(token))['identity'])
  expect(await spent(identity, COST)).toMatchObject({
    kind: 'user',
    policy: 'staff',
    caps: [{ of: 'own', period: 'month', policies: ['staff'], limitMicroUsd: 2_000_000 }],
  })
  await isTold(token, identity)
  expect((await spendings(identity.slice(0, 8)))[0]?.['name']).toBe(identity)
  const done = await command(['spend', identity, '--credit', '0.001', ...REASON])
  expect(done.exitCode).toBe(0)
  await eventually(async () => (await told(token))[0]?.['creditedMicroUsd'] === 1000)
  await isTold(token, identity)
})

test('an organisation has the caps of each policy of its members, over one sum', async () => {
  const [narrow, wide] = [
    await key('one', '--policy', 'ci', '--org', 'both'),
    await key('two', '--policy', 'staff', '--org', 'both'),
  ]
  for (const each of [narrow, wide]) await (await post(each)).text()
  const one = await spent('org:both', 2 * COST)
  const caps = one['caps'].map((cap: Json) => [
    cap['period'],
    cap['limitMicroUsd'],
    cap['policies'],
  ])
  expect(caps.toSorted()).toEqual([
    ['day', 500_000, ['staff']],
    ['month', 3_000_000, ['staff']],
    ['month', 5_000_000, ['ci']],
  ])
  for (const cap of one['caps']) expect(cap.spentMicroUsd).toBe(2 * COST)
})

test('attack: many at once by two keys of one organisation, and no cap is passed', async () => {
  const keys = [
    await key('race-1', '--policy', 'ci', '--org', 'race'),
    await key('race-2', '--policy', 'ci', '--org', 'race'),
  ]
  const answered = await Promise.all(
    Array.from({ length: 60 }, async (_, at) => (await post(keys[at % 2] ?? '')).status),
  )
  expect(new Set(answered)).toEqual(new Set([200, 429]))
  for (const [at, token] of keys.entries()) {
    const passed = answered.filter((status, index) => index % 2 === at && status === 200).length
    expect(passed * COST).toBeLessThanOrEqual(10_000)
    await spent(`key:race-${at + 1}`, passed * COST)
    await isTold(token, `key:race-${at + 1}`)
  }
})

test('attack: a key that is rotated and revoked while its stream runs pays for it, with both keys', async () => {
  const first = await key('turned', '--policy', 'staff')
  const { promise, resolve: finish } = Promise.withResolvers<void>()
  on.upstream.respond(async (_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    response.flushHeaders()
    await promise
    const usage = { input_tokens: 500, output_tokens: 500 }
    response.end(JSON.stringify({ type: 'message', model: HAIKU, usage }))
  })
  const running = post(first)
  const next = (await command(['key', 'rotate', 'turned', '--overlap', '0'])).stdout.trim()
  await eventually(async () => (await about(next))['kind'] === 'key')
  expect((await told(next))[0]?.['leftMicroUsd']).toBeLessThan(2_000_000)
  await command(['key', 'revoke', 'turned'])
  // Not by a request of its own: that would wait with the first.
  await eventually(async () => (await about(next))['error']?.code === 'key_revoked')
  finish()
  expect((await running).status).toBe(200)
  expect(await spent('key:turned', COST)).toMatchObject({ spentMicroUsd: COST })
})

test('what a request under way holds is told by the gate that --gate names, to the operator', async () => {
  const token = await key('running', '--policy', 'staff', '--org', 'held')
  const { promise, resolve: finish } = Promise.withResolvers<void>()
  const { promise: came, resolve: arrived } = Promise.withResolvers<void>()
  on.upstream.respond(async (_request, response) => {
    arrived()
    await promise
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(
      JSON.stringify({
        type: 'message',
        model: HAIKU,
        usage: { input_tokens: 1, output_tokens: 1 },
      }),
    )
  })
  const running = post(token)
  await came
  const [one] = await spendings('key:running', '--gate', on.gate.url)
  const held = one?.['caps'].map((cap: Json) => [
    cap['of'],
    cap['period'],
    cap['reservedMicroUsd'] > 0,
  ])
  expect(held).toEqual([
    ['own', 'month', true],
    ['organisation', 'month', true],
    ['organisation', 'day', true],
  ])
  finish()
  await (await running).text()
  await eventually(async () =>
    (await spendings('key:running', '--gate', on.gate.url))[0]?.['caps'].every(
      (cap: Json) => cap['reservedMicroUsd'] === 0,
    ),
  )
})

test('attack: without the operator’s key, with another one, or without a gate, nothing is shown', async () => {
  for (const [url, adminToken, exitCode] of [
    [on.gate.url, '', 64],
    [on.gate.url, 'another-0123456789-abcdefghij-ABCDEF', 1],
    ['http://127.0.0.1:1', ADMIN_TOKEN, 1],
    ['http://192.0.2.1', ADMIN_TOKEN, 64],
    ['nonsense', ADMIN_TOKEN, 64],
  ] as const) {
    const done = await command(['spend', '--gate', url], { ADMIN_TOKEN: adminToken })
    expect([url, done.exitCode, done.stdout]).toEqual([url, exitCode, ''])
    expect(done.stderr).not.toContain(ADMIN_TOKEN)
  }
  const device = await on.device()
  for (const token of [device, 'x']) {
    const answer = await fetch(`${on.gate.url}/admin/reservations`, { headers: bearer(token) })
    expect(answer.status).toBeGreaterThanOrEqual(401)
  }
})

test('the table has a line for each cap, in 80 columns', async () => {
  const { stdout } = await command(['spend'])
  expect(stdout).toMatch(/\nWho +Period +Cap +Spent +(?:Credited +)?Left +Policy\n/)
  expect(stdout).toMatch(/\nkey:nightly +month +\$1\.0000 .* ci\n +day +\$0\.0100 .* ci\n/)
  for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(80)
})
