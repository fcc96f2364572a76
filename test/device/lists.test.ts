// `postern devices`, `postern audit`, and that every name which they show is one that `revoke` takes.

import { Database } from 'bun:sqlite'
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { sqliteDevices } from '../../src/enroll/sqlite/records.ts'
import { devices } from '../../src/operate/devices.ts'
import { anthropicScene, type DeviceScene, messages, type Minted } from '../support/anthropic.ts'
import { eventually } from '../support/sink.ts'

let on: DeviceScene
beforeAll(async () => {
  on = await anthropicScene()
})
afterAll(() => on.close())

async function enrolled(id: string, name: string | undefined, ...flags: string[]): Promise<string> {
  const response = await fetch(`${on.gate.url}/bootstrap`, {
    method: 'POST',
    body: JSON.stringify({
      device_id: id,
      ...(name && { device_name: name }),
      enrollment_code: await on.code(...flags),
    }),
  })
  return ((await response.json()) as Minted).wrapper_token
}
const alive = async (token: string): Promise<boolean> => (await messages(on.gate, token)).ok

interface Listed {
  readonly label: string | null
  readonly name: string | null
  readonly device: string
  readonly family: string
  readonly user: string | null
  readonly org: string | null
  readonly state: string
  readonly last_seen_at: string | null
  readonly policy: object
}
const listed = async (...flags: string[]): Promise<Listed[]> => {
  const { exitCode, stdout, stderr } = await on.command(['devices', '--json', ...flags])
  expect([exitCode, stderr]).toEqual([0, ''])
  return JSON.parse(stdout) as Listed[]
}

test('lists label, name, user, org, last seen and policy; hashes are complete', async () => {
  const token = await enrolled(
    'id-of-anna',
    'ThinkPad \u{1f5a5}',
    "--label=Anna's laptop",
    '--user=anna',
    '--org=acme',
    '--models=claude-sonnet-*,claude-haiku-*',
    '--rate-limit=30',
    '--spend-cap=20',
  )
  const bare = await enrolled('id-of-nobody', undefined)
  expect(await alive(token)).toBe(true)
  await eventually(async () => (await listed()).some((each) => each.last_seen_at !== null), 5000)
  const [nobody, anna] = await listed()
  expect(anna).toMatchObject({
    label: "Anna's laptop",
    name: 'ThinkPad \u{1f5a5}',
    user: 'anna',
    org: 'acme',
    state: 'active',
    policy: { models: ['claude-sonnet-*', 'claude-haiku-*'], rate_limit: 30, spend_cap: 20 },
  })
  expect(Math.abs(Date.parse(anna?.last_seen_at ?? '') - Date.now())).toBeLessThan(130_000)
  expect(nobody).toMatchObject({
    label: null,
    name: null,
    user: null,
    org: null,
    last_seen_at: null,
  })

  const { stdout, stderr, exitCode } = await on.command(['devices'])
  expect(exitCode).toBe(0)
  const [head, second, first] = stdout.split('\n')
  expect(head).toMatch(/^DEVICE +CALLS ITSELF +USER +ORG +LAST SEEN +STATE +MAY USE$/)
  expect(first).toMatch(
    /^Anna's laptop +ThinkPad . +anna +acme +\d{4}-\d\d-\d\d \d\d:\d\d +until .* claude-sonnet-\*,claude-haiku-\* 30\/min \$20\/month$/u,
  )
  expect(second).toMatch(/^[0-9a-f]{64} +- +- +- +never +until .* every model$/)
  expect(stderr).toContain('postern revoke takes each DEVICE')
  expect(stdout).not.toContain('id-of-')
  expect(await alive(bare)).toBe(true)
})

test('revoke accepts every name in the list, within a second', async () => {
  const tokens = {
    label: await enrolled('a', 'x', '--label=by label'),
    device: await enrolled('b', 'x'),
    family: await enrolled('c', 'x'),
    user: await enrolled('d', 'x', '--user=carol'),
    org: await enrolled('e', 'x', '--org=initech', '--user=carl'),
  }
  for (const [form, token] of Object.entries(tokens)) {
    expect(await alive(token)).toBe(true)
    const family = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()).family
    const row = (await listed()).find((each) => each.family === family)
    const shown = String(row?.[form as keyof Listed])
    const name = form === 'user' || form === 'org' ? `${form}:${shown}` : shown
    const done = await on.command(['revoke', name])
    expect([form, done.exitCode]).toEqual([form, 0])
    await eventually(async () => !(await alive(token)), 1000)
    expect((await listed()).some((each) => each.family === family)).toBe(false)
    expect((await listed('--all')).find((each) => each.family === family)?.state).toBe('revoked')
  }
  // What devices call themselves is their own word.
  expect((await on.command(['revoke', 'x'])).exitCode).toBe(1)
  expect((await on.command(['revoke', 'user:nobody'])).exitCode).toBe(1)
})

