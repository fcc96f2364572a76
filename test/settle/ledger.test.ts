import { connectionBy, connectionTo } from '../support/connection.ts'
import { NOON, folder, openLedgerFile, opened } from './ledger-parts.ts'
import { ledgerContract } from './ledger-contract.ts'
import { sqliteLedger } from '../../src/ledger/writer.ts'

ledgerContract('memory', () => {
  const database = opened(openLedgerFile(':memory:'))
  return {
    database,
    ledger: (options) => sqliteLedger(connectionTo(database), { nowMs: NOON, ...options }),
    remove: () => database.close(),
  }
})

ledgerContract('a file', () => {
  const { path, remove } = folder()
  const file = `${path}/postern.db`
  const database = opened(openLedgerFile(file))
  return {
    database,
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
