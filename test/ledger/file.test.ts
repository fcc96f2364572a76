// The database file is not only the gate's: other SQLite programs and our own commands open it beside
// a gate under load, and people move, replace and delete it, or its log. No row and no revocation is
// lost by the first; of the second, only what nobody holds any more.

import { Database } from 'bun:sqlite'
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { readdirSync, readlinkSync, renameSync, rmSync } from 'node:fs'
import { runToEnd } from '../support/binary.ts'
import { bearer, eventually } from '../support/sink.ts'
import {
  ADMIN_TOKEN,
  answerUnary,
  type Device,
  HAIKU,
  type Json,
  type LedgerScene,
  ledgerScene,
  NOTHING,
  told,
} from './scene.ts'

const USED = { ...NOTHING, input: 3, output: 2 }
const BODY = { model: HAIKU, max_tokens: 10 }
/** How much a kill may lose. */
const LOSS_MS = 1000
/** Of each client between two requests: what is tried here is the file, not the gate's pace. */
const PAUSE_MS = 50

const isInstalled = (program: string, ...words: string[]): boolean => {
  try {
    return Bun.spawnSync([program, ...words], { stdout: 'ignore', stderr: 'ignore' }).success
  } catch {
    return false
  }
}
/** Where CI is set they have to be there. */
const CI = process.env['CI'] === 'true'
const SQLITE3 = CI || isInstalled('sqlite3', '--version')
const PYTHON3 = CI || isInstalled('python3', '-c', 'import sqlite3')
/** Where `python3` is a script that looks for the program, it would look each time. */
const interpreter = (): string =>
  Bun.spawnSync(['python3', '-c', 'import sys; print(sys.executable)']).stdout.toString().trim()
const python3 = PYTHON3 ? interpreter() : 'python3'

let scene: LedgerScene
let file: string
let answered: number[]
beforeEach(async () => {
  scene = await ledgerScene({}, runToEnd)
  file = `${scene.folder}/data/postern.db`
  answered = []
  scene.upstream.respond((_request, response) => answerUnary(response, USED))
})
afterEach(() => scene.close())

/** `many` at once, one after the other, until there were `most` or none is answered any more. */
async function load(device: Device, many: number, most = Infinity): Promise<void> {
  let asked = 0
  const one = async (): Promise<void> => {
    while (asked++ < most) {
      try {
        const response = await device.post(BODY)
        await response.bytes()
        if (response.status !== 200) return
        answered.push(performance.now())
        await Bun.sleep(PAUSE_MS)
      } catch {
        return
      }
    }
  }
  await Promise.all(Array.from({ length: many }, one))
}

