// Admits one process at a time, by a file that only one can create. It keeps two processes from asking
// the gate twice; it is not what protects a family. If a lock is lost (by a laptop that slept while
// holding it), the mark in the stored token (grant.ts) still prevents the request that would revoke.

import { randomUUID } from 'node:crypto'
import { type FileHandle, constants, link, open, rename, unlink } from 'node:fs/promises'
import { hostname } from 'node:os'
import { pause } from './tempo.ts'

export interface LockTiming {
  /** The longest work takes 30 s: health check, refreshes within the grace period, bootstrap. */
  readonly waitMs: number
  readonly beatMs: number
  /** A holder that has not updated the file for this long is gone or asleep. */
  readonly staleMs: number
}

export const LOCK_TIMING: LockTiming = { waitMs: 45_000, beatMs: 3000, staleMs: 15_000 }

const MAX_LOCK_BYTES = 512

export class Busy extends Error {
  readonly code = 'BUSY'

  constructor() {
    super('the lock is held by another process')
  }
}

export async function withLock<T>(
  path: string,
  work: () => Promise<T>,
  timing: LockTiming = LOCK_TIMING,
): Promise<T> {
  const ours = `${process.pid} ${randomUUID()} ${hostname()}`
  const file = await acquire(path, ours, timing)
  const beat = setInterval(() => {
    const now = new Date()
    // Through the open file, so that it never touches a lock that has replaced ours.
    file.utimes(now, now).catch(() => {})
  }, timing.beatMs)
  beat.unref()
  try {
    return await work()
  } finally {
    clearInterval(beat)
    await file.close().catch(() => {})
    await release(path, ours)
  }
}

async function acquire(path: string, ours: string, timing: LockTiming): Promise<FileHandle> {
  const deadline = performance.now() + timing.waitMs
  for (;;) {
    try {
      // O_EXCL does not follow a symbolic link at this path.
      const file = await open(path, 'wx', 0o600)
      await file.writeFile(ours)
      return file
    } catch (error) {
      if (!isCode(error, 'EEXIST')) throw error
    }
    const seen = await read(path)
    if (seen && isStale(seen, timing.staleMs)) await breakLock(path, seen.holder)
    else await pause(20 + 30 * Math.random())
    if (performance.now() > deadline) throw new Busy()
  }
}

interface SeenLock {
  readonly holder: string
  readonly modifiedMs: number
}

async function read(path: string): Promise<SeenLock | undefined> {
  let file: FileHandle
  try {
    file = await open(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0))
  } catch (error) {
    if (isCode(error, 'ENOENT')) return undefined
    throw error
  }
  try {
    const { mtimeMs } = await file.stat()
    const { buffer, bytesRead } = await file.read(
      Buffer.alloc(MAX_LOCK_BYTES),
      0,
      MAX_LOCK_BYTES,
      0,
    )
    return { holder: buffer.toString('utf8', 0, bytesRead), modifiedMs: mtimeMs }
  } finally {
    await file.close()
  }
}

function isStale({ holder, modifiedMs }: SeenLock, staleMs: number): boolean {
  // The absolute difference: a clock that was set back must not make a dead lock immortal.
  if (Math.abs(Date.now() - modifiedMs) > staleMs) return true
  const [pid, , host] = holder.split(' ')
  return host === hostname() && /^\d{1,10}$/.test(pid ?? '') && !isAlive(Number(pid))
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return !isCode(error, 'ESRCH')
  }
}

/**
 * Moves the lock aside first, and checks it: of two processes that find it stale, the second may
 * have moved a living one.
 */
export async function breakLock(path: string, holder: string): Promise<void> {
  const aside = `${path}.${randomUUID()}`
  try {
    await rename(path, aside)
    const moved = await read(aside)
    if (moved && moved.holder !== holder) await link(aside, path).catch(() => {})
    await unlink(aside)
  } catch (error) {
    if (!isCode(error, 'ENOENT')) throw error
  }
}

async function release(path: string, ours: string): Promise<void> {
  try {
    const seen = await read(path)
    if (seen?.holder === ours) await unlink(path)
  } catch {
    // A lock that cannot be removed becomes stale.
  }
}

export function isCode(error: unknown, code: string): boolean {
  return (error as { code?: unknown } | null)?.code === code
}
