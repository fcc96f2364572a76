// A file that was made before reasoning was counted: its rows and sums stay as they are, and what comes
// then is counted beside them.

import { expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openDatabase } from '../../src/database/database.ts'
import { TABLES } from '../../src/gate/migrations.ts'
import { LEDGER_REASONING } from '../../src/ledger/sqlite/schema.ts'
import { usageBy } from '../../src/ledger/sqlite/usage-report.ts'
import { sqliteLedger } from '../../src/ledger/sqlite/writer.ts'
import { connectionTo } from '../support/connection.ts'
import { measure, NOON, opened, opening, outcome, recordingLog } from '../settle/ledger-parts.ts'

test('an older file keeps its sums, and counts what comes', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'postern-reasoning-'))
  const file = join(folder, 'postern.db')
  try {
    const older = TABLES.migrations.slice(0, TABLES.migrations.indexOf(LEDGER_REASONING))
    const before = opened(openDatabase(file, older))
    const columns = before
      .query<{ name: string }, []>("SELECT name FROM pragma_table_info('ledger_day')")
      .all()
      .map(({ name }) => name)
    const day = Math.floor(NOON / 86_400_000)
    const [keys, rest] = [columns.slice(0, 4), columns.slice(4)]
    before.run(
      `INSERT INTO ledger_day (${[...keys, ...rest].join(', ')})
       VALUES (${day}, 'device-1', 'org-1', 'claude-sonnet-4-5', ${rest.map(() => 1).join(', ')})`,
    )
    before.close()

    const after = opened(openDatabase(file, TABLES.migrations))
    const ledger = sqliteLedger(connectionTo(after), { log: recordingLog().log, nowMs: NOON })
    const measured = measure({ reasoning: 12 })
    ledger.close(ledger.open(opening()), outcome({ usage: { state: 'exact', measured } }))
    await ledger.flush(NOON)
    const { total } = usageBy(after, 'day', {})
    expect(total).toMatchObject({
      requests: 2,
      reasoningTokens: 12,
      tokens: { input: 11, output: 21, cacheRead: 3001, cacheCreation: 401 },
    })
    after.close()
  } finally {
    rmSync(folder, { recursive: true })
  }
})
