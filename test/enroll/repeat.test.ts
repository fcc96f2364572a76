// An enrolment whose answer was lost is answered again: to the device that asked, and to nobody who has
// only seen its code.

import { expect, test } from 'bun:test'
import { listFamilies } from '../../src/enroll/family-list.ts'
import { at, claimsOf, outcome, scene, tokenOf } from './scene.ts'

test('the same code from the same device within ten minutes: the same token, and no second use', async () => {
  using world = scene()
  const credential = world.code()
  const lost = tokenOf(await world.bootstrap('laptop', { credential }))
  for (const gate of [world.gate, world.another()]) {
    const again = await gate.bootstrap(
      { deviceId: 'laptop', appVersion: undefined, code: credential },
      { addressKey: 'a', credential: undefined, user: undefined },
      at(599),
    )
    expect(tokenOf(again)).toBe(lost)
  }
  expect(listFamilies(world.db, { limit: 9 })).toHaveLength(1)
  const { family } = await claimsOf(world.gate, lost, 600)
  expect(
    (await claimsOf(world.gate, tokenOf(await world.gate.refresh(lost, at(601))), 601)).family,
  ).toBe(family)
})

test('twenty at once from one device: one family', async () => {
  using world = scene()
  const credential = world.code()
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => world.bootstrap('laptop', { credential })),
  )
  expect(new Set(answers.map(tokenOf)).size).toBe(1)
  expect(listFamilies(world.db, { limit: 9 })).toHaveLength(1)
})

test('not for another device, not after ten minutes, not with another code', async () => {
  using world = scene()
  const credential = world.code()
  await world.bootstrap('laptop', { credential })
  expect(outcome(await world.bootstrap('Laptop', { credential }, 1))).toBe('enrollment_refused')
  expect(outcome(await world.bootstrap('laptop', { credential }, 600))).toBe('enrollment_refused')
  const other = world.code()
  tokenOf(await world.bootstrap('laptop', { credential: other }, 1))
  expect(listFamilies(world.db, { limit: 9 })).toHaveLength(2)
})

test('attack: somebody who knows the code and the device gets nothing once the token is used', async () => {
  using world = scene()
  const credential = world.code()
  const token = tokenOf(await world.bootstrap('laptop', { credential }))
  const behind = world.another()
  expect(outcome(await world.gate.verify(token, at(1)))).toBe('granted')
  expect(outcome(await world.bootstrap('laptop', { credential }, 2))).toBe('enrollment_refused')
  // Another gate on the file knows it as soon as this one has written it down.
  world.gate.stop()
  const asked = { deviceId: 'laptop', appVersion: undefined, code: credential }
  const context = { addressKey: 'a', credential: undefined, user: undefined }
  expect(outcome(await behind.bootstrap(asked, context, at(3)))).toBe('enrollment_refused')
})

test('attack: nor once it was refreshed, or revoked by any of its names', async () => {
  using world = scene()
  const name = { 'by a refresh': '', family: 'family', token: 'jti', device: 'deviceHash' } as const
  for (const [how, member] of Object.entries(name)) {
    using elsewhere = scene()
    const credential = elsewhere.code()
    const token = tokenOf(await elsewhere.bootstrap('laptop', { credential }))
    // Looked at by a gate that writes nothing down.
    const claims = await claimsOf(world.gate, token)
    if (member === '') tokenOf(await elsewhere.gate.refresh(token, at(1)))
    else await elsewhere.gate.revoke(claims[member], 'operator', at(1))
    expect([how, outcome(await elsewhere.bootstrap('laptop', { credential }, 2))]).toEqual([
      how,
      'enrollment_refused',
    ])
  }
})

test('a code for several: a device that came back for good takes a second use, and no third token', async () => {
  using world = scene()
  const credential = world.code({ uses: 2 })
  const first = tokenOf(await world.bootstrap('laptop', { credential }))
  expect(outcome(await world.gate.verify(first, at(1)))).toBe('granted')
  const second = tokenOf(await world.bootstrap('laptop', { credential }, 2))
  expect(tokenOf(await world.bootstrap('laptop', { credential }, 3))).toBe(second)
  expect(second).not.toBe(first)
  expect(outcome(await world.bootstrap('desk', { credential }, 4))).toBe('enrollment_refused')
})

test('when a device was last seen is known to the minute, at one write a minute', async () => {
  using world = scene()
  const token = await world.enrolled('laptop')
  const seenAt = () => listFamilies(world.db, { limit: 1 })[0]?.seenAt
  expect(seenAt()).toBeUndefined()
  const start = Math.ceil(at(0).epochSeconds / 60) * 60 - at(0).epochSeconds
  for (let n = 0; n < 50; n += 1) await world.gate.verify(token, at(start + n))
  world.gate.stop()
  expect(seenAt()).toBe(at(start).epochSeconds)
  world.db.run('CREATE TABLE writes (n)')
  world.db.run(
    'CREATE TRIGGER wrote AFTER INSERT ON device_seen BEGIN INSERT INTO writes VALUES (1); END',
  )
  for (let n = 50; n < 70; n += 1) await world.gate.verify(token, at(start + n))
  world.gate.stop()
  world.gate.stop()
  expect(seenAt()).toBe(at(start + 60).epochSeconds)
  expect(world.db.query('SELECT count(*) AS n FROM writes').get()).toEqual({ n: 1 })
})
