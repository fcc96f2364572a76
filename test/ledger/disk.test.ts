// A disk that is full, read-only or gone under a running gate stops no inference, is loud once, shows
// in /readyz, and costs no row when it comes back. At a start, a database that cannot be used does
// stop it, and says so.

import { Database } from 'bun:sqlite'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { store } from '../../src/database/store.ts'
import { TABLES } from '../../src/gate/migrations.ts'
import { runToEnd, until } from '../support/binary.ts'
import { eventually } from '../support/sink.ts'
import {
  answerUnary,
  type Device,
  HAIKU,
  type LedgerScene,
  ledgerScene,
  NOTHING,
  told,
} from './scene.ts'

const USED = { ...NOTHING, input: 3, output: 2 }
const folder = mkdtempSync(`${tmpdir()}/postern-disk-`)
afterAll(() => {
  for (const name of ['full', 'gone/data']) run('umount', '-l', `${folder}/${name}`)
  rmSync(folder, { recursive: true, force: true })
})

const run = (...words: string[]): boolean =>
  Bun.spawnSync(words, { stdout: 'ignore', stderr: 'ignore' }).exitCode === 0
const mount = (at: string, options: string): boolean => {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false
  mkdirSync(at, { recursive: true })
  return run('mount', '-t', 'tmpfs', '-o', options, 'tmpfs', at)
}

/** Skipped, and seen to be, where nothing may be mounted. */
const mayMount = ((): boolean => {
  const may = mount(`${folder}/full`, 'size=1m')
  if (may) run('umount', `${folder}/full`)
  else process.stderr.write('no right to mount small disks here: two tests are skipped\n')
  return may
})()

async function ask(device: Device, count: number): Promise<void> {
  const one = async (): Promise<void> => {
    for (let each = 0; each < count / 20; each++) {
      const response = await device.post({ model: HAIKU })
      await response.bytes()
      expect(response.status).toBe(200)
    }
  }
  await Promise.all(Array.from({ length: 20 }, one))
}
const ready = async (scene: LedgerScene): Promise<[number, any]> => {
  const response = await fetch(`${scene.gate.url}/readyz`)
  return [response.status, await response.json()]
}
const isSaid = (scene: LedgerScene, ledger: string | undefined): Promise<unknown> =>
  eventually(async () => (await ready(scene))[1].ledger === ledger, 8000)
const loud = (scene: LedgerScene): unknown[] =>
  scene.gate
    .lines()
    .filter(({ msg }) => String(msg).startsWith('the ledger cannot be written'))
    .map(({ level, reason }) => [level, reason])

describe('under a running gate', () => {
  let scene: LedgerScene
  let device: Device
  let asked = 0
  beforeEach(async () => {
    asked = 0
    scene = await ledgerScene({ DATABASE_URL: `sqlite:${folder}/gone/data/postern.db` })
    scene.upstream.respond((_request, response) => answerUnary(response, USED))
    device = await scene.device()
  })
  afterEach(async () => {
    // A test that failed has left it there, and the next one needs the folder.
    run('umount', '-l', `${folder}/gone/data`)
    await scene.close()
    rmSync(`${folder}/gone`, { recursive: true })
  })

  const askSome = async (): Promise<void> => {
    await ask(device, 40)
    asked += 40
  }

  test('a folder that is gone and cannot be made again, and comes back', async () => {
    await askSome()
    await device.rows(asked)
    renameSync(`${folder}/gone/data`, `${folder}/gone/moved`)
    writeFileSync(`${folder}/gone/data`, '')
    await askSome()
    await isSaid(scene, 'cannot_open')
    expect(await ready(scene)).toEqual([200, { status: 'ready', ledger: 'cannot_open' }])
    await askSome()
    await until(() => loud(scene).length > 0)
    expect(loud(scene)).toEqual([['error', 'cannot_open']])
    rmSync(`${folder}/gone/data`)
    renameSync(`${folder}/gone/moved`, `${folder}/gone/data`)
    await isSaid(scene, undefined)
    expect((await told(scene))['requests']).toBe(asked)
    expect((await told(scene))['tokens']).toEqual({
      ...NOTHING,
      input: 3 * asked,
      output: 2 * asked,
    })
    await until(() => scene.gate.output().includes('the ledger is written again'))
    expect(scene.gate.output()).not.toContain(folder)
  })

  test.if(mayMount)('a disk that has become read-only, and is writable again', async () => {
    await askSome()
    await device.rows(asked)
    // Over it, in one step: in two, the gate makes the folder anew between them.
    expect(mount(`${folder}/gone/data`, 'ro,size=1m')).toBe(true)
    await askSome()
    await isSaid(scene, 'read_only')
    await until(() => loud(scene).length > 0)
    expect(loud(scene)).toEqual([['error', 'read_only']])
    run('umount', `${folder}/gone/data`)
    await isSaid(scene, undefined)
    expect((await told(scene))['requests']).toBe(asked)
  })

  test('a folder that vanishes for good: a new file, and tokens go on', async () => {
    await askSome()
    await device.rows(asked)
    rmSync(`${folder}/gone/data`, { recursive: true })
    await askSome()
    const found = await eventually(async () => {
      const sums = await told(scene).catch(() => undefined)
      return sums?.['requests'] === 40 && sums
    })
    expect(found['tokens']).toEqual({ ...NOTHING, input: 120, output: 80 })
    expect(scene.gate.output()).toContain('moved or deleted while in use')
    expect((await ready(scene))[1]).toEqual({ status: 'ready', database: 'moved' })
  })
})

