// What /admin reads of devices and writes to the audit trail, in the SQLite file.

import type { DatabaseConnection } from '../../database/connection.ts'
import { unusableFrom } from '../../database/trouble.ts'
import { type Decision, granted, refused } from '../../refusal.ts'
import { audit } from '../audit.ts'
import { listFamilies } from '../family-list.ts'
import type { Register } from '../records.ts'

export function sqliteRegister(connection: DatabaseConnection): Register {
  return {
    devices: async (page) => decided(() => listFamilies(connection.get(), page)),
    note: async (entry) =>
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
