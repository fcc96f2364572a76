// The engine that keeps the ledger in memory.

import type { CorrectionEntry } from '../../../src/ledger/corrections.ts'
import { memoryLedger } from '../../support/memory-ledger.ts'
import type { TestedEngine } from './tested.ts'

export const memoryEngine: TestedEngine = {
  name: 'memory',
  make() {
    const entries: CorrectionEntry[] = []
    let isFailing = false
    const ledger = memoryLedger((entry) => {
      if (isFailing) throw new Error('the audit trail cannot be written')
      entries.push(entry)
    })
    return {
      ...ledger,
      audited: () => entries,
      failAudit: () => void (isFailing = true),
      remove() {},
    }
  },
}
