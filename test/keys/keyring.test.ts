// A gate's keys: who is admitted, what is heard of other processes, and what another file changes.

import { describe, expect, test } from 'bun:test'
import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { keyAdmission } from '../../src/admit/key.ts'
import { makeKey } from '../../src/keys/format.ts'
import { pruneKeys } from '../../src/keys/prune.ts'
import { keyPages } from '../../src/keys/find.ts'
import { MAX_KEYS } from '../../src/keys/records.ts'
import { addKey, revokeKeys, rotateKey } from '../../src/keys/store.ts'
import { at, type KeyScene, keyScene } from './scene.ts'
import { everything } from '../support/admitted.ts'

const DAY = 86_400

/** The refusal's code, or the identity. */
function said({ admit }: Pick<KeyScene, 'admit'>, key: string, seconds = 0): string {
  const admitted = admit(key, at(seconds))
  return admitted.ok ? admitted.value.identity : admitted.code
}

describe('admission', () => {
  test('a key that was added is admitted under its own identity, with its organisation', () => {
    using on = keyScene()
    const { key, row } = on.add({ org: 'acme', policy: 'ci' })
    expect(said(on, key)).toBe('invalid_token')
    on.hear()
    expect(on.admit(key, at(0))).toMatchObject({
      ok: true,
      value: { kind: 'key', identity: row.identity, org: 'acme' },
    })
    expect(row.identity).toMatch(/^[0-9a-f]{64}$/)
    expect(said(on.another(), key)).toBe(row.identity)
  })

  test('attack: a guess with a right checksum, and one character that differs', () => {
    using on = keyScene()
    const { key } = on.add()
    on.hear()
    for (let run = 0; run < 500; run += 1) expect(said(on, makeKey())).toBe('invalid_token')
    for (let place = 0; place < key.length; place += 1) {
      const other = key[place] === 'x' ? 'y' : 'x'
      const text = key.slice(0, place) + other + key.slice(place + 1)
      expect(said(on, text)).toBe('invalid_token')
    }
    for (const text of [key.toLowerCase(), key.toUpperCase(), `${key}\n`, `${key} `, '', 'pk_']) {
      expect(said(on, text)).toBe('invalid_token')
    }
    expect(said(on, key)).toHaveLength(64)
  })

  test('attack: a key with a wrong checksum is never looked up', () => {
    using on = keyScene()
    const { key } = on.add()
    const asked: string[] = []
    on.hear()
    const admit = keyAdmission(
      {
        find(text) {
          asked.push(text)
          return undefined
        },
        seen: () => {},
      },
      everything,
    )
    admit(`${key.slice(0, -1)}${key.endsWith('0') ? '1' : '0'}`, at(0))
    expect(asked).toEqual([])
    admit(key, at(0))
    expect(asked).toEqual([key])
  })

  test('with its expiry it ends, to the second, and says so', () => {
    using on = keyScene()
    const { key, row } = on.add({ expiresAt: at(60).epochSeconds })
    on.hear()
    expect(said(on, key, 59)).toBe(row.identity)
    expect(said(on, key, 60)).toBe('key_expired')
    expect(said(on.another(), key, 60)).toBe('key_expired')
  })

  test('revoked, by name, by hash or by the key itself, it says so', () => {
    for (const by of ['name', 'identity', 'key'] as const) {
      using on = keyScene()
      const made = on.add({ expiresAt: at(10).epochSeconds })
      on.hear()
      const name = by === 'key' ? made.key : made.row[by]
      expect(revokeKeys(on.db, name, at(1).epochSeconds)).toEqual({ names: ['ci'], ended: 1 })
      on.hear(1)
      // Even where it has also expired.
      for (const seconds of [1, 11]) expect(said(on, made.key, seconds)).toBe('key_revoked')
      expect(said(on.another(), made.key, 1)).toBe('key_revoked')
      expect(revokeKeys(on.db, 'ci', at(2).epochSeconds)).toEqual({ names: ['ci'], ended: 0 })
      expect(revokeKeys(on.db, 'other', at(2).epochSeconds)).toBeUndefined()
    }
  })

  test('rotated, both are good for the overlap, under one identity; then the new one alone', () => {
    using on = keyScene()
    const first = on.add({ org: 'acme', policy: 'p', expiresAt: at(90 * DAY).epochSeconds })
    const rotation = { overlapSeconds: DAY, expiresAt: 'same' } as const
    const second = rotateKey(on.db, 'ci', rotation, at(10).epochSeconds)
    if (!second.ok) throw new Error(second.why)
    expect(second.row).toMatchObject({
      name: 'ci',
      org: 'acme',
      policy: 'p',
      identity: first.row.identity,
      expiresAt: at(10 + 90 * DAY).epochSeconds,
    })
    on.hear(10)
    for (const gate of [on, on.another()]) {
      expect(said(gate, first.key, 9 + DAY)).toBe(first.row.identity)
      expect(said(gate, second.key, 9 + DAY)).toBe(first.row.identity)
      expect(said(gate, first.key, 10 + DAY)).toBe('key_revoked')
      expect(said(gate, second.key, 10 + DAY)).toBe(first.row.identity)
    }
    // Of a leaked one that key alone; by name, all that are left.
    const third = rotateKey(on.db, 'ci', rotation, at(20).epochSeconds)
    if (!third.ok) throw new Error(third.why)
    expect(revokeKeys(on.db, first.key, at(21).epochSeconds)?.ended).toBe(1)
    on.hear(21)
    expect([first, second, third].map(({ key }) => said(on, key, 21).length)).toEqual([11, 64, 64])
    expect(revokeKeys(on.db, 'ci', at(22).epochSeconds)?.ended).toBe(2)
    on.hear(22)
    for (const { key } of [second, third]) expect(said(on, key, 22)).toBe('key_revoked')
    expect(rotateKey(on.db, 'ci', rotation, at(23).epochSeconds)).toMatchObject({ ok: false })
  })

  test('a rotation without an overlap ends the old key now', () => {
    using on = keyScene()
    const { key } = on.add()
    rotateKey(on.db, 'ci', { overlapSeconds: 0, expiresAt: undefined }, at(0).epochSeconds)
    on.hear()
    expect(said(on, key)).toBe('key_revoked')
  })
})

