// Who gets a device's token, and with what. Several tests are failings of system C by name.

import { expect, test } from 'bun:test'
import { decodeJwt } from 'jose'
import { type BootstrapContext, BOOTSTRAP_LIMITS } from '../../src/enroll/bootstrap.ts'
import { NO_ENTITLEMENTS } from '../../src/enroll/entitlements.ts'
import { listFamilies } from '../../src/enroll/family-list.ts'
import { readBootstrap } from '../support/bootstrap-body.ts'
import { at, claimsOf, granted, outcome, scene, tokenOf } from './scene.ts'

const user = (identity: string, claims: object = {}): Partial<BootstrapContext> => ({
  user: { identity, claims: claims as Record<string, unknown> },
})

test('answers with the names of system C', async () => {
  using world = scene()
  const minted = granted(await world.bootstrap('test-device-123', { credential: world.code() }))
  expect(Object.keys(minted)).toEqual(['wrapper_token', 'proxy_base_url', 'expires_at'])
  expect(minted.proxy_base_url).toBe('https://gate.example')
  expect(minted.expires_at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z$/)
  const { exp = 0 } = decodeJwt(minted.wrapper_token)
  expect(Date.parse(minted.expires_at)).toBe(exp * 1000)
})

test('system C, an open mint: off is off, whatever is shown', async () => {
  using world = scene({ policy: 'off' })
  const credential = world.code()
  expect(outcome(await world.bootstrap('device'))).toBe('enrollment_closed')
  expect(outcome(await world.bootstrap('device', { credential }))).toBe('enrollment_closed')
  expect(outcome(await world.bootstrap('device', user('u')))).toBe('enrollment_closed')
  expect(listFamilies(world.db, { limit: 10 })).toEqual([])
})

test('attack 34; system C, anyone mints tokens: no enrolment, no token', async () => {
  using world = scene()
  expect(outcome(await world.bootstrap('device'))).toBe('enrollment_required')
  expect(outcome(await world.bootstrap('device', user('somebody')))).toBe('enrollment_required')
  using exchange = scene({ policy: 'jwt' })
  const credential = exchange.code()
  expect(outcome(await exchange.bootstrap('device', { credential }))).toBe('enrollment_required')
})

test('attack 34: a wrong, a used and an expired code get the same refusal', async () => {
  using world = scene()
  const code = world.code({ lifetimeSeconds: 60 })
  const late = world.code({ lifetimeSeconds: 60 })
  const refusal = async (credential: string, seconds = 0) =>
    world.bootstrap('device', { credential }, seconds)
  expect(outcome(await refusal(code, 59.9))).toBe('granted')
  const used = await refusal(code)
  expect(outcome(used)).toBe('enrollment_refused')
  expect(await refusal(late, 60)).toEqual(used)
  expect(await refusal(`postern-code-${'A'.repeat(32)}`)).toEqual(used)
  for (const odd of ['', 'x', `${late} `, late.slice(0, -1), `${late}A`, "' OR 1=1 --"]) {
    expect(outcome(await refusal(odd))).toBe('enrollment_refused')
  }
  expect(outcome(await refusal(late, 59))).toBe('granted')
})

test('a code may come in the body or as the bearer, not as two', async () => {
  using world = scene()
  const [code, other] = [world.code({ uses: 3 }), world.code()]
  const context = { addressKey: 'a', credential: undefined, user: undefined }
  const request = { deviceId: 'device', appVersion: undefined, code }
  const ask = async (credential: string | undefined) =>
    outcome(await world.gate.bootstrap(request, { ...context, credential }, at(0)))
  expect(await ask(undefined)).toBe('granted')
  expect(await ask(code)).toBe('granted')
  expect(await ask(other)).toBe('ambiguous_credentials')
})

test('of 100 at once with a one-use code exactly one wins', async () => {
  using world = scene()
  const credential = world.code()
  const asked = Array.from({ length: 100 }, (_, n) =>
    world.bootstrap(`device-${n}`, { credential }),
  )
  const outcomes = (await Promise.all(asked)).map(outcome)
  expect(outcomes.filter((each) => each === 'granted')).toHaveLength(1)
  expect(outcomes.filter((each) => each === 'enrollment_refused')).toHaveLength(99)
  expect(listFamilies(world.db, { limit: 10 })).toHaveLength(1)
})

