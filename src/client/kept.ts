// The grant of one gate in the storage: read anew each time, because another process may have
// renewed it. An answer of the gate that could not be written down is held in memory until it can.

import { createHash } from 'node:crypto'
import type { Storage } from './api.ts'
import { type Grant, parseGrant, serializeGrant } from './grant.ts'

export interface KeptEnrolment {
  /** Rejects where the storage fails. */
  read(): Promise<Grant | undefined>
  /** Rejects where the storage fails. */
  write(grant: Grant): Promise<void>
  /** Of what the gate gave: never lost to a full disk. False where it is in memory alone. */
  take(grant: Grant): Promise<boolean>
  /** Rejects where the storage fails. */
  forget(): Promise<void>
}

/** Of what is kept for one gate; a storage holds those of several. */
export function keptName(kind: 'grant' | 'login', base: string): string {
  return `${kind}-${createHash('sha256').update(base).digest('hex').slice(0, 32)}`
}

export function kept(storage: Storage, base: string): KeptEnrolment {
  const name = keptName('grant', base)
  let unwritten: Grant | undefined

  const write = async (grant: Grant): Promise<void> => {
    await storage.set(name, serializeGrant(grant, base))
    unwritten = undefined
  }
  return {
    write,
    async read() {
      if (unwritten) {
        const grant = unwritten
        await write(grant).catch(() => {})
        return grant
      }
      const text = await storage.get(name)
      if (text === undefined) return undefined
      // What makes no sense is left for the next token to replace: to delete it here could delete
      // the good one that another process has just put in its place.
      return parseGrant(text, base)
    },
    async take(grant) {
      unwritten = grant
      try {
        await write(grant)
        return true
      } catch {
        return false
      }
    },
    async forget() {
      unwritten = undefined
      await storage.delete(name)
    },
  }
}