async function run(...words: string[]): Promise<string> {
  const child = Bun.spawn(words, { stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' })
  const [out, error, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  expect([words.join(' '), code, error]).toEqual([words.join(' '), 0, ''])
  return out
}

const python = (script: string): Promise<string> =>
  run(python3, '-c', `import sqlite3\ndb = sqlite3.connect(${JSON.stringify(file)})\n${script}`)

/** The database's files that the gate holds open and nobody can find any more. */
const lostFiles = (): string[] =>
  readdirSync(`/proc/${scene.gate.process.pid}/fd`)
    .map((fd) => {
      try {
        return readlinkSync(`/proc/${scene.gate.process.pid}/fd/${fd}`)
      } catch {
        return ''
      }
    })
    .filter((path) => path.startsWith(file) && path.endsWith('(deleted)'))

const isRefused = (device: Device): Promise<unknown> =>
  eventually(async () => {
    const response = await device.post(BODY)
    await response.bytes()
    return response.status === 401
  })

const hashOf = async (device: Device): Promise<string> => (await device.rows(1))[0]?.['device']

/** At least: what is asked until a revocation holds has rows, too. */
const hasRows = async (count: number): Promise<void> => {
  await eventually(async () => written() >= count)
  expect((await told(scene))['requests']).toBeGreaterThanOrEqual(count)
}

/** By a look at the file, since a process at each look would be all that this machine does. */
function written(): number {
  try {
    const database = new Database(file, { readonly: true })
    try {
      return Number(
        database.query('SELECT count(*) FROM ledger WHERE end_reason IS NOT NULL').values()[0]?.[0],
      )
    } finally {
      database.close()
    }
  } catch {
    return 0
  }
}

const ready = async (): Promise<Json> => (await fetch(`${scene.gate.url}/readyz`)).json() as never

const isSaid = (database: string): Promise<unknown> =>
  eventually(async () => (await ready())['database'] === database)

function isWhole(): void {
  const database = new Database(file, { readwrite: true })
  try {
    expect(database.query('PRAGMA integrity_check').all()).toEqual([{ integrity_check: 'ok' }])
  } finally {
    database.close()
  }
}

const sqlite3: readonly string[][] = [
  ['select count(*) from ledger'],
  ['.backup DIR/backup.db'],
  ["VACUUM INTO 'DIR/vacuumed.db'"],
  ['PRAGMA quick_check'],
  ['.dump'],
  ['PRAGMA wal_checkpoint(PASSIVE)'],
]
const pythons: readonly string[] = [
  "db.execute('select * from ledger limit 5').fetchall(); db.close()",
  'other = sqlite3.connect("DIR/python.db"); db.backup(other); other.close(); db.close()',
  `db.execute("VACUUM INTO 'DIR/python-vacuumed.db'"); db.close()`,
  // It ends without a word, as a script that was interrupted.
  "db.execute('select 1 from ledger').fetchone()",
]

/** As Litestream: a read that stands for as long as the program runs, and checkpoints beside it. */
const STEADY_READER = `
import time
reader = db; reader.isolation_level = None
reader.execute('BEGIN'); reader.execute('select count(*) from ledger').fetchone()
other = sqlite3.connect(db.execute('PRAGMA database_list').fetchone()[2])
until = time.time() + 1
while time.time() < until:
    other.execute('PRAGMA wal_checkpoint(PASSIVE)').fetchone(); time.sleep(0.05)
    reader.execute('COMMIT'); reader.execute('BEGIN'); reader.execute('select count(*) from ledger').fetchone()
`

describe('other programs that open the file', () => {
  test('under load, one after another: no row is lost by kill -9, and revoke holds', async () => {
    const device = await scene.device()
    const revoked = await scene.device()
    await revoked.post(BODY)
    const hash = await hashOf(revoked)
    const loading = load(device, 8)
    const at = (text: string): string => text.replaceAll('DIR', scene.folder)
    const steady = PYTHON3 ? python(STEADY_READER) : undefined
    for (const words of SQLITE3 ? sqlite3 : []) await run('sqlite3', file, ...words.map(at))
    for (const script of PYTHON3 ? pythons : []) await python(at(script))
    for (const words of [['usage'], ['enrol', '--list'], ['check'], ['enrol']]) {
      await scene.command(...words)
    }
    await steady
    expect(lostFiles()).toEqual([])
    const { stdout, exitCode } = await scene.command('revoke', hash)
    expect([exitCode, stdout]).toEqual([0, expect.stringContaining('device revoked')])
    await isRefused(revoked)

    await Bun.sleep(LOSS_MS)
    const killedAt = performance.now()
    await scene.gate.stop('SIGKILL')
    await loading
    const safe = answered.filter((when) => when < killedAt - LOSS_MS).length
    expect(safe).toBeGreaterThan(50)
    expect((await told(scene))['requests']).toBeGreaterThanOrEqual(safe + 1)
    isWhole()
    await scene.restart()
    await isRefused(revoked)
  })
})

describe('the log deleted under the gate', () => {
  for (const names of [['-wal'], ['-wal', '-shm'], ['-shm']]) {
    test(`${names.join(' and ')}: said, and nothing is lost`, async () => {
      const device = await scene.device()
      await load(device, 4, 40)
      await device.rows(40)
      for (const name of names) rmSync(file + name)
      await isSaid('log_gone')
      const { stdout } = await scene.command('check', '--port', String(scene.gate.port))
      expect(stdout).toContain(`!!  the gate that runs at 127.0.0.1:${scene.gate.port}: `)
      expect(stdout).toContain('log (-wal) was deleted while in use')
      await load(device, 4, 40)
      await hasRows(80)
      expect(scene.gate.output()).toContain('(-wal) was deleted while in use')
      expect(lostFiles()).toEqual([])
      await scene.command('revoke', await hashOf(device))
      await isRefused(device)
      await scene.gate.stop('SIGKILL')
      expect((await told(scene))['requests']).toBeGreaterThanOrEqual(80)
      isWhole()
    })
  }

  test('and a revocation written at once beside it: the device is refused, the file is whole', async () => {
    const device = await scene.device()
    await load(device, 4, 40)
    const hash = await hashOf(device)
    rmSync(`${file}-wal`)
    rmSync(`${file}-shm`)
    // Before the gate has noticed, the file may not know of the device yet, and the command says so.
    await eventually(async () => (await scene.command('revoke', hash)).exitCode === 0)
    await isRefused(device)
    await isSaid('log_gone')
    await scene.gate.stop('SIGKILL')
    isWhole()
    await scene.restart()
    await isRefused(device)
  })
})

describe('the file itself', () => {
  test('deleted: a new one, with the revocations that the gate knows, and enrolment goes on', async () => {
    const revoked = await scene.device()
    await load(revoked, 1, 1)
    await scene.command('revoke', await hashOf(revoked))
    await isRefused(revoked)
    for (const name of ['', '-wal', '-shm']) rmSync(file + name)
    await isSaid('moved')
    const device = await scene.device()
    await load(device, 4, 20)
    await hasRows(20)
    expect((await scene.admin('/admin/devices'))['devices']).toHaveLength(1)
    expect((await scene.admin('/admin/stats'))['totalRequests']).toBeGreaterThanOrEqual(20)
    expect(scene.gate.output()).toContain('moved or deleted while in use')
    await scene.gate.stop('SIGKILL')
    isWhole()
    await scene.restart()
    await isRefused(revoked)
    await load(device, 1, 1)
    expect(answered).toHaveLength(22)
  })

  test('replaced by a backup of before: what was revoked since stays so, after a restart too', async () => {
    const [device, revoked] = [await scene.device(), await scene.device()]
    await load(device, 4, 20)
    await load(revoked, 1, 1)
    await device.rows(20)
    const hash = await hashOf(revoked)
    const copy = new Database(file)
    copy.run(`VACUUM INTO '${scene.folder}/backup.db'`)
    copy.close()
    await scene.command('revoke', hash)
    await isRefused(revoked)
    renameSync(`${scene.folder}/backup.db`, file)
    await isSaid('moved')
    await isRefused(revoked)
    const other = await scene.device()
    await load(other, 4, 20)
    await scene.command('revoke', await hashOf(device))
    await isRefused(device)
    await hasRows(41)
    await scene.gate.stop('SIGKILL')
    isWhole()
    await scene.restart()
    await isRefused(revoked)
    await isRefused(device)
    await load(other, 1, 1)
    expect(answered).toHaveLength(42)
  })

  test.if(SQLITE3)(
    'a backup brought into it by .restore: revocations that follow are seen',
    async () => {
      const [first, second] = [await scene.device(), await scene.device()]
      await load(first, 1, 1)
      await load(second, 1, 1)
      const [firstHash, secondHash] = [await hashOf(first), await hashOf(second)]
      await run('sqlite3', file, `.backup ${scene.folder}/backup.db`)
      await scene.command('revoke', firstHash)
      await isRefused(first)
      await run('sqlite3', file, '.timeout 5000', `.restore ${scene.folder}/backup.db`)
      await scene.command('revoke', secondHash)
      await isRefused(second)
      await isRefused(first)
      await scene.gate.stop('SIGKILL')
      await scene.restart()
      await isRefused(second)
      await isRefused(first)
    },
  )

  test('a damaged one in its place: enrolment is refused, rows wait, and all goes on when it is back', async () => {
    const device = await scene.device()
    await load(device, 4, 20)
    await device.rows(20)
    renameSync(file, `${scene.folder}/data/kept.db`)
    await Bun.write(file, 'no database '.repeat(1000))
    await isSaid('corrupt')
    await load(device, 4, 20)
    const enrolling = await fetch(`${scene.gate.url}/bootstrap`, {
      method: 'POST',
      body: JSON.stringify({
        device_id: 'late',
        enrollment_code: `postern-code-${'a'.repeat(32)}`,
      }),
    })
    expect(enrolling.status).toBe(503)
    const listed = await fetch(`${scene.gate.url}/admin/devices`, { headers: bearer(ADMIN_TOKEN) })
    expect(listed.status).toBe(503)
    renameSync(`${scene.folder}/data/kept.db`, file)
    await hasRows(40)
    await scene.device()
  })
})
