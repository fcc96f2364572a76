// One enrolment's line of tokens: how it goes on, and how it ends.

import { expect, test } from 'bun:test'
import type { DeviceEnrollment } from '../../src/enroll/enrollment.ts'
import { NO_ENTITLEMENTS } from '../../src/enroll/entitlements.ts'
import { entitlementMembers } from '../../src/enroll/entitlements.ts'
import { BOOTSTRAP_LIMITS } from '../../src/enroll/bootstrap.ts'
import { pruneEnrolment } from '../../src/enroll/prune.ts'
import { at, claimsOf, DAY_SECONDS, openDatabase, outcome, scene, tokenOf } from './scene.ts'

const refreshed = async (gate: DeviceEnrollment, token: string, seconds: number): Promise<string> =>
  tokenOf(await gate.refresh(token, at(seconds)))
const asked = async (gate: DeviceEnrollment, token: string, seconds: number): Promise<string> =>
  outcome(await gate.refresh(token, at(seconds)))
const used = async (gate: DeviceEnrollment, token: string, seconds: number): Promise<string> =>
  outcome(await gate.verify(token, at(seconds)))

test('gives a new token of the same family with a life of its own', async () => {
  using world = scene()
  const first = await world.enrolled('laptop')
  const second = await refreshed(world.gate, first, 3600)
  const [a, b] = [await claimsOf(world.gate, first), await claimsOf(world.gate, second, 3600)]
  expect(b.family).toBe(a.family)
  expect(b.deviceHash).toBe(a.deviceHash)
  expect(b.deviceId).toBe('laptop')
  expect(b.jti).not.toBe(a.jti)
  expect(b.expiresAt).toBe(a.expiresAt + 3600)
})

test('attack 36: a retry within the grace gets the answer that was lost', async () => {
  using world = scene()
  const first = await world.enrolled()
  const lost = await refreshed(world.gate, first, 100)
  expect(await refreshed(world.gate, first, 110)).toBe(lost)
  expect(await used(world.gate, first, 110)).toBe('granted')
  expect(await used(world.gate, lost, 200)).toBe('granted')
})

test('attack 36: a retired token back at /refresh after the grace ends its family', async () => {
  using world = scene()
  const first = await world.enrolled()
  const second = await refreshed(world.gate, first, 100)
  expect(await asked(world.gate, first, 110.1)).toBe('token_revoked')
  expect(await used(world.gate, first, 111)).toBe('token_revoked')
  expect(await used(world.gate, second, 111)).toBe('token_revoked')
  expect(await asked(world.gate, second, 111)).toBe('token_revoked')
})

test('a token that was replaced is good for requests until its own exp, and no longer', async () => {
  using world = scene()
  const first = await world.enrolled()
  const second = await refreshed(world.gate, first, 100)
  const restarted = world.another()
  for (const gate of [world.gate, restarted]) {
    expect(await used(gate, second, 111)).toBe('granted')
    expect(await used(gate, first, 111)).toBe('granted')
    expect(await used(gate, first, 86_399)).toBe('granted')
    expect(await used(gate, first, 86_400)).toBe('token_expired')
    expect(await used(gate, second, 86_400)).toBe('granted')
  }
})

test('attack: a retired token that is refreshed again ends its family with every newer token', async () => {
  using world = scene()
  const first = await world.enrolled()
  const second = await refreshed(world.gate, first, 100)
  // A program that holds on to its token for a while is no thief; /refresh is where one shows.
  expect(await used(world.gate, first, 110.1)).toBe('granted')
  expect(await asked(world.gate, first, 110.2)).toBe('token_revoked')
  for (const token of [first, second])
    expect(await used(world.gate, token, 110.3)).toBe('token_revoked')
})

test('an operator’s revocation ends replaced tokens too', async () => {
  using world = scene()
  const first = await world.enrolled('laptop')
  const second = await refreshed(world.gate, first, 100)
  expect(await used(world.gate, first, 150)).toBe('granted')
  await world.gate.revoke('laptop', 'operator', at(160))
  for (const token of [first, second])
    expect(await used(world.gate, token, 160)).toBe('token_revoked')
})

for (const count of [20, 200]) {
  test(`attack 36: ${count} parallel refreshes with one token: one family, nobody locked out`, async () => {
    using world = scene()
    const first = await world.enrolled()
    const { family } = await claimsOf(world.gate, first)
    const answers = await Promise.all(
      Array.from({ length: count }, () => world.gate.refresh(first, at(50))),
    )
    const tokens = new Set(answers.map(tokenOf))
    expect(tokens.size).toBe(1)
    for (const token of tokens) {
      expect((await claimsOf(world.gate, token, 3600)).family).toBe(family)
      expect(await asked(world.gate, token, 3600)).toBe('granted')
    }
  })
}

