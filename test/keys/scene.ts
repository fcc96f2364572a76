// What the tests of keys share: a real database file with everybody's tables, a clock to set, and a log
// to search.

import type { Database } from 'bun:sqlite'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pino from 'pino'
import { type AdmitKey, keyAdmission } from '../../src/admit/key.ts'
import type { DatabaseConnection } from '../../src/database/connection.ts'
import { follow } from '../../src/database/follow.ts'
import { store } from '../../src/database/store.ts'
import { TABLES } from '../../src/gate/migrations.ts'
import { type Keyring, keyring, type KeyringOptions } from '../../src/keys/keyring.ts'
import type { KeyMade, KeyRecords, KeyTerms } from '../../src/keys/records.ts'
import { sqliteKeys } from '../../src/keys/sqlite/records.ts'
import { addKey } from '../../src/keys/store.ts'
import type { Instant } from '../../src/turn/instant.ts'
import { everything } from '../support/admitted.ts'

const startSeconds = Math.floor(Date.now() / 1000)

/** Both clocks, so many seconds after the tests began. */
export function at(seconds: number): Instant {
  return { epochSeconds: startSeconds + seconds, monotonicMs: 1_000_000 + seconds * 1000 }
}

export interface KeyScene extends Disposable {
  readonly folder: string
  readonly path: string
  /** As a command opens it. */
  readonly db: Database
  /** As commands see them. */
  readonly records: KeyRecords
  /** Everything that was logged. */
  readonly logged: () => string
  readonly connection: DatabaseConnection
  readonly keys: Keyring
  readonly admit: AdmitKey
  /** A gate that starts now. */
  another(options?: Partial<KeyringOptions>): { readonly keys: Keyring; readonly admit: AdmitKey }
  add(terms?: Partial<KeyTerms>, seconds?: number): KeyMade
  /** As the timer does that follows the file. */
  look(): void
  /** Polls until nothing is left, `seconds` after the beginning. */
  hear(seconds?: number): void
}

export function keyScene(options: Partial<KeyringOptions> = {}): KeyScene {
  const folder = mkdtempSync(join(tmpdir(), 'postern-keys-'))
  const path = join(folder, 'postern.db')
  let log = ''
  const logger = pino({ level: 'trace' }, { write: (line: string) => void (log += line) })
  const file = follow(path, TABLES, logger)
  const opened = store(path, TABLES).open({ mode: 'existing' })
  if (!opened.ok) throw new Error(opened.reason)
  const db = opened.database
  const start = (more: Partial<KeyringOptions> = {}) => {
    const connection = file.connect({ busyTimeoutMs: 50 })
    const keys = keyring({ connection, log: logger, ...options, ...more })
    return { connection, keys, admit: keyAdmission(keys, everything) }
  }
  const { connection, keys, admit } = start()
  return {
    folder,
    path,
    db,
    records: sqliteKeys(db),
    logged: () => log,
    connection,
    keys,
    admit,
    another: start,
    add(terms = {}, seconds = 0) {
      const given = {
        name: 'ci',
        policy: undefined,
        org: undefined,
        expiresAt: undefined,
        ...terms,
      }
      const added = addKey(db, given, at(seconds).epochSeconds)
      if (!added.ok) throw new Error(added.why)
      return added
    },
    look: file.look,
    hear(seconds = 0) {
      file.look()
      while (keys.poll(at(seconds)));
    },
    [Symbol.dispose]() {
      db.close()
      file.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
