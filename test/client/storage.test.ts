import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { hostname } from 'node:os'
import type { Storage } from '../../src/client/api.ts'
import { breakLock, withLock } from '../../src/client/lock.ts'
import { dataFolder, fileStorage, memoryStorage } from '../../src/client/storage.ts'
import { pause } from '../../src/client/tempo.ts'
import { folder } from './scene.ts'

const TIMING = { waitMs: 300, beatMs: 20, staleMs: 100 }
let kept: ReturnType<typeof folder>

beforeEach(() => {
  kept = folder()
})
afterEach(() => kept.remove())

describe.each<[string, () => Storage]>([
  ['files', () => fileStorage(kept.path)],
  ['memory', memoryStorage],
])('the contract of a storage: %s', (_, make) => {
  test('returns the value that was set last, or nothing', async () => {
    const storage = make()
    expect(await storage.get('a')).toBeUndefined()
    await storage.delete('a')
    await storage.set('a', 'one')
    await storage.set('a', 'zwei ✓')
    await storage.set('b', '')
    expect(await storage.get('a')).toBe('zwei ✓')
    expect(await storage.get('b')).toBe('')
    await storage.delete('a')
    expect(await storage.get('a')).toBeUndefined()
  })
})

describe('files', () => {
  test('a symlink is neither read nor written through', async () => {
    mkdirSync(kept.path, { mode: 0o700 })
    const target = `${kept.path}-target`
    writeFileSync(target, 'theirs')
    symlinkSync(target, `${kept.path}/a`)
    const storage = fileStorage(kept.path)
    expect(await storage.get('a')).toBeUndefined()
    await storage.set('a', 'ours')
    expect(readFileSync(target, 'utf8')).toBe('theirs')
    expect(lstatSync(`${kept.path}/a`).isFile()).toBe(true)
    expect(await storage.get('a')).toBe('ours')
  })

  test('a folder that is a symlink, or that others may write to, is refused', async () => {
    mkdirSync(`${kept.path}-real`, { mode: 0o700 })
    symlinkSync(`${kept.path}-real`, kept.path)
    await expect(fileStorage(kept.path).set('a', 'b')).rejects.toThrow('not a folder')
    mkdirSync(`${kept.path}-open`)
    chmodSync(`${kept.path}-open`, 0o777)
    await expect(fileStorage(`${kept.path}-open`).set('a', 'b')).rejects.toThrow('by others')
  })

  test('a pipe or a folder in a file’s place is nothing there, and does not hang', async () => {
    mkdirSync(kept.path, { mode: 0o700 })
    Bun.spawnSync(['mkfifo', `${kept.path}/a`])
    expect(await fileStorage(kept.path).get('a')).toBeUndefined()
  })

  test('a file that others could read is closed to them, not thrown away', async () => {
    const storage = fileStorage(kept.path)
    await storage.set('a', 'b')
    chmodSync(`${kept.path}/a`, 0o644)
    expect(await storage.get('a')).toBe('b')
    expect(statSync(`${kept.path}/a`).mode & 0o777).toBe(0o600)
  })

  test('a reader never sees half a value, and no other file is left', async () => {
    const storage = fileStorage(kept.path)
    const values = ['x'.repeat(60_000), 'y'.repeat(60_000)]
    await storage.set('a', values[0] ?? '')
    const writing = (async () => {
      for (let each = 0; each < 40; each += 1) await storage.set('a', values[each % 2] ?? '')
    })()
    for (let each = 0; each < 200; each += 1)
      expect(values).toContain((await storage.get('a')) ?? '')
    await writing
    expect(readdirSync(kept.path)).toEqual(['a'])
  })

  test('a name cannot leave the folder', async () => {
    for (const name of ['../a', 'a/b', '', '.', 'A', 'x'.repeat(65)]) {
      await expect(fileStorage(kept.path).get(name)).rejects.toThrow(TypeError)
    }
  })

  test('each platform has its place', () => {
    expect(dataFolder({}, 'linux', '/h')).toBe('/h/.local/share/postern')
    expect(dataFolder({ XDG_DATA_HOME: '/x' }, 'linux', '/h')).toBe('/x/postern')
    expect(dataFolder({ XDG_DATA_HOME: 'x' }, 'linux', '/h')).toBe('/h/.local/share/postern')
    expect(dataFolder({}, 'darwin', '/h')).toBe('/h/Library/Application Support/postern')
    expect(dataFolder({ LOCALAPPDATA: '/l' }, 'win32', '/h')).toBe('/l/postern')
  })
})

describe('the lock', () => {
  const path = (): string => {
    mkdirSync(kept.path, { recursive: true, mode: 0o700 })
    return `${kept.path}/lock`
  }

  test('lets one at a time through, and is gone afterwards', async () => {
    const lock = path()
    let inside = 0
    let most = 0
    const work = async (): Promise<void> => {
      inside += 1
      most = Math.max(most, inside)
      await pause(2)
      inside -= 1
    }
    // On a busy machine nobody is to be taken for dead.
    const patient = { ...TIMING, waitMs: 10_000, staleMs: 10_000 }
    const all = Array.from({ length: 10 }, () => withLock(lock, work, patient))
    await Promise.all(all)
    expect(most).toBe(1)
    expect(readdirSync(kept.path)).toEqual([])
  })

  test('of a dead process is taken over', async () => {
    const lock = path()
    const dead = Bun.spawnSync(['true']).pid
    writeFileSync(lock, `${dead} some-id ${hostname()}`)
    expect(await withLock(lock, async () => 'in', { ...TIMING, staleMs: 60_000 })).toBe('in')
    expect(readdirSync(kept.path)).toEqual([])
  })

  test.each([-1000, 1000])('without a beat is taken over, its clock %p s off', async (seconds) => {
    const lock = path()
    writeFileSync(lock, `${process.pid} some-id another-host`)
    const at = Date.now() / 1000 + seconds
    utimesSync(lock, at, at)
    expect(await withLock(lock, async () => 'in', TIMING)).toBe('in')
  })

  test('that beats is waited for, and then it is busy; its holder keeps it', async () => {
    const lock = path()
    let done = (): void => {}
    const held = withLock(lock, () => new Promise<void>((resolve) => (done = resolve)), TIMING)
    while (!existsSync(lock)) await pause(1)
    const waiting = await withLock(lock, async () => 'in', TIMING).catch((error: unknown) => error)
    expect(waiting).toMatchObject({ code: 'BUSY' })
    done()
    await held
    expect(existsSync(lock)).toBe(false)
  })

  test('that was taken over is not removed by the one who lost it', async () => {
    const lock = path()
    await withLock(
      lock,
      async () => {
        writeFileSync(lock, 'another')
      },
      TIMING,
    )
    expect(readFileSync(lock, 'utf8')).toBe('another')
  })

  test('that is found to be another’s while it is broken is put back', async () => {
    const lock = path()
    writeFileSync(lock, 'living')
    await breakLock(lock, 'dead')
    expect(readFileSync(lock, 'utf8')).toBe('living')
    await breakLock(lock, 'living')
    expect(readdirSync(kept.path)).toEqual([])
  })

  test('is released by work that throws', async () => {
    const lock = path()
    await expect(withLock(lock, () => Promise.reject(new Error('x')), TIMING)).rejects.toThrow('x')
    expect(existsSync(lock)).toBe(false)
  })

  test('that is a symlink is not followed', async () => {
    const lock = path()
    symlinkSync(`${kept.path}-elsewhere`, lock)
    await withLock(lock, async () => 'in', TIMING).catch(() => {})
    expect(existsSync(`${kept.path}-elsewhere`)).toBe(false)
  })
})
