// A process of its own that keeps a ledger, for those who kill it or write beside it:
// `bun ledger-process.ts FILE MODE COUNT`.

import { sqliteLedger } from '../../src/ledger/sqlite/writer.ts'
import { connectionBy } from '../support/connection.ts'
import { openLedgerFile, opening, outcome, recordingLog } from './ledger-parts.ts'

const [path = '', mode = '', count = '0'] = process.argv.slice(2)
const { log } = recordingLog()
const ledger = sqliteLedger(
  connectionBy(() => openLedgerFile(path)),
  { log, nowMs: Date.now() },
)

if (mode === 'write') {
  for (let row = 0; row < Number(count); row++) {
    const entry = ledger.open(opening({ requestId: `${process.pid}-${row}` }))
    if (row % 50 === 0) await Bun.sleep(1)
    ledger.close(entry, outcome())
  }
  const deadline = Date.now() + 10_000
  while (ledger.health().waiting > 0 && Date.now() < deadline) await Bun.sleep(2)
  ledger.stop(Date.now())
  process.stdout.write(JSON.stringify(ledger.health()))
} else {
  // Three are left open; the others close, and each is told once it has.
  for (let row = 0; row < 3; row++) ledger.open(opening({ requestId: `open-${row}` }))
  for (let row = 0; row < 20_000; row++) {
    const entry = ledger.open(opening({ requestId: `row-${row}` }))
    ledger.close(entry, outcome())
    process.stdout.write(`${Date.now()} ${row}\n`)
    await Bun.sleep(1)
  }
}