describe('on disk', () => {
  test('is the hash alone: no key, in no file, whatever was done with it', () => {
    using on = keyScene()
    const first = on.add()
    const rotation = { overlapSeconds: 5, expiresAt: undefined }
    const second = rotateKey(on.db, 'ci', rotation, at(0).epochSeconds)
    if (!second.ok) throw new Error(second.why)
    on.hear()
    for (const { key } of [first, second]) said(on, key)
    on.hear(2)
    revokeKeys(on.db, first.key, at(3).epochSeconds)
    const bytes = readdirSync(on.folder)
      .map((name) => readFileSync(join(on.folder, name)).toString('latin1'))
      .join('')
    for (const { key, row } of [first, second]) {
      expect(bytes).toContain(row.digest)
      expect(bytes + on.logged()).not.toContain(key)
      expect(bytes + on.logged()).not.toContain(key.slice(3, 33))
    }
  })

  test("the audit records every action by the key's name", () => {
    using on = keyScene()
    on.add()
    rotateKey(on.db, 'ci', { overlapSeconds: 5, expiresAt: undefined }, at(1).epochSeconds)
    revokeKeys(on.db, 'ci', at(2).epochSeconds)
    const rows = on.db.query('SELECT actor, action, subject FROM audit ORDER BY seq').all()
    expect(rows).toEqual(
      ['key add', 'key rotate', 'key revoke'].map((action) => ({
        actor: 'cli',
        action,
        subject: 'key:ci',
      })),
    )
  })

  test('a name belongs to one key at a time, and is free after a revocation', () => {
    using on = keyScene()
    const first = on.add()
    const terms = { name: 'ci', policy: undefined, org: undefined, expiresAt: undefined }
    expect(addKey(on.db, terms, at(0).epochSeconds)).toEqual({ ok: false, why: 'name_taken' })
    revokeKeys(on.db, 'ci', at(0).epochSeconds)
    expect(on.add().row.identity).not.toBe(first.row.identity)
  })

  test('no more than so many keys are good at once', () => {
    using on = keyScene()
    on.db.run(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${MAX_KEYS})
      INSERT INTO api_keys (changed, name, key_sha256, identity, created_at)
      SELECT i, 'n' || i, 'd' || i, 'i' || i, 0 FROM n`)
    const terms = { name: 'ci', policy: undefined, org: undefined, expiresAt: undefined }
    expect(addKey(on.db, terms, at(0).epochSeconds)).toEqual({ ok: false, why: 'too_many' })
    revokeKeys(on.db, 'n7', at(0).epochSeconds)
    expect(addKey(on.db, terms, at(0).epochSeconds)).toMatchObject({ ok: true })
    on.hear()
    expect(on.keys.size).toBe(MAX_KEYS + 1)
  })

  test('last seen is written to the minute, and not with each request', () => {
    using on = keyScene()
    const { key, row } = on.add()
    const seen = () => [...keyPages(on.db)].flat().find(({ seq }) => seq === row.seq)?.seenAt
    on.hear()
    expect(seen()).toBeNull()
    said(on, key, 3)
    on.hear(4)
    const first = seen()
    expect(first).toBe(Math.floor(at(3).epochSeconds / 60) * 60)
    said(on, key, 200)
    on.keys.stop()
    expect(seen()).toBe(Math.floor(at(200).epochSeconds / 60) * 60)
  })

  test('keys that ended long ago are forgotten, and no number is reused', () => {
    using on = keyScene()
    const old = on.add()
    rotateKey(on.db, 'ci', { overlapSeconds: 0, expiresAt: undefined }, at(0).epochSeconds)
    on.hear()
    expect(pruneKeys(on.db, at(29 * DAY).epochSeconds)).toBe(false)
    expect([...keyPages(on.db)].flat()).toHaveLength(2)
    pruneKeys(on.db, at(31 * DAY).epochSeconds)
    expect([...keyPages(on.db)].flat().map(({ seq }) => seq)).not.toContain(old.row.seq)
    revokeKeys(on.db, 'ci', at(31 * DAY).epochSeconds)
    on.hear()
    // The one that changed last stays.
    pruneKeys(on.db, at(1000 * DAY).epochSeconds)
    const { key, row } = on.add({}, 1000 * DAY)
    on.hear(1000 * DAY)
    expect(said(on, key, 1000 * DAY)).toBe(row.identity)
  })
})

describe('memory is bounded', () => {
  test('beyond it the ended are forgotten first, and then nothing more is taken', () => {
    using on = keyScene({ maxKeys: 3 })
    const [a, b, c] = ['a', 'b', 'c'].map((name) => on.add({ name }))
    revokeKeys(on.db, 'a', at(0).epochSeconds)
    on.hear()
    expect(said(on, a?.key ?? '')).toBe('key_revoked')
    const d = on.add({ name: 'd' })
    on.hear()
    expect(said(on, a?.key ?? '')).toBe('invalid_token')
    const e = on.add({ name: 'e' })
    on.hear()
    expect([b, c, d].map((each) => said(on, each?.key ?? ''))).toEqual(
      [b, c, d].map((each) => each?.row.identity ?? ''),
    )
    expect(said(on, e.key)).toBe('invalid_token')
    expect(on.keys.size).toBe(3)
    expect(on.logged()).toContain('too many keys')
  })
})

describe('another file', () => {
  const backup = (on: KeyScene, name = 'backup.db'): string => {
    const path = join(on.folder, name)
    on.db.run(`VACUUM INTO '${path}'`)
    return path
  }
  const putBack = (on: KeyScene, path: string): void => {
    on.db.close()
    for (const end of ['-wal', '-shm']) rmSync(on.path + end, { force: true })
    renameSync(path, on.path)
  }

  test('keys that were revoked after a backup stay revoked when it is restored, and after a restart', () => {
    using on = keyScene()
    const [kept, revoked, rotated] = ['kept', 'revoked', 'rotated'].map((name) => on.add({ name }))
    on.hear()
    const path = backup(on)
    revokeKeys(on.db, 'revoked', at(1).epochSeconds)
    rotateKey(on.db, 'rotated', { overlapSeconds: 10, expiresAt: undefined }, at(1).epochSeconds)
    on.hear(1)
    putBack(on, path)
    on.hear(2)
    for (const gate of [on, on.another()]) {
      expect(said(gate, kept?.key ?? '', 2)).toHaveLength(64)
      expect(said(gate, revoked?.key ?? '', 2)).toBe('key_revoked')
      expect(said(gate, rotated?.key ?? '', 10)).toHaveLength(64)
      expect(said(gate, rotated?.key ?? '', 11)).toBe('key_revoked')
    }
  })

  test('a key that is not in the file at the path is unknown', () => {
    using on = keyScene()
    const path = backup(on)
    const { key } = on.add()
    on.hear()
    expect(said(on, key)).toHaveLength(64)
    putBack(on, path)
    on.hear(1)
    expect(said(on, key, 1)).toBe('invalid_token')
  })

  test('a backup that is brought into the file itself is read whole', () => {
    using on = keyScene()
    const first = on.add({ name: 'first' })
    on.hear()
    const path = backup(on)
    const second = on.add({ name: 'second' })
    revokeKeys(on.db, 'first', at(1).epochSeconds)
    on.hear(1)
    // As `.restore` does: all rows at once, in the file that is open.
    on.db.run(`ATTACH '${path}' AS old`)
    on.db.transaction(() => {
      on.db.run('DELETE FROM api_keys')
      on.db.run('INSERT INTO api_keys SELECT * FROM old.api_keys')
    })()
    const third = on.add({ name: 'third' }, 2)
    on.hear(2)
    expect(said(on, first.key, 2)).toBe('key_revoked')
    expect(said(on, second.key, 2)).toBe('invalid_token')
    expect(said(on, third.key, 2)).toBe(third.row.identity)
  })

  test('while a large file is read in pieces, the previous keys count', () => {
    using on = keyScene()
    const [gone, kept, revoked] = ['gone', 'kept', 'revoked'].map((name) => on.add({ name }))
    on.hear()
    on.db.run(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200)
      INSERT INTO api_keys (changed, name, key_sha256, identity, created_at)
      SELECT 100 + i, 'n' || i, 'd' || i, 'i' || i, 0 FROM n`)
    on.db.run("DELETE FROM api_keys WHERE name = 'gone'")
    const path = backup(on)
    revokeKeys(on.db, 'revoked', at(1).epochSeconds)
    on.hear(1)
    putBack(on, path)
    const codes = () => [gone, kept, revoked].map((each) => said(on, each?.key ?? '', 2))
    let turns = 0
    on.look()
    while (on.keys.poll(at(2))) {
      turns += 1
      expect(codes().slice(1)).toEqual([kept?.row.identity ?? '', 'key_revoked'])
    }
    expect(turns).toBeGreaterThan(1)
    expect(codes()).toEqual(['invalid_token', kept?.row.identity ?? '', 'key_revoked'])
    expect(on.keys.size).toBe(1202)
  })

  test('while the file at the path cannot be used, the known keys count', () => {
    using on = keyScene()
    const [kept, revoked] = ['kept', 'revoked'].map((name) => on.add({ name }))
    revokeKeys(on.db, 'revoked', at(0).epochSeconds)
    on.hear()
    const path = join(on.folder, 'noise.db')
    writeFileSync(path, 'no database '.repeat(1000))
    putBack(on, path)
    on.hear(1)
    expect(on.keys.storage).toBe('failing')
    expect(said(on, kept?.key ?? '', 1)).toBe(kept?.row.identity ?? '')
    expect(said(on, revoked?.key ?? '', 1)).toBe('key_revoked')
    expect(() => on.another()).toThrow()
  })
})