test('a shown name that revokes nothing leads to one that does', async () => {
  const token = await enrolled('hinted', 'Kiosk', '--label=the kiosk', '--user=ken', '--org=kenco')
  for (const [word, hint] of [
    ['Kiosk', 'postern revoke "the kiosk"'],
    ['ken', 'postern revoke user:ID'],
    ['kenco', 'postern revoke org:ID'],
  ] as const) {
    const done = await on.command(['revoke', word])
    expect([done.exitCode, done.stderr]).toEqual([1, expect.stringContaining(hint)])
  }
  expect(await alive(token)).toBe(true)
})

test('only the devices of one user, or of one organisation', async () => {
  await enrolled('f', undefined, '--user=uma', '--org=umbrella')
  await enrolled('g', undefined, '--user=una', '--org=umbrella')
  expect((await listed('--user', 'uma')).map(({ user }) => user)).toEqual(['uma'])
  expect(await listed('--org', 'umbrella')).toHaveLength(2)
  expect((await on.command(['devices', '--user', 'nobody'])).stderr).toContain('No devices')
})

test('the audit table, with who and whom', async () => {
  await enrolled('h', undefined, '--label=audited')
  await on.command(['revoke', 'audited'])
  const { exitCode, stdout } = await on.command(['audit'])
  expect(exitCode).toBe(0)
  const lines = stdout.trimEnd().split('\n')
  expect(lines[0]).toMatch(/^WHEN \(UTC\) +WHO +WHAT +WHOM$/)
  expect(lines.at(-2)).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d +cli +enrol +code:\d+$/)
  expect(lines.at(-1)).toMatch(/ cli +revoke +fam_[0-9a-f]{32} \(audited\)$/)
  const all = JSON.parse((await on.command(['audit', '--json'])).stdout) as Record<
    string,
    unknown
  >[]
  expect(all.at(-1)).toMatchObject({ actor: 'cli', action: 'revoke', label: 'audited' })
  expect(Math.abs(Date.parse(String(all.at(-1)?.['at'])) - Date.now())).toBeLessThan(60_000)
  const none = await on.command(['audit', '--since', '2999-01-01'])
  expect([none.exitCode, none.stdout]).toEqual([0, ''])
  expect((await on.command(['audit', '--json', '--since', '2999-01-01'])).stdout).toBe('[]\n')
  expect((await on.command(['audit', '--since', 'soon'])).exitCode).toBe(64)
})

test('a label that would read as another name is refused', async () => {
  for (const label of ['fam_1', 'code:7', 'user:anna', ' x', 'a\u2028b']) {
    expect((await on.command(['enrol', `--label=${label}`])).exitCode).toBe(64)
  }
})

test('100,000 devices are listed page by page, and sums of memory stay small', async () => {
  const db = new Database(on.databaseFile)
  db.run(`INSERT INTO device_families (family, device_hash, device_key, owner, entitlements,
      created_at, head_jti, head_iat, head_exp, dead_at)
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
    SELECT printf('fam_%032x', i), printf('%064x', i), '', 'open', '{}', 1, 'j', 1, 4000000000, 4000000000 FROM n`)
  let pieces = 0
  let longest = 0
  let bytes = 0
  const stdout = (text: string): void => {
    pieces += 1
    longest = Math.max(longest, text.length)
    bytes += text.length
  }
  const question = { user: undefined, org: undefined, all: false, idleSeconds: 0, limit: Infinity }
  const records = sqliteDevices(db)
  const output = { stdout, stderr: () => {} }
  await devices(records, { ...question, json: true }, output, Date.now() / 1000)
  expect(pieces).toBeGreaterThan(200)
  expect(longest).toBeLessThan(500_000)
  expect(bytes).toBeGreaterThan(30_000_000)
  pieces = 0
  const table = { ...question, json: false }
  await devices(records, table, output, Date.now() / 1000)
  expect(pieces).toBeGreaterThan(100_000)
  db.close()
})
