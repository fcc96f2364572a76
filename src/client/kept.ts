// The grant of one gate in the storage. It is read anew each time, because another process may have
// renewed it. A grant that could not be written is held in memory until it can.

import { createHash } from 'node:crypto'
import type { Storage } from './api.ts'
import { type Grant, parseGrant, serializeGrant } from './grant.ts'

export interface KeptEnrolment {
  /** Rejects if the storage fails. */
  read(): Promise<Grant | undefined>
  /** Rejects if the storage fails. */
  write(grant: Grant): Promise<void>
  /**
   * Stores a grant from the gate, which a full disk must not lose. False if it is only in memory.
   */
  take(grant: Grant): Promise<boolean>
  /** Rejects if the storage fails. */
  forget(): Promise<void>
}

/** The name of what is stored for one gate; a storage may serve several. */
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
      // An invalid value stays for the next token to replace: deleting it here could delete a valid
      // one that another process has just written.
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