test('200 parallel refreshes over two gates on one file converge', async () => {
  using world = scene()
  const first = await world.enrolled()
  const gates = [world.gate, world.another()]
  const answers = await Promise.all(
    gates.flatMap((gate) => Array.from({ length: 100 }, () => gate.refresh(first, at(50)))),
  )
  expect(new Set(answers.map(tokenOf)).size).toBe(1)
})

test('a gate that has not polled yet asks the disk before it refreshes', async () => {
  using world = scene()
  const behind = world.another()
  const first = await world.enrolled('a')
  const second = await refreshed(world.gate, first, 0)
  expect(await asked(behind, first, 11)).toBe('token_revoked')
  expect(await used(behind, second, 11)).toBe('token_revoked')
  for (const name of ['jti', 'family'] as const) {
    const token = await world.enrolled(name)
    await world.gate.revoke((await claimsOf(world.gate, token))[name], 'operator', at(0))
    expect(await asked(behind, token, 0)).toBe('token_revoked')
  }
})

test('within the grace an old token leads to the last one, not to one that is retired too', async () => {
  using world = scene()
  const first = await world.enrolled()
  const second = await refreshed(world.gate, first, 100)
  const third = await refreshed(world.gate, second, 104)
  expect(await refreshed(world.gate, first, 108)).toBe(third)
  expect(await used(world.gate, third, 200)).toBe('granted')
})

test('entitlements come from the family, not from the presented token', async () => {
  using world = scene()
  const generous = { ...NO_ENTITLEMENTS, models: ['*'], spendCap: 100 }
  const first = await world.enrolled('laptop', { entitlements: generous })
  const { family } = await claimsOf(world.gate, first)
  const narrow = { ...NO_ENTITLEMENTS, models: ['claude-haiku-4-5'], spendCap: 1 }
  world.db
    .query('UPDATE device_families SET entitlements = ?2 WHERE family = ?1')
    .run(family, JSON.stringify(entitlementMembers(narrow)))
  const second = await claimsOf(world.gate, await refreshed(world.gate, first, 10), 10)
  expect(second).toMatchObject({ models: ['claude-haiku-4-5'], spendCap: 1 })
})

test('an expired token may not refresh, unless the settings allow it, and not a retired one', async () => {
  using world = scene()
  const first = await world.enrolled()
  expect(await asked(world.gate, first, 86_399)).toBe('granted')
  const second = await world.enrolled('another')
  expect(await asked(world.gate, second, 86_400)).toBe('token_expired')
  const lenient = world.another({ allowanceSeconds: 3600 })
  expect(await asked(lenient, second, 86_400 + 3599)).toBe('granted')
  expect(await asked(lenient, second, 86_400 + 3600)).toBe('token_expired')
  expect(await used(lenient, second, 86_400)).toBe('token_expired')
  const third = await world.enrolled('third')
  const fourth = await refreshed(lenient, third, 86_000)
  expect(await asked(lenient, third, 86_400 + 3000)).toBe('token_revoked')
  expect(await used(lenient, fourth, 86_400 + 3000)).toBe('token_revoked')
})

test('a device that slept can refresh within its idle time, each time again', async () => {
  using world = scene({ allowanceSeconds: 30 * DAY_SECONDS })
  let token = await world.enrolled()
  let now = 0
  for (let n = 0; n < 3; n += 1) {
    now += 31 * DAY_SECONDS - 1
    expect(await used(world.gate, token, now)).toBe('token_expired')
    token = await refreshed(world.gate, token, now)
    expect(await used(world.gate, token, now)).toBe('granted')
  }
  expect(await asked(world.gate, token, now + 31 * DAY_SECONDS)).toBe('token_expired')
})

test('a revocation ends idle tokens that could be refreshed, and outlives a sweep', async () => {
  const idle = { allowanceSeconds: 30 * DAY_SECONDS }
  using world = scene(idle)
  const token = await world.enrolled('laptop')
  await world.gate.revoke('laptop', 'operator', at(3 * DAY_SECONDS))
  expect(await asked(world.gate, token, 3 * DAY_SECONDS)).toBe('token_revoked')
  pruneEnrolment(world.db, at(30 * DAY_SECONDS).epochSeconds - idle.allowanceSeconds)
  expect(await asked(world.another(), token, 30 * DAY_SECONDS)).toBe('token_revoked')
})

test('a stolen token that was replaced shows itself after its exp, too', async () => {
  using world = scene({ allowanceSeconds: 30 * DAY_SECONDS })
  const stolen = await world.enrolled()
  const kept = await refreshed(world.gate, stolen, 3600)
  const week = 7 * DAY_SECONDS
  pruneEnrolment(world.db, at(week - 30 * DAY_SECONDS).epochSeconds)
  const restarted = world.another()
  expect(await asked(restarted, stolen, week)).toBe('token_revoked')
  expect(await asked(restarted, kept, week)).toBe('token_revoked')
})

