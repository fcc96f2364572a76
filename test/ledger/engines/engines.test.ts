// Every engine of the ledger through one suite. The one in memory knows no SQL: nothing that the suite
// asks for depends on it.

import { memoryEngine } from './memory.ts'
import { sqliteEngine } from './sqlite.ts'
import { ledgerSuite } from './suite.ts'

ledgerSuite(sqliteEngine)
ledgerSuite(memoryEngine)
