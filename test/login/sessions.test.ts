// The one session in a real file: what it withstands (attack 41), what a kill and a failing disk
// leave of it, and that nobody reads a token from the disk.

import { Database } from 'bun:sqlite'
import { afterEach, beforeEach, expect, test } from 'bun:test'
import {
  appendFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { Secret } from '../../src/secret.ts'
import { newSessionKey } from '../../src/login/keys.ts'
import { ENROLL_SCHEMA } from '../../src/enroll/schema.ts'
import { LEDGER_SCHEMA } from '../../src/ledger/sqlite/schema.ts'
import { LOGIN_PRAGMAS, LOGIN_SCHEMA } from '../../src/login/schema.ts'
import type { SessionTokens } from '../../src/login/sealed-tokens.ts'
import { type Sessions, sessions } from '../../src/login/sessions.ts'
import { SessionsUnusable } from '../../src/login/unusable.ts'
import type { DatabaseConnection } from '../../src/database/connection.ts'
import { openDatabase, type OpenOptions } from '../../src/database/database.ts'
import { store } from '../../src/database/store.ts'
import { TABLES } from '../../src/gate/migrations.ts'
import { connectionTo } from '../support/connection.ts'
import { recordingLog } from '../settle/ledger-parts.ts'
import { seeded } from '../support/random.ts'

const FIRST = new Secret('first-secret-of-the-tests-0123456789abcdef')
const SECOND = new Secret('second-secret-of-the-tests-0123456789abcde')
const NOW_MS = 1_800_000_000_000

const tokensOf = (name: string, more: Partial<SessionTokens> = {}): SessionTokens => ({
  accessToken: `at-${name}-canary`,
  refreshToken: `rt-${name}-canary`,
  expiresAtMs: NOW_MS + 3_600_000,
  scope: 'user:inference user:profile',
  ...more,
})
const ONE = tokensOf('one')
const TWO = tokensOf('two')

let folder: string
let file: string
let open: Database[]
beforeEach(() => {
  folder = mkdtempSync(`${tmpdir()}/postern-login-`)
  file = `${folder}/postern.db`
  open = []
})
afterEach(() => {
  for (const each of open) each.close()
  rmSync(folder, { recursive: true })
})

/** Set up as the gate's own is. */
function connected(database: Database): DatabaseConnection {
  database.run(LOGIN_PRAGMAS)
  return connectionTo(database)
}

interface Kept extends Sessions {
  readonly database: Database
}

/** A gate's own, on a file that is there or made; another one is as after a restart. */
function kept(secrets = [FIRST], options: OpenOptions = {}, at = file): Kept {
  const opened = store(at, TABLES).open({ busyTimeoutMs: 0, ...options })
  if (!opened.ok) throw new Error(opened.reason)
  open.push(opened.database)
  const { database } = opened
  return { database, ...sessions({ connection: connected(database), secrets }) }
}

const column = (database: Database, name: 'sealed' | 'version' | 'id'): any =>
  database.query<{ value: unknown }, []>(`SELECT ${name} AS value FROM login_session`).get()?.value

/** The refusal's code, or what was decided. */
const outcome = <T>(decision: { ok: true; value: T } | { ok: false; code: string }): T | string =>
  decision.ok ? decision.value : decision.code

/** Nothing of a session is given, and nothing is thrown. */
function expectNobody(gate: Sessions, { key, id }: { key: string; id: string }): void {
  expect(outcome(gate.find(key))).toBe('session_invalid')
  expect(outcome(gate.read(id))).toBe('session_invalid')
}

/** By their bytes: `-wal` and `-shm`, too. */
const onDisk = (): Buffer =>
  Buffer.concat(
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => readFileSync(`${entry.parentPath}/${entry.name}`)),
  )

const thrownBy = (work: () => unknown): string => {
  try {
    return `returned ${JSON.stringify(work())}`
  } catch (error) {
    if (!(error instanceof SessionsUnusable)) throw error
    expect(error.message).not.toContain(folder)
    return error.reason
  }
}