test('of four processes with 25 tries each and a code of 7 uses exactly 7 win', async () => {
  using world = scene()
  const code = world.code({ uses: 7 })
  const program = `
    import { consumeCode } from ${JSON.stringify(`${import.meta.dir}/../../src/enroll/codes.ts`)}
    import { Database } from 'bun:sqlite'
    const db = new Database(process.argv[1])
    db.exec('PRAGMA busy_timeout = 5000')
    let won = 0
    for (let n = 0; n < 25; n += 1) {
      won += db.transaction(() => consumeCode(db, process.argv[2], ${at(0).epochSeconds})).immediate() ? 1 : 0
    }
    process.stdout.write(String(won))`
  const children = Array.from({ length: 4 }, () =>
    Bun.spawn([process.execPath, '-e', program, world.path, code], { stdout: 'pipe' }),
  )
  const won = await Promise.all(children.map(async (child) => Number(await child.stdout.text())))
  expect(won.reduce((sum, each) => sum + each, 0)).toBe(7)
})

test('system C, body-supplied entitlements: the code and the settings decide alone', async () => {
  using world = scene({
    defaults: { ...NO_ENTITLEMENTS, models: ['claude-haiku-*'], rateLimit: 10, spendCap: 5 },
  })
  const body = {
    device_id: ' laptop-7 ',
    models: ['*'],
    rate_limit: 1_000_000,
    spend_cap: 1e9,
    org_id: 'victim',
    user_id: 'root',
    family: 'fam_x',
    exp: 9e9,
    entitlements: { models: ['*'] },
  }
  const request = granted(readBootstrap(JSON.stringify(body)))
  expect(request).toEqual({ deviceId: 'laptop-7', appVersion: undefined, code: undefined })
  const code = world.code({ entitlements: { ...NO_ENTITLEMENTS, spendCap: 2, orgId: 'acme' } })
  const context = { addressKey: 'a', credential: code, user: undefined }
  const token = tokenOf(await world.gate.bootstrap(request, context, at(0)))
  expect(await claimsOf(world.gate, token)).toMatchObject({
    models: ['claude-haiku-*'],
    rateLimit: 10,
    spendCap: 2,
    orgId: 'acme',
    userId: undefined,
  })
})

test('system C, a device_id shorter than 8 gives 500: any of 1 to 200 visible characters', () => {
  const idOf = (device_id: unknown): string => outcome(readBootstrap(JSON.stringify({ device_id })))
  for (const id of ['a', '1234567', 'test-device-123', '~'.repeat(200), '  padded\n']) {
    expect([id, idOf(id)]).toEqual([id, 'granted'])
  }
  for (const id of [
    '',
    '   ',
    'x'.repeat(201),
    'a b',
    'a\u0000b',
    'ä',
    'a\u202eb',
    7,
    null,
    [],
    {},
  ]) {
    expect([id, idOf(id)]).toEqual([id, 'invalid_device_id'])
  }
  expect(outcome(readBootstrap('{}'))).toBe('invalid_device_id')
})

test('a body that two parsers could read differently is refused', () => {
  for (const body of [
    '',
    'null',
    '[]',
    '"x"',
    '{',
    '{"device_id":"a","device_id":"b"}',
    '{"device_id":"a","device_\\u0069d":"b"}',
    '{"device_id":"a","app_version":7}',
    '{"device_id":"a","app_version":"a\\nb"}',
    `{"device_id":"a","app_version":"${'1'.repeat(65)}"}`,
    '{"device_id":"a","enrollment_code":7}',
  ]) {
    expect([body, outcome(readBootstrap(body))]).toEqual([body, 'bad_request'])
  }
  expect(outcome(readBootstrap('{"device_id":"a","app_version":"1.0.0 (beta)"}'))).toBe('granted')
  expect(outcome(readBootstrap('{"device_id":"a","app_version":null}'))).toBe('granted')
})

test("jwt: entitlements are the user's claims, the rest the settings'", async () => {
  const defaults = { ...NO_ENTITLEMENTS, models: ['claude-*'], rateLimit: 60, spendCap: 50 }
  using world = scene({ policy: 'jwt', defaults })
  const claims = { org_id: 'acme', spend_cap: 7, user_id: 'root', family: 'x', scope: 'inference' }
  const token = tokenOf(await world.bootstrap('device', user('a1'.repeat(32), claims)))
  expect(await claimsOf(world.gate, token)).toMatchObject({
    models: ['claude-*'],
    rateLimit: 60,
    spendCap: 7,
    orgId: 'acme',
    userId: 'a1'.repeat(32),
  })
})

