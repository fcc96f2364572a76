// The operator's reads of devices and writes to the audit trail, over HTTP.

import type { DatabaseConnection } from '../database/connection.ts'
import { unusableFrom } from '../database/trouble.ts'
import { type Decision, granted, refused } from '../refusal.ts'
import { audit } from './audit.ts'
import { listFamilies } from './family-list.ts'
import type { AuditEntry, FamilyListed } from './records.ts'

export interface Register {
  /** The newest first; `before` is the `seq` of the last device seen. */
  devices(page: {
    readonly limit: number
    readonly before?: number
  }): Decision<readonly FamilyListed[]>
  note(entry: AuditEntry): Decision<undefined>
}

export function register(connection: DatabaseConnection): Register {
  return {
    devices: (page) => decided(() => listFamilies(connection.get(), page)),
    note: (entry) =>
      decided(() => {
        connection.write((database) => audit(database, entry))
        return undefined
      }),
  }
}

function decided<T>(work: () => T): Decision<T> {
  try {
    return granted(work())
  } catch (error) {
    const unusable = unusableFrom(error)
    if (!unusable) throw error
    return refused('database_unavailable', { reason: unusable.reason, retryAfterSeconds: 5 })
  }
}