test('a session is found by its key and read, also after a restart', () => {
  const gate = kept()
  expect(gate.current()).toBeUndefined()
  const begun = gate.begin(ONE, NOW_MS)
  expect(begun.id).toMatch(/^[0-9a-f]{32}$/)
  expect(begun.key).not.toContain(begun.id)
  for (const each of [gate, kept()]) {
    expect(outcome(each.find(begun.key))).toEqual({ id: begun.id })
    expect(outcome(each.read(begun.id))).toEqual({ tokens: ONE, version: 1 })
    expect(each.current()).toEqual({ id: begun.id })
  }
})

test('tokens without refresh token, end or scope, and with every kind of character', () => {
  const gate = kept()
  const none = { refreshToken: undefined, expiresAtMs: undefined, scope: undefined }
  for (const tokens of [tokensOf('bare', none), tokensOf('\u0000"\\\ud800 é 🦔', { scope: '' })]) {
    const { id } = gate.begin(tokens, NOW_MS)
    expect(outcome(kept().read(id))).toMatchObject({ tokens })
  }
})

test('one session can hold tokens: a new sign-in ends the one before', () => {
  const gate = kept()
  const first = gate.begin(ONE, NOW_MS)
  const second = gate.begin(TWO, NOW_MS)
  expect(second.id).not.toBe(first.id)
  expectNobody(gate, first)
  for (const version of [1, 2]) {
    expect(gate.replace(first.id, version, ONE, NOW_MS)).toBe(false)
  }
  gate.end(first.id)
  expect(gate.current()).toEqual({ id: second.id })
  expect(outcome(gate.read(second.id))).toMatchObject({ tokens: TWO })
  expect(gate.database.query('SELECT count(*) AS count FROM login_session').get()).toEqual({
    count: 1,
  })
  expect(() =>
    gate.database.run(
      'INSERT INTO login_session (only, version, began_ms, written_ms) VALUES (2, 1, 1, 1)',
    ),
  ).toThrow('CHECK')
})

test('a key that this gate did not sign never reaches the disk', () => {
  const gate = kept()
  const { key } = gate.begin(ONE, NOW_MS)
  const forged = newSessionKey([SECOND])
  expect(gate.find(newSessionKey([FIRST]))).toMatchObject({ reason: 'key is of another session' })
  gate.database.close()
  for (const each of [forged, `${key}x`, '', 'x'.repeat(100_000)]) {
    expect(gate.find(each)).toMatchObject({
      code: 'session_invalid',
      reason: 'key has no signature of this gate',
    })
  }
})

test('replace takes the version that is there, once; the key and the id stay', () => {
  const gate = kept()
  const { key, id } = gate.begin(ONE, NOW_MS)
  expect(gate.replace(id, 2, TWO, NOW_MS)).toBe(false)
  expect(gate.replace(id, 1, TWO, NOW_MS)).toBe(true)
  expect(gate.replace(id, 1, ONE, NOW_MS)).toBe(false)
  expect(outcome(gate.read(id))).toEqual({ tokens: TWO, version: 2 })
  expect(outcome(kept().find(key))).toEqual({ id })
  // Two gates on one file: who comes second with a version has lost.
  const [left, right] = [kept(), kept()]
  expect([left.replace(id, 2, ONE, NOW_MS), right.replace(id, 2, TWO, NOW_MS)]).toEqual([
    true,
    false,
  ])
  expect(outcome(right.read(id))).toEqual({ tokens: ONE, version: 3 })
})

test('end forgets: no key, no tokens, and not even sealed ones on the disk', () => {
  const gate = kept()
  const begun = gate.begin(ONE, NOW_MS)
  const sealed = Buffer.from(column(gate.database, 'sealed'))
  expect(onDisk().includes(sealed)).toBe(true)
  gate.database.run('PRAGMA wal_checkpoint(PASSIVE)')
  gate.end('ff'.repeat(16))
  expect(outcome(gate.find(begun.key))).toEqual({ id: begun.id })
  gate.end(begun.id)
  gate.end(begun.id)
  expectNobody(gate, begun)
  expect(gate.replace(begun.id, 1, TWO, NOW_MS)).toBe(false)
  expect(gate.current()).toBeUndefined()
  expect(kept().current()).toBeUndefined()
  for (let at = 0; at + 16 <= sealed.length; at += 16) {
    expect([at, onDisk().includes(sealed.subarray(at, at + 16))]).toEqual([at, false])
  }
})