test('jwt: a claim that cannot be applied is a refusal, never no limit', async () => {
  using world = scene({ policy: 'jwt' })
  for (const claims of [
    { spend_cap: '10' },
    { spend_cap: 0 },
    { spend_cap: null },
    { rate_limit: 1.5 },
    { models: 'claude-*' },
    { models: [] },
    { models: ['cla*ude'] },
    { org_id: 7 },
  ]) {
    const refusal = outcome(await world.bootstrap('device', user('u', claims)))
    expect([claims, refusal]).toEqual([claims, 'enrollment_refused'])
  }
})

test('jwt: a user multiplies his limits by no more than his devices may be', async () => {
  const limits = { ...BOOTSTRAP_LIMITS, maxDevicesPerUser: 2, perUserPerHour: 5 }
  using world = scene({ policy: 'jwt', limits })
  const enrol = async (id: string, who: string, seconds = 0) =>
    outcome(await world.bootstrap(id, user(who), seconds))
  expect(await enrol('one', 'ann')).toBe('granted')
  expect(await enrol('two', 'ann')).toBe('granted')
  expect(await enrol('three', 'ann')).toBe('enrollment_limit')
  expect(await enrol('two', 'ann')).toBe('granted')
  expect(await enrol('three', 'bob')).toBe('granted')
  expect(await enrol('one', 'ann')).toBe('granted')
  expect(await enrol('one', 'ann')).toBe('enrollment_limit')
  // A day later the tokens are dead, and the places free.
  expect(await enrol('three', 'ann', 86_400)).toBe('granted')
})

test('attack 34: 1000 device ids from one address, and from many', async () => {
  const limits = { ...BOOTSTRAP_LIMITS, openPerAddressPerHour: 10, openPerHour: 25 }
  using world = scene({ policy: 'open', limits })
  const count = async (addressOf: (n: number) => string, seconds: number): Promise<number> => {
    let minted = 0
    for (let n = 0; n < 1000; n += 1) {
      const decision = await world.bootstrap(`d-${n}`, { addressKey: addressOf(n) }, seconds)
      if (decision.ok) minted += 1
      else {
        expect(decision.code).toBe('enrollment_limit')
        expect(decision.retryAfterSeconds).toBeGreaterThan(0)
      }
    }
    return minted
  }
  expect(await count(() => '192.0.2.1', 0)).toBe(10)
  expect(await count((n) => `198.51.100.${n}`, 0)).toBe(15)
})

test('who was refused because of all the others has not used up his own', async () => {
  const limits = { ...BOOTSTRAP_LIMITS, openPerAddressPerHour: 1, openPerHour: 60 }
  using world = scene({ policy: 'open', limits })
  const ask = async (addressKey: string, seconds: number) =>
    outcome(await world.bootstrap('d', { addressKey }, seconds))
  for (let n = 0; n < 60; n += 1) await ask(`192.0.2.${n}`, 0)
  expect(await ask('198.51.100.1', 0)).toBe('enrollment_limit')
  expect(await ask('198.51.100.1', 60)).toBe('granted')
  expect(await ask('198.51.100.1', 120)).toBe('enrollment_limit')
})

test('who enrols with the id of another device is another device', async () => {
  using world = scene()
  const mine = await claimsOf(world.gate, await world.enrolled('laptop-of-ann'))
  const theirs = await claimsOf(world.gate, await world.enrolled('laptop-of-ann'))
  expect(theirs.deviceId).toBe(mine.deviceId)
  expect(theirs.deviceHash).not.toBe(mine.deviceHash)
  const team = { credential: world.code({ uses: 2 }) }
  const first = await claimsOf(world.gate, tokenOf(await world.bootstrap('desk', team)))
  const again = await claimsOf(world.gate, tokenOf(await world.bootstrap('desk', team)))
  expect(again.deviceHash).toBe(first.deviceHash)
  expect(again.family).not.toBe(first.family)
})

test('system C, token prefixes printed: no secret, token or id in log or file', async () => {
  using world = scene({ policy: 'code' })
  const id = 'canary-device-4711'
  const code = world.code()
  const token = tokenOf(await world.bootstrap(id, { credential: code }))
  await world.bootstrap(id, { credential: code })
  granted(await world.gate.refresh(token, at(0)))
  expect(outcome(await world.gate.refresh(token, at(11)))).toBe('token_revoked')
  world.gate.stop()
  world.db.exec('PRAGMA wal_checkpoint(TRUNCATE)')
  const file = await Bun.file(world.path).bytes()
  const kept = Buffer.from(file).toString('latin1') + world.logged()
  expect(world.logged()).toContain('its family is revoked')
  expect(kept).toContain('fam_')
  for (const canary of [id, code, code.slice(13), token.slice(0, 12), token.slice(-20)]) {
    expect(kept).not.toContain(canary)
  }
})
