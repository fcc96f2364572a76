// `postern key`, as the operator's terminal shows it, and on the compiled binary.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { store } from '../../src/database/store.ts'
import { TABLES } from '../../src/gate/migrations.ts'
import { isWellFormed } from '../../src/keys/format.ts'
import {
  add,
  type AddFlags,
  type KeyRules,
  readAdd,
  readRotation,
  revoke,
  rotate,
} from '../../src/operate/keys.ts'
import { list } from '../../src/operate/key-list.ts'
import { readEnd } from '../../src/operate/when.ts'
import { type CommandEnd, runToEnd } from '../support/binary.ts'
import { at, type KeyScene, keyScene } from './scene.ts'

const DAY = 86_400

function terminal() {
  const shown = { out: '', err: '' }
  const stdout = (text: string): void => void (shown.out += text)
  const stderr = (text: string): void => void (shown.err += text)
  return { shown, output: { stdout, stderr } }
}

/** As the settings have it where nothing is set and no document is named. */
const USUAL: KeyRules = {
  policy: undefined,
  lifetimeSeconds: 90 * DAY,
  maxLifetimeSeconds: Infinity,
  overlapSeconds: DAY,
  policies: undefined,
}

async function added(on: KeyScene, name: string, flags: AddFlags = {}, seconds = 0, rules = USUAL) {
  const { shown, output } = terminal()
  const nowSeconds = at(seconds).epochSeconds
  const read = readAdd(name, flags, rules, nowSeconds)
  if (!read.ok) throw new Error(JSON.stringify(read.mistakes))
  const code = await add(on.records, read.value, output, { policies: rules.policies, nowSeconds })
  return { code, ...shown }
}

async function listed(
  on: KeyScene,
  all: boolean,
  seconds: number,
  policies?: string[],
): Promise<unknown[]> {
  const { shown, output } = terminal()
  await list(on.records, { all, json: true, policies }, output, at(seconds).epochSeconds)
  return JSON.parse(shown.out)
}

describe('until when', () => {
  const now = Date.parse('2026-11-29T12:00:00Z') / 1000
  test.each([
    ['90d', now + 90 * DAY],
    ['12h', now + 12 * 3600],
    ['30m', now + 1800],
    ['2026-11-29', Date.parse('2026-11-30T00:00:00Z') / 1000],
    ['2027-01-31', Date.parse('2027-02-01T00:00:00Z') / 1000],
    ['2027-01-31T06:30Z', Date.parse('2027-01-31T06:30:00Z') / 1000],
    ['2027-01-31T06:30:15Z', Date.parse('2027-01-31T06:30:15Z') / 1000],
    ['never', 'never' as const],
  ])('%s', (text, end) => expect(readEnd(text, now)).toBe(end))
  const NONE =
    '|0d|-1d|90|1w|1.5h|Never|forever|d|99999d|90d |1e3d|2026-11-28|2027-02-31|2027-13-01|27-01-01' +
    '|2047-01-01|2027-01-31T25:00Z|2027-01-31T06:30|2027-01-31 06:30Z'
  test.each(NONE.split('|'))('not %p', (text) => expect(readEnd(text, now)).toBeUndefined())
})