test('canary: neither tokens nor the key are ever on the disk', () => {
  const gate = kept()
  const long = 'canary-of-many-pages-'.repeat(1000)
  const { key, id } = gate.begin(ONE, NOW_MS)
  gate.replace(id, 1, TWO, NOW_MS)
  gate.replace(id, 2, tokensOf('long', { accessToken: long }), NOW_MS)
  gate.replace(id, 3, ONE, NOW_MS)
  gate.find(key)
  const [body = '', signature = ''] = key.slice(4).split('.')
  const search = (): void => {
    const disk = onDisk()
    expect(disk.length).toBeGreaterThan(10_000)
    for (const word of ['canary', 'at-one', 'rt-two', 'user:', 'pst_', body, signature]) {
      const bytes = Buffer.from(word)
      expect([word, disk.includes(bytes)]).toEqual([word, false])
      expect(disk.includes(bytes.toString('hex'))).toBe(false)
      expect(disk.includes(bytes.toString('base64url').slice(0, -2))).toBe(false)
    }
    expect(disk.includes(Buffer.from(body, 'base64url'))).toBe(false)
    expect(disk.includes(id)).toBe(true)
  }
  search()
  gate.database.run('PRAGMA wal_checkpoint(TRUNCATE)')
  search()
})

// Attack 41, through the file.

/** As somebody would who can write the file. */
function tamper(set: string, ...values: (string | number | Uint8Array | null)[]): void {
  const database = new Database(file, { readwrite: true })
  database.run('PRAGMA ignore_check_constraints = ON')
  database.query(`UPDATE login_session SET ${set}`).run(...values)
  database.close()
}

test('attack 41: every byte of the record flipped is session_invalid, and never written over', () => {
  const gate = kept()
  const begun = gate.begin(ONE, NOW_MS)
  const sealed = Buffer.from(column(gate.database, 'sealed'))
  const patch = gate.database.query('UPDATE login_session SET sealed = ?1')
  gate.database.run('PRAGMA synchronous = OFF')
  for (let at = 0; at < sealed.length; at += 1) {
    const changed = Buffer.from(sealed)
    changed[at] = (changed[at] ?? 0) ^ (1 << (at % 8))
    patch.run(changed)
    expectNobody(gate, begun)
    expect(gate.replace(begun.id, 1, TWO, NOW_MS)).toBe(false)
    expect(Buffer.from(column(gate.database, 'sealed'))).toEqual(changed)
  }
  patch.run(sealed)
  expect(outcome(gate.read(begun.id))).toEqual({ tokens: ONE, version: 1 })
})

test('attack 41: every truncation of the record, and none at all', () => {
  const gate = kept()
  const begun = gate.begin(ONE, NOW_MS)
  const sealed = Buffer.from(column(gate.database, 'sealed'))
  const patch = gate.database.query('UPDATE login_session SET sealed = ?1')
  gate.database.run('PRAGMA synchronous = OFF')
  for (let length = 0; length < sealed.length; length += 1) {
    patch.run(sealed.subarray(0, length))
    expectNobody(gate, begun)
  }
  gate.database.run('PRAGMA ignore_check_constraints = ON')
  patch.run(null)
  expectNobody(gate, begun)
  patch.run(new Uint8Array(5_000_000))
  expectNobody(gate, begun)
  expect(gate.read(begun.id)).toMatchObject({ reason: 'record is missing or too long' })
  gate.database.run('DELETE FROM login_session')
  expectNobody(gate, begun)
  expect(gate.current()).toBeUndefined()
})

test('attack 41: records swapped between sessions', () => {
  const gate = kept()
  const first = gate.begin(ONE, NOW_MS)
  const record = column(gate.database, 'sealed')
  const second = gate.begin(TWO, NOW_MS)
  const own = column(gate.database, 'sealed')
  // The record of the one under the name of the other, with either's version.
  for (const version of [1, 2]) {
    tamper('sealed = ?1, version = ?2', record, version)
    for (const each of [gate, kept()]) {
      expectNobody(each, first)
      expectNobody(each, second)
    }
  }
  // And the name of the one over the record of the other.
  tamper('id = ?1, sealed = ?2, version = 2', first.id, own)
  for (const each of [gate, kept()]) {
    expectNobody(each, first)
    expectNobody(each, second)
  }
  // Another gate's, of the same secret, id and version: the key is sealed in and not beside it.
  tamper('id = ?1, version = 2', second.id)
  expect(outcome(gate.find(second.key))).toEqual({ id: second.id })
  expect(outcome(gate.find(first.key))).toBe('session_invalid')
})

