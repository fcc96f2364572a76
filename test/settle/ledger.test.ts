import { connectionBy, connectionTo } from '../support/connection.ts'
import { NOON, folder, openLedgerFile, opened } from './ledger-parts.ts'
import { ledgerContract } from './ledger-contract.ts'
import { sqliteReportsAtOnce } from '../../src/ledger/sqlite/reports-at-once.ts'
import { sqliteReports } from '../../src/ledger/sqlite/reports.ts'
import { sqliteLedger } from '../../src/ledger/sqlite/writer.ts'

ledgerContract('memory', () => {
  const database = opened(openLedgerFile(':memory:'))
  return {
    reports: sqliteReports(connectionTo(database)),
    atOnce: sqliteReportsAtOnce(database),
    outlivesStop: false,
    ledger: (options) => sqliteLedger(connectionTo(database), { nowMs: NOON, ...options }),
    remove: () => database.close(),
  }
})

ledgerContract('a file', () => {
  const { path, remove } = folder()
  const file = `${path}/postern.db`
  const database = opened(openLedgerFile(file))
  return {
    reports: sqliteReports(connectionTo(database)),
    atOnce: sqliteReportsAtOnce(database),
    outlivesStop: true,
    ledger: (options) =>
      sqliteLedger(
        connectionBy(() => openLedgerFile(file)),
        { nowMs: NOON, ...options },
      ),
    remove: () => {
      database.close()
      remove()
    },
  }
})