describe('add', () => {
  test('prints the key once, alone on stdout, and its terms on stderr', async () => {
    using on = keyScene()
    const { code, out, err } = await added(on, 'ci', {
      policy: 'builders',
      org: 'acme',
      expires: '12h',
    })
    expect([code, isWellFormed(out.slice(0, -1)), out.at(-1)]).toEqual([0, true, '\n'])
    expect(err).not.toContain(out.slice(3, 33))
    expect(err).toContain('key "ci", until ')
    expect(err).toContain(', policy builders, org acme\nit is shown this once')
    const [row] = await listed(on, false, 1)
    expect(row).toMatchObject({ name: 'ci', policy: 'builders', org: 'acme', state: 'active' })
    expect(JSON.stringify(row)).not.toContain(out.slice(3, 33))
  })

  test('without --expires a key lasts 90 days, and forever only on request', async () => {
    using on = keyScene()
    await added(on, 'usual')
    await added(on, 'for ever', { expires: 'never' })
    const utc = (seconds: number): string => new Date(at(seconds).epochSeconds * 1000).toISOString()
    expect(await listed(on, false, 0)).toMatchObject([
      { name: 'for ever', expires_at: null },
      { name: 'usual', expires_at: utc(90 * DAY) },
    ])
  })

  test('every mistake at once, each with its flag and a hint, and nothing made', () => {
    const read = readAdd('a\u001b[2J', { policy: 'a b', org: 'ä', expires: 'soon' }, USUAL, 0)
    if (read.ok) throw new Error('no mistake was found')
    const settings = read.mistakes.map(({ setting }) => setting)
    expect(settings).toEqual(['NAME', '--policy', '--org', '--expires'])
    expect(read.mistakes.every(({ hint }) => hint !== '')).toBe(true)
    for (const name of ['', ' a', 'a ', '-x', 'pk_x', 'ab'.repeat(32), 'x'.repeat(101), 'a\nb']) {
      const wrong = readAdd(name, {}, USUAL, 0)
      expect([name, wrong.ok]).toEqual([name, false])
      if (name.length > 2) expect(JSON.stringify(wrong)).not.toContain(name)
    }
  })

  test('a name that is taken is 1, and changes nothing', async () => {
    using on = keyScene()
    await added(on, 'ci')
    expect(await added(on, 'ci')).toMatchObject({ code: 1, out: '' })
    expect(await listed(on, true, 0)).toHaveLength(1)
  })
})

describe('list, rotate, revoke', () => {
  test('list the keys and their states', async () => {
    using on = keyScene()
    await added(on, 'ci', { expires: '12h' })
    await added(on, 'short', { expires: '1m' })
    const said = terminal()
    const rotation = readRotation({ overlap: '1h' }, USUAL, at(0).epochSeconds)
    if (!rotation.ok) throw new Error('mistaken')
    expect(await rotate(on.records, 'ci', rotation.value, said.output, at(0).epochSeconds)).toBe(0)
    expect(isWellFormed(said.shown.out.trim())).toBe(true)
    expect(said.shown.err).toContain('the old key stays good until ')
    const states = async (all: boolean, seconds: number) =>
      ((await listed(on, all, seconds)) as { name: string; state: string }[]).map(
        ({ name, state }) => `${name} ${state}`,
      )
    expect(await states(false, 1)).toEqual(['ci active', 'short active', 'ci rotated'])
    expect(await states(false, 3601)).toEqual(['ci active'])
    expect(await states(true, 3601)).toEqual(['ci active', 'short expired', 'ci replaced'])
    const { shown, output } = terminal()
    expect(await revoke(on.records, 'ci', output, at(2).epochSeconds)).toBe(0)
    expect(shown.out).toBe('key "ci" revoked, with the keys that its rotations had left valid\n')
    expect(await revoke(on.records, 'ci', output, at(3).epochSeconds)).toBe(0)
    expect(await states(true, 4)).toEqual(['ci revoked', 'short active', 'ci revoked'])
    const table = terminal()
    await list(
      on.records,
      { all: true, json: false, policies: undefined },
      table.output,
      at(100).epochSeconds,
    )
    expect(table.shown.out).toMatch(/^KEY +POLICY +ORG +LAST SEEN +STATE\n/)
    expect(table.shown.out).toMatch(/\nshort +- +- +never +expired 20/)
  })

  test('an unknown name is exit code 1, and is not repeated: it may be a key', async () => {
    using on = keyScene()
    const { shown, output } = terminal()
    expect(await revoke(on.records, 'pk_pasted', output, 0)).toBe(1)
    expect(
      await rotate(on.records, 'pk_pasted', { overlapSeconds: 0, expiresAt: 'same' }, output, 0),
    ).toBe(1)
    expect(shown.out).toBe('')
    expect(shown.err).not.toContain('pasted')
  })

  test('mistakes of a rotation, all at once', () => {
    const read = readRotation({ overlap: '91d', expires: 'x' }, USUAL, 0)
    expect(read.ok || read.mistakes.map(({ setting }) => setting)).toEqual([
      '--overlap',
      '--expires',
    ])
    expect(readRotation({ overlap: '0' }, USUAL, 0)).toMatchObject({ value: { overlapSeconds: 0 } })
  })
})