test('attack 41: an unknown kid', () => {
  const begun = kept([FIRST]).begin(ONE, NOW_MS)
  const gate = kept([SECOND])
  expectNobody(gate, begun)
  expect(gate.read(begun.id)).toMatchObject({ reason: 'record has an unknown kid' })
  expect(gate.replace(begun.id, 1, TWO, NOW_MS)).toBe(false)
  const other = kept([SECOND], {}, `${folder}/other.db`)
  const theirs = other.begin(ONE, NOW_MS)
  tamper('id = ?1, sealed = ?2', theirs.id, column(other.database, 'sealed'))
  expect(kept([FIRST]).read(theirs.id)).toMatchObject({ reason: 'record has an unknown kid' })
  expect(outcome(kept([FIRST, SECOND]).read(theirs.id))).toEqual({ tokens: ONE, version: 1 })
})

test('attack 41: an older version put back, alone or as the whole row', () => {
  const gate = kept()
  const begun = gate.begin(ONE, NOW_MS)
  const older = column(gate.database, 'sealed')
  gate.replace(begun.id, 1, TWO, NOW_MS)
  const reader = kept()
  expect(outcome(reader.read(begun.id))).toEqual({ tokens: TWO, version: 2 })
  // Under the newer number it opens nowhere, not even after a restart.
  tamper('sealed = ?1', older)
  for (const each of [gate, kept()]) expectNobody(each, begun)
  // With its own number it is as it was once; whoever has seen a newer one knows better.
  tamper('sealed = ?1, version = 1', older)
  for (const each of [gate, reader]) {
    expectNobody(each, begun)
    expect(each.read(begun.id)).toMatchObject({ reason: 'record is older than one seen before' })
  }
  expect(gate.replace(begun.id, 1, ONE, NOW_MS)).toBe(false)
  // Nor does a sign-in that follows begin below it.
  const next = gate.begin(TWO, NOW_MS)
  expect(outcome(gate.find(next.key))).toEqual({ id: next.id })
  expect(column(gate.database, 'version')).toBe(3)
})

test('attack 41: a session that was ended or replaced, put back as a whole', () => {
  const gate = kept()
  const rowOf = () => [column(gate.database, 'id'), column(gate.database, 'sealed')] as const
  const first = gate.begin(ONE, NOW_MS)
  const firstRow = rowOf()
  const second = gate.begin(TWO, NOW_MS)
  const secondRow = rowOf()
  tamper('id = ?1, sealed = ?2, version = 1', ...firstRow)
  expectNobody(gate, first)
  tamper('id = ?1, sealed = ?2, version = 2', ...secondRow)
  gate.end(second.id)
  tamper('id = ?1, sealed = ?2, version = 2', ...secondRow)
  expectNobody(gate, second)
})

test('attack 41: a row of other kinds and numbers, after which a sign-in works again', () => {
  const gate = kept()
  const begun = gate.begin(ONE, NOW_MS)
  const sets: [string, ...(string | number | Uint8Array | null)[]][] = [
    ['version = 0'],
    ['version = -1'],
    ['version = 9223372036854775807'],
    ['version = 9007199254740991'],
    ['id = NULL'],
    ["id = ''"],
    ["id = 'x'"],
    ['id = ?1', 'f'.repeat(100_000)],
    ['sealed = NULL'],
    ["sealed = x''"],
  ]
  for (const [set, ...values] of sets) {
    tamper(set, ...values)
    expectNobody(gate, begun)
    expectNobody(kept(), begun)
    expect(gate.replace(begun.id, 1, TWO, NOW_MS)).toBe(false)
    expect(gate.current()).toEqual(set.startsWith('id') ? undefined : { id: begun.id })
    tamper('id = ?1', begun.id)
  }
  for (const version of ['9223372036854775807', '9007199254740991', '9007199254740990']) {
    tamper(`version = ${version}`)
    for (const each of [kept(), kept()]) {
      const again = each.begin(ONE, NOW_MS)
      expect(outcome(each.find(again.key))).toEqual({ id: again.id })
      expect(each.replace(again.id, column(each.database, 'version'), TWO, NOW_MS)).toBe(true)
      expect(outcome(each.read(again.id))).toMatchObject({ tokens: TWO })
    }
  }
})

