// The engine that keeps the ledger in the gate's SQLite file.

import { store } from '../../../src/database/store.ts'
import { TABLES } from '../../../src/gate/migrations.ts'
import type { CorrectionEntry } from '../../../src/ledger/corrections.ts'
import { sqliteCommandLedger, sqliteGateLedger } from '../../../src/ledger/sqlite/engine.ts'
import { folder, NOON, opened } from '../../settle/ledger-parts.ts'
import { connectionBy, connectionTo } from '../../support/connection.ts'
import type { TestedEngine } from './tested.ts'

export const sqliteEngine: TestedEngine = {
  name: 'an SQLite file',
  make() {
    const { path, remove } = folder()
    const file = store(`${path}/postern.db`, TABLES)
    const database = opened(file.open())
    // A command has a process of its own.
    const commands = opened(file.open())
    const entries: CorrectionEntry[] = []
    let isFailing = false
    const standing = connectionTo(database)
    return {
      gate: ({ nowMs = NOON, ...options }) =>
        sqliteGateLedger(
          { writing: connectionBy(() => file.open()), reading: standing, standing },
          { nowMs, ...options },
        ),
      command: sqliteCommandLedger(commands, (entry) => {
        if (isFailing) throw new Error('the audit trail cannot be written')
        entries.push(entry)
      }),
      audited: () => entries,
      failAudit: () => void (isFailing = true),
      remove() {
        database.close()
        commands.close()
        remove()
      },
    }
  },
}