test.if(mayMount)('a full disk stops no request and loses no row', async () => {
  const disk = `${folder}/full`
  expect(mount(disk, 'size=2m')).toBe(true)
  const scene = await ledgerScene({ DATABASE_URL: `sqlite:${disk}/postern.db` })
  try {
    scene.upstream.respond((_request, response) => answerUnary(response, USED))
    const device = await scene.device()
    for (let size = 1_048_576; size >= 512;) {
      try {
        appendFileSync(`${disk}/ballast`, new Uint8Array(size))
      } catch {
        size /= 2
      }
    }
    await ask(device, 1500)
    await isSaid(scene, 'disk_full')
    await ask(device, 100)
    await until(() => loud(scene).length > 0)
    expect(loud(scene)).toEqual([['error', 'disk_full']])
    expect((await ready(scene))[0]).toBe(200)
    rmSync(`${disk}/ballast`)
    await isSaid(scene, undefined)
    const sums = await eventually(async () => {
      const now = await told(scene)
      return now['requests'] === 1600 && now
    })
    expect(sums['tokens']).toEqual({ ...NOTHING, input: 4800, output: 3200 })
  } finally {
    await scene.close()
  }
})

describe('at a start', () => {
  let env: Record<string, string>
  let scene: LedgerScene
  beforeAll(async () => {
    scene = await ledgerScene()
    env = scene.env
    writeFileSync(`${folder}/garbage.db`, 'no database '.repeat(1000))
  })
  afterAll(() => scene.close())

  const refusesToStart = async (file: string, reason: string, code: number): Promise<void> => {
    const settings = { ...env, HOST: '127.0.0.1', PORT: '0', DATABASE_URL: `sqlite:${file}` }
    const { exitCode, stdout, stderr } = await runToEnd([], settings)
    const [first, ...advice] = stderr.trimEnd().split('\n')
    expect([exitCode, first]).toEqual([
      code,
      `postern: the database cannot be used: ${reason}; DATABASE_URL names its file`,
    ])
    expect(advice).toHaveLength(2)
    expect(stdout).not.toContain('listening')
    expect(stdout + stderr).not.toContain(folder)
  }
  const tellsNoUsage = async (file: string): Promise<void> => {
    const usage = await runToEnd(['usage'], { DATABASE_URL: `sqlite:${file}` })
    expect([usage.exitCode, usage.stdout]).toEqual([1, ''])
    expect(usage.stderr).toStartWith('postern: the database cannot be used: ')
  }

  test('a file that is not a database, another program’s, or of a later version', async () => {
    await refusesToStart(`${folder}/garbage.db`, 'corrupt', 78)
    await tellsNoUsage(`${folder}/garbage.db`)
    const foreign = new Database(`${folder}/foreign.db`)
    foreign.run('CREATE TABLE theirs (id)')
    foreign.close()
    await refusesToStart(`${folder}/foreign.db`, 'foreign_file', 78)
    await tellsNoUsage(`${folder}/foreign.db`)
    await scene.gate.stop('SIGTERM')
    const later = new Database(`${scene.folder}/data/postern.db`)
    later.run('PRAGMA user_version = 99')
    later.close()
    await refusesToStart(`${scene.folder}/data/postern.db`, 'newer_schema', 78)
  })

  test('a path that leads nowhere', async () => {
    mkdirSync(`${folder}/directory.db`)
    await refusesToStart(`${folder}/directory.db`, 'cannot_open', 1)
    await tellsNoUsage(`${folder}/directory.db`)
    await refusesToStart(`${folder}/garbage.db/below/postern.db`, 'cannot_open', 1)
  })

  test('a database with one damaged page, in whichever table', async () => {
    const file = `${folder}/whole.db`
    const made = store(file, TABLES).open()
    if (!made.ok) throw new Error(made.reason)
    const roots = made.database
      .query<{ table: string; page: number }, []>(
        `SELECT name AS "table", rootpage AS page FROM sqlite_schema WHERE type = 'table'`,
      )
      .all()
    made.database.close()
    const bytes = await Bun.file(file).bytes()
    for (const { table, page } of roots) {
      if (!['ledger', 'ledger_day', 'device_families', 'login_session'].includes(table)) continue
      const copy = bytes.slice()
      copy.fill(0xa5, (page - 1) * 4096, page * 4096)
      writeFileSync(`${folder}/damaged.db`, copy)
      await refusesToStart(`${folder}/damaged.db`, 'corrupt', 78)
    }
  })

  for (const words of [['usage'], ['enrol'], ['enrol', '--list'], ['revoke', 'device-1']]) {
    test(`postern ${words.join(' ')} says that there is no database, and makes none`, async () => {
      const settings = { DATABASE_URL: `sqlite:${folder}/none.db` }
      const { exitCode, stdout, stderr } = await runToEnd(words, settings)
      expect([exitCode, stdout]).toEqual([1, ''])
      expect(stderr).toContain('the database cannot be used: missing')
      expect(stderr).toContain(`${folder}/none.db: there is no file of that name`)
      for (const suffix of ['', '-wal', '-shm']) {
        expect(existsSync(`${folder}/none.db${suffix}`)).toBe(false)
      }
    })
  }

  test('an in-memory database has no codes and no usage for commands', async () => {
    for (const word of ['enrol', 'usage']) {
      const { exitCode, stdout, stderr } = await runToEnd([word])
      expect([exitCode, stdout]).toEqual([1, ''])
      expect(stderr).toContain('sqlite::memory:')
    }
  })
})