test('attack 41: a file that SQLite itself finds corrupt', () => {
  const before = kept()
  const begun = before.begin(ONE, NOW_MS)
  const { rootpage, size } = before.database
    .query<{ rootpage: number; size: number }, []>(
      `SELECT rootpage, page_size AS size FROM sqlite_schema, pragma_page_size
       WHERE name = 'login_session'`,
    )
    .get() ?? { rootpage: 0, size: 0 }
  before.database.run('PRAGMA wal_checkpoint(TRUNCATE)')
  before.database.close()
  const bytes = readFileSync(file)
  // The kind of page: none there is.
  bytes[(rootpage - 1) * size] = 0xff
  writeFileSync(file, bytes)
  const gate = kept()
  expectNobody(gate, begun)
  expect(gate.read(begun.id)).toMatchObject({ reason: 'the file is corrupt' })
  expect(gate.current()).toBeUndefined()
  expect(thrownBy(() => gate.begin(TWO, NOW_MS))).toBe('corrupt')
})

test(
  'attack 41: bytes of the file itself changed give the tokens as they were, or none',
  seeded((random) => {
    const path = `${folder}/alone.db`
    const made = openDatabase(path, [LOGIN_SCHEMA])
    if (!made.ok) throw new Error(made.reason)
    const begun = sessions({ connection: connected(made.database), secrets: [FIRST] }).begin(
      ONE,
      NOW_MS,
    )
    made.database.run('PRAGMA wal_checkpoint(TRUNCATE)')
    made.database.close()
    const bytes = readFileSync(path)
    const used = [...bytes.keys()].filter((at) => bytes[at] !== 0)
    const seen: Record<string, number> = {}
    for (let round = 0; round < 500; round += 1) {
      const changed = Buffer.from(bytes)
      const at = random.next() < 0.8 ? random.pick(used) : random.int(bytes.length)
      changed[at] = (changed[at] ?? 0) ^ (1 << random.int(8))
      writeFileSync(path, changed)
      const opened = openDatabase(path, [LOGIN_SCHEMA], { busyTimeoutMs: 0 })
      // Then the gate does not start.
      if (!opened.ok) continue
      const { database } = opened
      try {
        const gate = sessions({ connection: connected(database), secrets: [FIRST] })
        const read = gate.read(begun.id)
        const code = read.ok ? 'read' : read.code
        if (read.ok) expect(read.value.tokens).toEqual(ONE)
        expect(gate.find(begun.key)).toMatchObject(
          read.ok ? { ok: true, value: { id: begun.id } } : { ok: false, code },
        )
        seen[code] = (seen[code] ?? 0) + 1
      } catch (error) {
        if (!(error instanceof SessionsUnusable) || error.reason !== 'corrupt') throw error
      } finally {
        database.close()
        for (const suffix of ['-wal', '-shm']) rmSync(path + suffix, { force: true })
      }
    }
    expect(seen['read']).toBeGreaterThan(0)
    expect(seen['session_invalid']).toBeGreaterThan(0)
  }),
)

// Rotation of SESSION_SECRET.

test('a record under an older secret is sealed again when it is opened, so that the older secret can be dropped', () => {
  const begun = kept([FIRST]).begin(ONE, NOW_MS)
  const rotating = kept([SECOND, FIRST])
  const before = Buffer.from(column(rotating.database, 'sealed'))
  expect(outcome(rotating.find(begun.key))).toEqual({ id: begun.id })
  const after = Buffer.from(column(rotating.database, 'sealed'))
  expect(after.equals(before)).toBe(false)
  expect(outcome(rotating.read(begun.id))).toEqual({ tokens: ONE, version: 1 })
  expect(Buffer.from(column(rotating.database, 'sealed'))).toEqual(after)
  expect(outcome(kept([SECOND]).read(begun.id))).toEqual({ tokens: ONE, version: 1 })
  // The key is still the older one's.
  expect(outcome(kept([SECOND]).find(begun.key))).toBe('session_invalid')
})

