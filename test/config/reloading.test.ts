// What a reload does while files change, while parts cannot be made, and after its end.

import { afterEach, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pino from 'pino'
import type { ProcessEnvironment } from '../../src/config/given.ts'
import { readNamedFiles } from '../../src/gate/named-files.ts'
import { type Reload, reloading, type Reread } from '../../src/gate/reload.ts'
import type { Configuration } from '../../src/gate/reload-change.ts'
import { prepareAll, remade } from '../../src/gate/remade.ts'
import { until } from '../support/binary.ts'
import { PRODUCTION, settings } from './reading.ts'

const FILES = readNamedFiles({}, 0)
const configuration = (env: ProcessEnvironment = {}): Configuration => {
  if (!FILES.ok) throw new Error('no prices')
  return { settings: settings([], { ...PRODUCTION, ...env }), named: FILES.named }
}

const folders: string[] = []
let running: Reload | undefined
afterEach(() => {
  running?.stop()
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true })
})

function scene(reread: (path: string) => Reread) {
  const folder = mkdtempSync(join(tmpdir(), 'postern-reloading-'))
  folders.push(folder)
  const path = join(folder, 'document')
  writeFileSync(path, 'first')
  const lines: Record<string, unknown>[] = []
  const exchanged: Configuration[] = []
  const broken = { now: false }
  running = reloading({
    first: configuration(),
    files: [path],
    warnings: ['known'],
    reread: () => reread(path),
    exchange(next) {
      if (broken.now) throw new Error('canary')
      exchanged.push(next)
    },
    log: pino({ base: null }, { write: (line: string) => void lines.push(JSON.parse(line)) }),
    pollMs: 5,
    settleMs: 2,
    maxAbsentMs: 20,
    retryMs: 10,
    lookAgainMs: 10,
  })
  const said = (text: string): number =>
    lines.filter(({ msg }) => String(msg).includes(text)).length
  return { path, reload: running, exchanged, broken, said, lines }
}

const taken = (
  path: string,
  env: ProcessEnvironment,
  warnings: readonly string[] = [],
): Reread => ({
  ok: true,
  configuration: configuration(env),
  files: [path],
  warnings,
})

test('warnings about new settings are logged with them, and once', () => {
  let readings = 0
  const { exchanged, reload, said } = scene((path) => {
    readings += 1
    return taken(path, { RATE_LIMIT_RPM: String(2 + readings) }, ['known', 'everybody may'])
  })
  reload.now()
  reload.now()
  expect([exchanged.length, said('everybody may'), said('known')]).toEqual([2, 1, 0])
})

test('settings are read again if a file changed meanwhile', () => {
  let readings = 0
  const { exchanged, reload } = scene((path) => {
    readings += 1
    // Another process is in the middle of its work.
    if (readings < 3) writeFileSync(path, 'x'.repeat(readings + 10))
    return taken(path, { RATE_LIMIT_RPM: String(readings) })
  })
  reload.now()
  expect(exchanged.map(({ settings }) => settings.rateLimitRpm)).toEqual([3])
})

test('a change during the start is applied, once, and without a further change', async () => {
  let readings = 0
  const { exchanged, said } = scene((path) => {
    readings += 1
    return taken(path, { RATE_LIMIT_RPM: '3' })
  })
  await until(() => exchanged.length > 0)
  expect([exchanged.length, readings, said('reloaded')]).toEqual([1, 1, 1])
})

test('a file that a new document names is watched too', async () => {
  let other = ''
  let readings = 1
  const { path, exchanged, reload } = scene((path) => {
    other = `${path}.other`
    return {
      ...taken(path, { RATE_LIMIT_RPM: String(readings++) }),
      files: [path, other],
    } as Reread
  })
  writeFileSync(`${path}.other`, 'a')
  reload.now()
  const before = exchanged.length
  writeFileSync(other, 'another')
  await until(() => exchanged.length > before)
})

test('a mistake is logged once, and the settings are read again without a change of any file', async () => {
  let readings = 0
  const wrong = [{ setting: 'PORT', message: 'is wrong', hint: 'mend it' }]
  const { exchanged, reload, said } = scene((path) => {
    readings += 1
    return readings < 5 ? { ok: false, mistakes: wrong } : taken(path, { RATE_LIMIT_RPM: '3' })
  })
  reload.now()
  await until(() => exchanged.length === 1)
  expect([said('PORT is wrong'), said('those of before go on'), said('reloaded')]).toEqual([
    1, 1, 1,
  ])
})

test('a part that cannot be made changes nothing, and says none of its words', () => {
  const { exchanged, broken, reload, said, lines } = scene((path) =>
    taken(path, { RATE_LIMIT_RPM: '3' }),
  )
  broken.now = true
  reload.now()
  expect([exchanged.length, said('cannot be exchanged')]).toEqual([0, 1])
  expect(JSON.stringify(lines)).not.toContain('canary')
  broken.now = false
  reload.now()
  expect(exchanged.length).toBe(1)
})

test('nothing is read after the end', async () => {
  let readings = 0
  const { path, reload } = scene((path) => {
    readings += 1
    return taken(path, {})
  })
  writeFileSync(path, 'second')
  reload.stop()
  reload.now()
  await Bun.sleep(30)
  expect(readings).toBe(0)
})

test('all parts are prepared before one is put in place', () => {
  const first = configuration()
  const one = remade(first, ({ settings }) => settings.rateLimitRpm)
  const other = remade(first, ({ settings }) => {
    if (settings.rateLimitRpm === 7) throw new Error('cannot')
    return settings.rateLimitBurst
  })
  const all = [one.prepare, other.prepare]
  expect(() => prepareAll(all, configuration({ RATE_LIMIT_RPM: '7' }))).toThrow('cannot')
  expect(one.now()).toBe(first.settings.rateLimitRpm)
  const commit = prepareAll(all, configuration({ RATE_LIMIT_RPM: '8', RATE_LIMIT_BURST: '9' }))
  expect([one.now(), other.now()]).toEqual([
    first.settings.rateLimitRpm,
    first.settings.rateLimitBurst,
  ])
  commit()
  expect([one.now(), other.now()]).toEqual([8, 9])
})