describe('the settings for keys', () => {
  const strict: KeyRules = {
    policy: 'builders',
    lifetimeSeconds: 30 * DAY,
    maxLifetimeSeconds: 30 * DAY,
    overlapSeconds: 3600,
    policies: ['builders', 'staff'],
  }
  const mistakesOf = (flags: AddFlags, rules = strict): string[] => {
    const read = readAdd('ci', flags, rules, at(0).epochSeconds)
    return read.ok
      ? []
      : read.mistakes.map((each) => `${each.setting} ${each.message} (${each.hint})`)
  }

  test('is the default for words that are not given', async () => {
    using on = keyScene()
    const { err } = await added(on, 'ci', {}, 0, strict)
    expect(err).toContain('policy builders')
    expect(err).not.toContain('a gate that has no policy of this name')
    const expires = new Date((at(0).epochSeconds + 30 * DAY) * 1000).toISOString()
    expect(await listed(on, false, 0)).toMatchObject([{ policy: 'builders', expires_at: expires }])
    const rotation = readRotation({}, strict, at(0).epochSeconds)
    expect(rotation).toMatchObject({ ok: true, value: { overlapSeconds: 3600 } })
  })

  test('a policy that the document does not have is a mistake that names those it has', () => {
    expect(mistakesOf({ policy: 'staff' })).toEqual([])
    expect(mistakesOf({ policy: 'stuff' })).toEqual([
      '--policy names a policy that the document does not have (did you mean staff?)',
    ])
    expect(mistakesOf({ policy: 'xyzzy' })).toEqual([
      '--policy names a policy that the document does not have (there are builders, staff)',
    ])
    expect(mistakesOf({ policy: 'xyzzy' }, { ...strict, policies: [] })).toEqual([
      '--policy names a policy that the document does not have (there is none)',
    ])
    expect(mistakesOf({}, { ...strict, policies: ['staff'] })).toEqual([
      'KEY_POLICY names a policy that the document does not have (there are staff)',
    ])
  })

  test('no key is made for longer than one may live', () => {
    expect(mistakesOf({ expires: '30d' })).toEqual([])
    for (const expires of ['31d', '721h', 'never', '2030-01-01']) {
      expect(mistakesOf({ expires })).toEqual([
        '--expires is later than KEY_MAX_LIFETIME lets a key live (give 30d at the most)',
      ])
      expect(readRotation({ expires }, strict, at(0).epochSeconds).ok).toBe(false)
    }
  })

  test('a rotation of a key with a longer lifetime, or without an end, is cut to the maximum', async () => {
    for (const expires of ['365d', 'never', '10d']) {
      using on = keyScene()
      await added(on, 'old', { expires })
      const rotation = readRotation({}, strict, at(0).epochSeconds)
      if (!rotation.ok) throw new Error('mistaken')
      expect(
        await rotate(on.records, 'old', rotation.value, terminal().output, at(60).epochSeconds),
      ).toBe(0)
      const days = expires === '10d' ? 10 : 30
      const end = new Date((at(60).epochSeconds + days * DAY) * 1000).toISOString()
      expect((await listed(on, false, 60))[0]).toMatchObject({ state: 'active', expires_at: end })
    }
  })

  test('a key whose policy is gone is marked in the list, and gets no successor', async () => {
    using on = keyScene()
    await added(on, 'kept', { policy: 'staff' })
    await added(on, 'lost', { policy: 'gone' })
    await added(on, 'plain')
    const known = async (policies?: string[]) =>
      ((await listed(on, false, 0, policies)) as { policy_known: unknown }[]).map(
        ({ policy_known }) => policy_known,
      )
    expect(await known(['staff'])).toEqual([true, false, true])
    expect(await known()).toEqual([true, null, null])
    const { shown, output } = terminal()
    const { epochSeconds } = at(0)
    await list(on.records, { all: false, json: false, policies: ['staff'] }, output, epochSeconds)
    expect(shown.out).toContain('gone (gone)')
    expect(shown.err).toContain('a gate refuses the key')
    const said = terminal()
    const rotation = readRotation({}, strict, epochSeconds)
    if (!rotation.ok) throw new Error('mistaken')
    expect(await rotate(on.records, 'lost', rotation.value, said.output, epochSeconds)).toBe(1)
    expect(said.shown.out).toBe('')
    expect(said.shown.err).toContain('its policy is not in the document')
    expect(await rotate(on.records, 'kept', rotation.value, terminal().output, epochSeconds)).toBe(
      0,
    )
  })
})