test('and when it is next written, and in whichever order the secrets stand', () => {
  const { id, key } = kept([FIRST]).begin(ONE, NOW_MS)
  expect(kept([SECOND, FIRST]).replace(id, 1, TWO, NOW_MS)).toBe(true)
  expect(outcome(kept([SECOND]).read(id))).toEqual({ tokens: TWO, version: 2 })
  expect(outcome(kept([FIRST, SECOND]).find(key))).toEqual({ id })
  expect(outcome(kept([FIRST]).read(id))).toEqual({ tokens: TWO, version: 2 })
})

test('a record that cannot be sealed again is still read, and the disk is not retried', () => {
  const { id } = kept([FIRST]).begin(ONE, NOW_MS)
  const other = kept().database
  const rotating = kept([SECOND, FIRST])
  const before = Buffer.from(column(other, 'sealed'))
  other.run('BEGIN IMMEDIATE')
  expect(outcome(rotating.read(id))).toEqual({ tokens: ONE, version: 1 })
  other.run('ROLLBACK')
  expect(outcome(rotating.read(id))).toEqual({ tokens: ONE, version: 1 })
  expect(Buffer.from(column(other, 'sealed'))).toEqual(before)
  expect(rotating.replace(id, 1, TWO, NOW_MS)).toBe(true)
  expect(outcome(kept([SECOND]).read(id))).toEqual({ tokens: TWO, version: 2 })
})

// Durable, or not at all.

test('its connection syncs each commit to the disk, and overwrites deleted content', () => {
  const { database } = kept()
  expect(database.query('PRAGMA synchronous').get()).toEqual({ synchronous: 2 })
  expect(database.query('PRAGMA secure_delete').get()).toEqual({ secure_delete: 1 })
  expect(database.query('PRAGMA journal_mode').get()).toEqual({ journal_mode: 'wal' })
})

const child = (body: string) =>
  Bun.spawn(
    [
      process.execPath,
      '-e',
      `
      import { writeSync } from 'node:fs'
      import { Secret } from ${JSON.stringify(`${import.meta.dir}/../../src/secret.ts`)}
      import { sessions } from ${JSON.stringify(`${import.meta.dir}/../../src/login/sessions.ts`)}
      import { LOGIN_PRAGMAS } from ${JSON.stringify(`${import.meta.dir}/../../src/login/schema.ts`)}
      import { connectionTo } from ${JSON.stringify(`${import.meta.dir}/../support/connection.ts`)}
      import { store } from ${JSON.stringify(`${import.meta.dir}/../../src/database/store.ts`)}
      import { TABLES } from ${JSON.stringify(`${import.meta.dir}/../../src/gate/migrations.ts`)}
      const opened = store(${JSON.stringify(file)}, TABLES).open()
      const secrets = [new Secret(${JSON.stringify(FIRST.reveal())})]
      const { database } = opened
      database.run(LOGIN_PRAGMAS)
      const gate = sessions({ connection: connectionTo(database), secrets })
      const tokens = (n) => ({ accessToken: 'at-' + n, refreshToken: 'rt-' + n })
      ${body}`,
    ],
    { stdout: 'pipe', stderr: 'inherit' },
  )

test('kill -9 as soon as replace has returned: the tokens are there', async () => {
  const killed = child(`
    const { key, id } = gate.begin(tokens(1), 0)
    writeSync(1, key)
    if (gate.replace(id, 1, tokens(2), 0)) process.kill(process.pid, 'SIGKILL')`)
  const key = await new Response(killed.stdout).text()
  await killed.exited
  expect(killed.signalCode).toBe('SIGKILL')
  const gate = kept()
  const found = gate.find(key)
  if (!found.ok) throw new Error(found.reason)
  expect(outcome(gate.read(found.value.id))).toEqual({
    tokens: { accessToken: 'at-2', refreshToken: 'rt-2', expiresAtMs: undefined, scope: undefined },
    version: 2,
  })
})

