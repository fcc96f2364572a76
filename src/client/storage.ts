// The default storage: one small file for each value, readable by this user alone. A value is
// replaced as a whole (replace-file.ts). A symbolic link, another user's file or anything but a plain file
// counts as absent, and is replaced, not followed.

import { constants, lstat, mkdir, open, unlink } from 'node:fs/promises'
import { homedir } from 'node:os'
import { isAbsolute, join } from 'node:path'
import type { Storage } from './api.ts'
import { isCode, LOCK_TIMING, type LockTiming, withLock } from './lock.ts'
import { replaceFile } from './replace-file.ts'

const NAME = /^[a-z0-9-]{1,64}$/
const MAX_VALUE_BYTES = 65_536

/** The platform's folder for an app's data: never one that is synchronised to other machines. */
export function dataFolder(
  env: Readonly<Record<string, string | undefined>> = process.env,
  platform: string = process.platform,
  home: string = homedir(),
): string {
  if (platform === 'darwin') return join(home, 'Library', 'Application Support', 'postern')
  if (platform === 'win32') {
    return join(env['LOCALAPPDATA'] ?? join(home, 'AppData', 'Local'), 'postern')
  }
  const xdg = env['XDG_DATA_HOME'] ?? ''
  // The XDG specification: a relative path is to be ignored.
  return join(isAbsolute(xdg) ? xdg : join(home, '.local', 'share'), 'postern')
}

export function fileStorage(
  folder: string = dataFolder(),
  lockTiming: LockTiming = LOCK_TIMING,
): Storage {
  const pathOf = (name: string): string => {
    if (!NAME.test(name)) throw new TypeError('a name in the storage is lower-case, with dashes')
    return join(folder, name)
  }
  return {
    async get(name) {
      return read(pathOf(name))
    },
    async set(name, value) {
      const path = pathOf(name)
      await prepare(folder)
      // Losing a new token in a power cut loses the family: the old one is already retired.
      await replaceFile(path, value, 0o600)
    },
    async delete(name) {
      await unlink(pathOf(name)).catch((error: unknown) => {
        if (!isCode(error, 'ENOENT')) throw error
      })
    },
    async exclusively(work) {
      await prepare(folder)
      return withLock(join(folder, 'lock'), work, lockTiming)
    },
  }
}

/** For one process, as long as it lives: a container, a test. */
export function memoryStorage(): Storage {
  const values = new Map<string, string>()
  return {
    get: async (name) => values.get(name),
    set: async (name, value) => void values.set(name, value),
    delete: async (name) => void values.delete(name),
  }
}

/** Anybody who can write in the folder could put a token of theirs there, and read our prompts. */
async function prepare(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const stats = await lstat(folder)
  if (!stats.isDirectory()) throw new Error('the storage folder is not a folder')
  if (process.getuid === undefined) return
  if (stats.uid !== process.getuid()) throw new Error('the storage folder is another user’s')
  if ((stats.mode & 0o022) !== 0) throw new Error('the storage folder can be written by others')
}

async function read(path: string): Promise<string | undefined> {
  // O_NONBLOCK: a pipe at this path must not block us for ever.
  const flags = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0)
  let file
  try {
    file = await open(path, flags)
  } catch (error) {
    if (isCode(error, 'ENOENT') || isCode(error, 'ELOOP') || isCode(error, 'EMLINK')) {
      return undefined
    }
    throw error
  }
  try {
    const stats = await file.stat()
    if (!stats.isFile() || stats.size > MAX_VALUE_BYTES) return undefined
    if (process.getuid !== undefined) {
      if (stats.uid !== process.getuid()) return undefined
      // Perhaps restored from a backup. Discarding it could cost a one-time enrolment.
      if ((stats.mode & 0o077) !== 0) await file.chmod(0o600)
    }
    return await file.readFile('utf8')
  } finally {
    await file.close()
  }
}
