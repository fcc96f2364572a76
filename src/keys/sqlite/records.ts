// Keys in the SQLite file, for one command.

import type { Database } from 'bun:sqlite'
import {
  currentKey,
  keyPages,
  keysOfIdentities,
  keysOfOrg,
  namesOfKeys,
  newestKey,
} from '../find.ts'
import type { KeyRecords } from '../records.ts'
import { addKey, revokeKeys, rotateKey } from '../store.ts'

export function sqliteKeys(database: Database): KeyRecords {
  return {
    add: async (terms, nowSeconds) => addKey(database, terms, nowSeconds),
    rotate: async (name, rotation, nowSeconds) => rotateKey(database, name, rotation, nowSeconds),
    revoke: async (given, nowSeconds) => revokeKeys(database, given, nowSeconds),
    async *pages() {
      yield* keyPages(database)
    },
    current: async (name) => currentKey(database, name),
    newestNamed: async (name) => newestKey(database, name),
    ofIdentities: async (identities) => keysOfIdentities(database, identities),
    ofOrg: async (org) => keysOfOrg(database, org),
    names: async () => namesOfKeys(database),
  }
}