test('kill -9 at any moment: complete tokens, never older than the last acknowledged ones', async () => {
  for (let round = 0; round < 3; round += 1) {
    const writing = child(`
      const { key, id } = gate.begin(tokens(1), 0)
      const before = gate.read(id).value.version
      for (let n = 1; n < 20_000; n += 1) {
        writeSync(1, (n - 1) + ' ' + id + ' ' + (before + n - 1) + '\\n')
        gate.replace(id, before + n - 1, tokens(n + 1), 0)
      }`)
    let told = ''
    for await (const piece of writing.stdout) {
      told += Buffer.from(piece).toString()
      if (told.split('\n').length > 40 + round * 37) writing.kill('SIGKILL')
    }
    await writing.exited
    expect(writing.signalCode).toBe('SIGKILL')
    const [, id = '', version = ''] = told.trimEnd().split('\n').at(-1)?.split(' ') ?? []
    const read = kept().read(id)
    if (!read.ok) throw new Error(read.reason)
    const first = Number(told.split('\n')[0]?.split(' ')[2])
    expect(read.value.version - Number(version)).toBeWithin(0, 2)
    const number = read.value.version - first + 1
    expect(read.value.tokens).toMatchObject({
      accessToken: `at-${number}`,
      refreshToken: `rt-${number}`,
    })
  }
})

/** Every write fails so, and whoever was signed in still is, with the tokens that were there. */
function expectUntouched(gate: Kept, begun: { key: string; id: string }, reason: string): void {
  const before = outcome(gate.read(begun.id))
  const large = tokensOf('new', { accessToken: 'canary'.repeat(5000) })
  expect(thrownBy(() => gate.begin(large, NOW_MS))).toBe(reason)
  expect(thrownBy(() => gate.replace(begun.id, 1, large, NOW_MS))).toBe(reason)
  expect(gate.database.inTransaction).toBe(false)
  expect(outcome(gate.find(begun.key))).toEqual({ id: begun.id })
  expect(before).toEqual({ tokens: ONE, version: 1 })
  expect(outcome(gate.read(begun.id))).toEqual(before)
  expect(gate.current()).toEqual({ id: begun.id })
}

test('a file at its largest: the write is refused, the session stays', () => {
  const gate = kept()
  const begun = gate.begin(ONE, NOW_MS)
  const { page_count: pages } = gate.database.query('PRAGMA page_count').get() as any
  gate.database.run(`PRAGMA max_page_count = ${pages}`)
  expectUntouched(gate, begun, 'disk_full')
  gate.database.run('PRAGMA max_page_count = 1000000')
  expect(gate.replace(begun.id, 1, TWO, NOW_MS)).toBe(true)
})

test('a file that another process holds: the write is refused, the session stays', () => {
  const gate = kept()
  const begun = gate.begin(ONE, NOW_MS)
  const other = kept().database
  other.run('BEGIN IMMEDIATE')
  expectUntouched(gate, begun, 'locked')
  expect(thrownBy(() => gate.end(begun.id))).toBe('locked')
  other.run('ROLLBACK')
  expect(gate.replace(begun.id, 1, TWO, NOW_MS)).toBe(true)
  gate.end(begun.id)
  expectNobody(gate, begun)
})

test('a file that may only be read: the write is refused, the session stays', () => {
  const begun = kept().begin(ONE, NOW_MS)
  const gate = kept([FIRST], { mode: 'read' })
  expectUntouched(gate, begun, 'read_only')
  expect(thrownBy(() => gate.end(begun.id))).toBe('read_only')
})

test('a file deleted or replaced under the gate: the session moves to the new file', () => {
  const { log } = recordingLog()
  const followed = store(file, TABLES).follow(log)
  try {
    const connection = followed.connect({ pragmas: LOGIN_PRAGMAS })
    const gate = sessions({ connection, secrets: [FIRST] })
    const first = gate.begin(ONE, NOW_MS)
    connection.get().run('PRAGMA wal_checkpoint(TRUNCATE)')
    cpSync(file, `${folder}/copy.db`)
    renameSync(file, `${folder}/moved.db`)
    expect(gate.replace(first.id, 1, TWO, NOW_MS)).toBe(true)
    expect(outcome(gate.find(first.key))).toEqual({ id: first.id })
    // A copy from before is older than what this process knows: it brings that along.
    renameSync(`${folder}/copy.db`, file)
    followed.look()
    expect(outcome(gate.read(first.id))).toMatchObject({ tokens: TWO, version: 2 })
    expect(outcome(kept().read(first.id))).toMatchObject({ tokens: TWO, version: 2 })
    gate.end(first.id)
    rmSync(file)
    followed.look()
    expectNobody(gate, first)
  } finally {
    followed.stop()
  }
})