describe('the binary', () => {
  let folder: string
  let file: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'postern-keys-'))
    file = join(folder, 'postern.db')
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  const run = (...args: string[]): Promise<CommandEnd> =>
    runToEnd(['key', ...args], { DATABASE_URL: `sqlite:${file}` }, folder)

  test('creates no database', async () => {
    for (const args of [['add', 'ci'], ['list'], ['rotate', 'ci'], ['revoke', 'ci']]) {
      const done = await run(...args)
      expect([done.exitCode, done.stdout]).toEqual([1, ''])
      expect(done.stderr).toContain('the database cannot be used: missing')
    }
    expect(existsSync(file)).toBe(false)
  })

  test('suggests the intended word, and shows how an action is written', async () => {
    for (const [args, words] of [
      [[], 'an action is missing'],
      [['lst'], 'did you mean: postern key list?'],
      [['create', 'ci'], 'did you mean: postern key add?'],
      [['xyzzy'], 'postern help key shows them'],
      [['add'], "missing required argument 'name'"],
      [['add', 'ci', '--expire', '1d'], 'Did you mean --expires?'],
      [['add', 'ci', '--expires', '0d'], '--expires is not a future time'],
      [['list', 'x'], 'too many arguments'],
    ] as const) {
      const { exitCode, stdout, stderr } = await run(...args)
      expect([args, exitCode, stdout]).toEqual([args, 64, ''])
      expect(stderr).toContain(words)
    }
    for (const [args, words] of [
      [['help', 'key'], /^Usage: postern key ACTION\n/],
      [['help', 'keys'], /^Usage: postern key ACTION\n/],
      [['help', 'key', 'add'], /^Usage: postern key add /],
      [['key', 'rotate', '--help'], /^Usage: postern key rotate /],
    ] as const) {
      const { exitCode, stdout, stderr } = await runToEnd(args)
      expect([exitCode, stderr]).toEqual([0, ''])
      expect(stdout).toMatch(words)
      for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(80)
    }
  })

  test('one after another, and the key in no file', async () => {
    const opened = store(file, TABLES).open()
    if (opened.ok) opened.database.close()
    const first = await run('add', 'ci', '--policy', 'p', '--org', 'acme', '--expires', '30d')
    expect(first.exitCode).toBe(0)
    expect(isWellFormed(first.stdout.trim())).toBe(true)
    expect((await run('add', 'ci')).exitCode).toBe(1)
    const second = await run('rotate', 'ci')
    expect(isWellFormed(second.stdout.trim())).toBe(true)
    const json = await run('list', '--json')
    expect(JSON.parse(json.stdout)).toMatchObject([
      { name: 'ci', policy: 'p', org: 'acme', state: 'active' },
      { name: 'ci', policy: 'p', org: 'acme', state: 'rotated' },
    ])
    const found = await run('revoke', first.stdout.trim())
    expect(found).toEqual({ exitCode: 0, stdout: 'key "ci" revoked\n', stderr: '' })
    expect((await run('revoke', 'ci')).exitCode).toBe(0)
    expect((await run('revoke', 'nothing')).exitCode).toBe(1)
    const audit = await runToEnd(['audit', '--json'], { DATABASE_URL: `sqlite:${file}` })
    const actions = (JSON.parse(audit.stdout) as { action: string }[]).map(({ action }) => action)
    expect(actions).toEqual(['key add', 'key rotate', 'key revoke', 'key revoke'])
    const bytes = readdirSync(folder)
      .map((name) => readFileSync(join(folder, name)).toString('latin1'))
      .join('')
    for (const { stdout } of [first, second]) {
      expect(bytes + json.stdout + found.stdout + audit.stdout).not.toContain(stdout.slice(3, 33))
    }
  })
})