test('one user’s devices that were away count again when they come back', async () => {
  const limits = { ...BOOTSTRAP_LIMITS, maxDevicesPerUser: 1 }
  using world = scene({ policy: 'jwt', limits, allowanceSeconds: 30 * DAY_SECONDS })
  const user = { identity: 'ab'.repeat(32), claims: {} }
  const away = tokenOf(await world.bootstrap('old', { user }))
  expect(outcome(await world.bootstrap('new', { user }, 3600))).toBe('enrollment_limit')
  const later = tokenOf(await world.bootstrap('new', { user }, 2 * DAY_SECONDS))
  expect(await asked(world.gate, away, 2 * DAY_SECONDS)).toBe('enrollment_limit')
  expect(await used(world.gate, later, 2 * DAY_SECONDS)).toBe('granted')
  expect(await asked(world.gate, away, 4 * DAY_SECONDS)).toBe('granted')
})

test('a family that refreshes in a loop is slowed, and its last token stays good', async () => {
  using world = scene()
  let token = await world.enrolled()
  let minted = 0
  for (let n = 0; n < 20; n += 1) {
    const decision = await world.gate.refresh(token, at(n))
    if (decision.ok) {
      token = decision.value.wrapper_token
      minted += 1
    } else {
      expect(decision.code).toBe('rate_limit_exceeded')
      expect(decision.retryAfterSeconds).toBeGreaterThan(0)
    }
  }
  expect(minted).toBe(5)
  expect(await used(world.gate, token, 20)).toBe('granted')
  expect(await asked(world.gate, token, 400)).toBe('granted')
})

test('when too many are retired, /refresh waits and requests go on', async () => {
  using world = scene({ maxRetired: 2 })
  const tokens = [await world.enrolled('a'), await world.enrolled('b'), await world.enrolled('c')]
  const outcomes = []
  for (const token of tokens) outcomes.push(await asked(world.gate, token, 0))
  expect(outcomes).toEqual(['granted', 'granted', 'enrollment_unavailable'])
  expect(await used(world.gate, tokens[2] ?? '', 60)).toBe('granted')
})

test('a disk that takes no writes: 503 for /bootstrap and /refresh, and nothing is half done', async () => {
  using world = scene()
  const first = await world.enrolled()
  const code = world.code()
  world.db.exec('PRAGMA query_only = 1')
  const bootstrapped = await world.bootstrap('b', { credential: code })
  expect(bootstrapped).toMatchObject({ code: 'enrollment_unavailable', retryAfterSeconds: 5 })
  expect(await asked(world.gate, first, 1)).toBe('enrollment_unavailable')
  expect(await used(world.gate, first, 60)).toBe('granted')
  expect(world.logged()).toContain('enrolment storage fails')

  // Neither the code nor the token was spent on an answer that never came.
  world.db.exec('PRAGMA query_only = 0')
  expect(outcome(await world.bootstrap('b', { credential: code }))).toBe('granted')
  expect(await asked(world.gate, first, 61)).toBe('granted')
})

test('a lock that another process holds costs the gate 50 ms and a 503, not a standstill', async () => {
  using world = scene()
  const first = await world.enrolled()
  using other = openDatabase(world.path)
  other.exec('BEGIN IMMEDIATE')
  // Here is the proof: it is answered while the other still holds the lock.
  expect(await asked(world.gate, first, 1)).toBe('enrollment_unavailable')
  expect(await used(world.gate, first, 1)).toBe('granted')
  other.exec('ROLLBACK')
  expect(await asked(world.gate, first, 2)).toBe('granted')
})

test('a disk that is gone: tokens are verified, and a reuse still ends its family', async () => {
  using world = scene()
  const first = await world.enrolled()
  const second = await refreshed(world.gate, first, 10)
  world.db.close()
  expect(await used(world.gate, second, 15)).toBe('granted')
  expect(await used(world.gate, first, 15)).toBe('granted')
  world.gate.stop()
  expect(world.gate.storage).toBe('failing')
  expect(await asked(world.gate, first, 21)).toBe('token_revoked')
  expect(await used(world.gate, second, 21)).toBe('token_revoked')
})

test('a token whose family the disk has never heard of is refused, and its reuse ends nothing', async () => {
  using world = scene()
  using elsewhere = scene()
  const foreign = await elsewhere.enrolled()
  expect(await asked(world.gate, foreign, 0)).toBe('invalid_token')
})

test('every answer is on the disk first: a restarted gate goes on from there', async () => {
  using world = scene()
  const first = await world.enrolled()
  const second = await refreshed(world.gate, first, 0)
  const restarted = world.another()
  expect(await refreshed(restarted, first, 5)).toBe(second)
  expect(await used(restarted, second, 5)).toBe('granted')
  const third = await refreshed(restarted, second, 6)
  expect(await used(restarted, third, 12)).toBe('granted')
  expect(await asked(restarted, first, 12)).toBe('token_revoked')
  expect(await used(restarted, third, 12)).toBe('token_revoked')
})