test('tokens too long to be sealed are refused, and the session stays', () => {
  const gate = kept()
  const begun = gate.begin(ONE, NOW_MS)
  const huge = tokensOf('huge', { refreshToken: 'x'.repeat(65_536) })
  expect(thrownBy(() => gate.begin(huge, NOW_MS))).toBe('too_large')
  expect(thrownBy(() => gate.replace(begun.id, 1, huge, NOW_MS))).toBe('too_large')
  expect(outcome(gate.read(begun.id))).toEqual({ tokens: ONE, version: 1 })
})

test('a full disk: the write is refused, and works again when there is room', () => {
  const disk = `${folder}/disk`
  mkdirSync(disk)
  const run = (...words: string[]): boolean =>
    process.platform === 'linux' &&
    Bun.spawnSync(words, { stdout: 'ignore', stderr: 'ignore' }).exitCode === 0
  if (process.getuid?.() !== 0 || !run('mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', disk)) {
    process.stderr.write('  skipped: no right to mount a small disk\n')
    return
  }
  try {
    const gate = kept([FIRST], {}, `${disk}/postern.db`)
    const begun = gate.begin(ONE, NOW_MS)
    gate.database.run('PRAGMA wal_checkpoint(TRUNCATE)')
    for (let size = 65_536; size >= 1;) {
      try {
        appendFileSync(`${disk}/ballast`, new Uint8Array(size))
      } catch {
        size = Math.trunc(size / 2)
      }
    }
    expectUntouched(gate, begun, 'disk_full')
    expect(thrownBy(() => gate.end(begun.id))).toBe('disk_full')
    rmSync(`${disk}/ballast`)
    expect(gate.replace(begun.id, 1, TWO, NOW_MS)).toBe(true)
    expect(outcome(kept([FIRST], {}, `${disk}/postern.db`).read(begun.id))).toMatchObject({
      tokens: TWO,
    })
  } finally {
    for (const each of open.splice(0)) each.close()
    run('umount', '-l', disk)
  }
})

test('a disk that cannot be read is no fault of the key: 503, and no token', () => {
  const gate = kept()
  const begun = gate.begin(ONE, NOW_MS)
  gate.database.run('DROP TABLE login_session')
  for (const decision of [gate.find(begun.key), gate.read(begun.id)]) {
    expect(decision).toMatchObject({ code: 'login_unavailable', retryAfterSeconds: 5 })
    expect(JSON.stringify(decision)).not.toContain(folder)
  }
  expect(thrownBy(() => gate.current())).toBe('failed')
  expect(thrownBy(() => gate.begin(ONE, NOW_MS))).toBe('failed')
})

test('a file of an earlier version gets the table, and keeps its content', () => {
  const earlier = openDatabase(file, [LEDGER_SCHEMA, ENROLL_SCHEMA])
  if (!earlier.ok) throw new Error(earlier.reason)
  const { database } = earlier
  open.push(database)
  database.run("INSERT INTO ledger_run (token, host, pid, seen_ms) VALUES ('t', 'h', 1, 1)")
  const begun = kept().begin(ONE, NOW_MS)
  expect(database.query('SELECT token FROM ledger_run').all()).toEqual([{ token: 't' }])
  expect(outcome(kept().find(begun.key))).toEqual({ id: begun.id })
})

test('without a secret there are no sessions', () => {
  const { database } = kept()
  expect(() => sessions({ connection: connected(database), secrets: [] })).toThrow(RangeError)
  expect(() =>
    sessions({ connection: connected(database), secrets: [new Secret('x'.repeat(31))] }),
  ).toThrow(RangeError)
})
