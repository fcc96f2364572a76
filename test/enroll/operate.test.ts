// `postern enrol` and `postern revoke`, as the operator's terminal shows them.

import { expect, test } from 'bun:test'
import { NO_ENTITLEMENTS } from '../../src/enroll/entitlements.ts'
import {
  enrol,
  type EnrolFlags,
  listEnrolments,
  readEnrolFlags,
  revokeByName,
} from '../../src/operate/enroll.ts'
import { at, claimsOf, identify, outcome, type Scene, scene, tokenOf } from './scene.ts'

function terminal() {
  const shown = { out: '', err: '' }
  const stdout = (text: string): void => void (shown.out += text)
  const stderr = (text: string): void => void (shown.err += text)
  return { shown, output: { stdout, stderr } }
}

async function enrolled(world: Scene, flags: EnrolFlags): Promise<{ out: string; err: string }> {
  const { shown, output } = terminal()
  const read = readEnrolFlags(flags)
  if (!read.ok) throw new Error(JSON.stringify(read.mistakes))
  await enrol(world.records.devices, read.value, output, at(0).epochSeconds)
  return shown
}

test('prints the code once, alone on stdout, and its grants on stderr', async () => {
  using world = scene()
  const { out, err } = await enrolled(world, {
    models: 'claude-haiku-*, claude-sonnet-4-5',
    rateLimit: '30',
    spendCap: '12.50',
    org: 'acme',
    user: 'ann@acme.example',
    uses: '2',
    expires: '7d',
    label: "Ann's laptop",
  })
  expect(out).toMatch(/^postern-code-[A-Za-z0-9_-]{32}\n$/)
  expect(err).not.toContain(out.trim().slice(13))
  expect(err).toContain('2 of 2 uses left')
  expect(err).toContain('models claude-haiku-*,claude-sonnet-4-5')
  const token = tokenOf(await world.bootstrap('laptop', { credential: out.trim() }, 6 * 86_400))
  expect(await claimsOf(world.gate, token, 6 * 86_400)).toMatchObject({
    models: ['claude-haiku-*', 'claude-sonnet-4-5'],
    rateLimit: 30,
    spendCap: 12.5,
    orgId: 'acme',
    userId: 'ann@acme.example',
  })

  const { shown, output } = terminal()
  await listEnrolments(world.records.devices, output, at(0).epochSeconds)
  expect(shown.out).toContain(`"Ann's laptop", 1 of 2 uses left`)
  expect(shown.out).not.toContain(out.trim().slice(13))
})

test('without flags: one use, 24 hours, and the terms of the settings', async () => {
  using world = scene({ defaults: { ...NO_ENTITLEMENTS, rateLimit: 7 } })
  const [one, two] = [await enrolled(world, {}), await enrolled(world, {})]
  const late = await world.bootstrap('a', { credential: one.out.trim() }, 86_400)
  expect(outcome(late)).toBe('enrollment_refused')
  const credential = two.out.trim()
  const token = tokenOf(await world.bootstrap('a', { credential }, 86_399))
  expect(await claimsOf(world.gate, token, 86_399)).toMatchObject({ rateLimit: 7 })
  expect(outcome(await world.bootstrap('b', { credential }))).toBe('enrollment_refused')
})

test('every mistake at once, each with its flag and a hint, and no code made', () => {
  const read = readEnrolFlags({
    models: 'claude-*,,x',
    rateLimit: '0',
    spendCap: '-1',
    org: '',
    user: 'ä',
    uses: '10001',
    expires: '91d',
    label: 'a\u001b[2J',
  })
  if (read.ok) throw new Error('no mistake was found')
  expect(read.mistakes.map(({ setting }) => setting).toSorted()).toEqual([
    '--expires',
    '--label',
    '--models',
    '--org',
    '--rate-limit',
    '--spend-cap',
    '--user',
    '--uses',
  ])
  expect(read.mistakes.every(({ hint }) => hint !== '')).toBe(true)
  for (const flags of [
    { spendCap: '0' },
    { spendCap: '1e3' },
    { expires: '0h' },
    { expires: '1w' },
  ]) {
    expect(readEnrolFlags(flags).ok).toBe(false)
  }
})

test('revoke reports what it did, and its exit code whether the name was known', async () => {
  using world = scene()
  const token = await world.enrolled('laptop')
  const { family, jti, deviceHash } = await claimsOf(world.gate, token)
  const said = async (name: string): Promise<[number, string]> => {
    const { shown, output } = terminal()
    return [
      await revokeByName(world.records, name, { identify, former: [] }, output, at(0).epochSeconds),
      shown.out,
    ]
  }
  expect((await said(jti))[1]).toBe(
    'token revoked; what it was refreshed to belongs to its family\n',
  )
  expect(await said('laptop')).toEqual([0, `device revoked: 1 family\n  ${family}\n`])
  expect(await said(deviceHash)).toEqual([0, 'device revoked: 0 families\n'])
  expect(await said(family)).toEqual([0, 'family was revoked before\n'])
  expect((await said('code:1'))[1]).toBe('code withdrawn; 0 families enrolled with it revoked\n')
  expect((await said('unheard-of'))[0]).toBe(1)
  expect(await said('code:77')).toEqual([1, 'no such code\n'])
})

test('the list shows usable codes, and the reasons for the others', async () => {
  using world = scene()
  const { shown, output } = terminal()
  await listEnrolments(world.records.devices, output, at(0).epochSeconds)
  expect(shown).toEqual({ out: '', err: 'no codes\n' })
  const used = await enrolled(world, { label: 'used' })
  await world.bootstrap('a', { credential: used.out.trim() })
  await enrolled(world, { label: 'short', expires: '1m' })
  await enrolled(world, { label: 'good' })
  await listEnrolments(world.records.devices, output, at(61).epochSeconds)
  const lines = shown.out.split('\n')
  expect(lines[0]).toContain('"good", 1 of 1 uses left')
  expect(lines[1]).toMatch(/"short".*, expired$/)
  expect(lines[2]).toMatch(/"used".*, used$/)
})
