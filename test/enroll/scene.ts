// What the tests of enrolment share: a real SQLite file, a clock to set, and a log to search.

import { memoryCounters } from '../../src/gate/state.ts'
import { Database } from 'bun:sqlite'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pino from 'pino'
import { identifier } from '../../src/token/identity.ts'
import { Secret } from '../../src/secret.ts'
import type { BootstrapContext } from '../../src/enroll/bootstrap.ts'
import { makeCode } from '../../src/enroll/codes.ts'
import type { CodeTerms, DeviceRecords } from '../../src/enroll/records.ts'
import { sqliteDevices } from '../../src/enroll/sqlite/records.ts'
import type { KeyRecords } from '../../src/keys/records.ts'
import { sqliteKeys } from '../../src/keys/sqlite/records.ts'
import type { DeviceClaims } from '../../src/enroll/device-token.ts'
import { enrollment } from '../../src/enroll/enroll.ts'
import { type DeviceEnrollment, type EnrollmentOptions } from '../../src/enroll/enrollment.ts'
import { NO_ENTITLEMENTS } from '../../src/enroll/entitlements.ts'
import type { EnrollDecision } from '../../src/enroll/refusals.ts'
import {
  ENROLL_NAMES_SCHEMA,
  ENROLL_PRAGMAS,
  ENROLL_SCHEMA,
  ENROLL_UNFINISHED_SCHEMA,
} from '../../src/enroll/schema.ts'
import { KEYS_SCHEMA } from '../../src/keys/schema.ts'
import type { Instant } from '../../src/turn/instant.ts'
import { connectionTo } from '../support/connection.ts'

export const SECRET = new Secret('first-secret-of-the-tests-0123456789abcdef')
export const HASH_KEY = 'ab'.repeat(32)
export const identify = identifier(new Secret(HASH_KEY))
export const DAY_SECONDS = 86_400

const startSeconds = Math.floor(Date.now() / 1000)
const startMs = performance.now()

/** Both clocks, so many seconds after the tests began. */
export function at(seconds: number): Instant {
  return { epochSeconds: startSeconds + seconds, monotonicMs: startMs + seconds * 1000 }
}

export function openDatabase(path: string): Database {
  const db = new Database(path, { create: true })
  db.exec(ENROLL_PRAGMAS)
  db.exec(ENROLL_SCHEMA)
  db.exec(ENROLL_NAMES_SCHEMA)
  db.exec(ENROLL_UNFINISHED_SCHEMA)
  db.exec(KEYS_SCHEMA)
  return db
}

export interface Scene extends Disposable {
  readonly db: Database
  /** As commands see them. */
  readonly records: { readonly devices: DeviceRecords; readonly keys: KeyRecords }
  readonly path: string
  readonly gate: DeviceEnrollment
  /** Everything that was logged. */
  readonly logged: () => string
  /** A second gate on the same file, as after a restart or on another core. */
  another(options?: Partial<EnrollmentOptions>): DeviceEnrollment
  code(terms?: Partial<CodeTerms>): string
  bootstrap(deviceId: string, context?: Partial<BootstrapContext>, seconds?: number): Bootstrapped
  /** The token of a device that enrolled with a code of its own. */
  enrolled(deviceId?: string, terms?: Partial<CodeTerms>): Promise<string>
}
type Bootstrapped = ReturnType<DeviceEnrollment['bootstrap']>

export function scene(options: Partial<EnrollmentOptions> = {}): Scene {
  const directory = mkdtempSync(join(tmpdir(), 'postern-enroll-'))
  const path = join(directory, 'postern.db')
  const open: Database[] = []
  let log = ''
  const start = (more: Partial<EnrollmentOptions>): [Database, DeviceEnrollment] => {
    const db = openDatabase(path)
    open.push(db)
    const gate = enrollment({
      counters: memoryCounters,
      connection: connectionTo(db),
      secrets: [SECRET],
      identify,
      policy: 'code',
      lifetimeSeconds: DAY_SECONDS,
      proxyBaseUrl: () => 'https://gate.example',
      defaults: NO_ENTITLEMENTS,
      log: pino({ level: 'trace' }, { write: (line: string) => void (log += line) }),
      ...options,
      ...more,
    })
    return [db, gate]
  }
  const [db, gate] = start({})
  const code: Scene['code'] = (terms = {}) =>
    makeCode(
      db,
      { entitlements: NO_ENTITLEMENTS, uses: 1, lifetimeSeconds: 3600, label: '', ...terms },
      at(0).epochSeconds,
    ).code
  const bootstrap: Scene['bootstrap'] = (deviceId, context = {}, seconds = 0) =>
    gate.bootstrap(
      { deviceId, appVersion: undefined, code: undefined },
      { addressKey: '192.0.2.1', credential: undefined, user: undefined, ...context },
      at(seconds),
    )
  return {
    db,
    records: { devices: sqliteDevices(db), keys: sqliteKeys(db) },
    path,
    gate,
    logged: () => log,
    another: (more = {}) => start(more)[1],
    code,
    bootstrap,
    enrolled: async (deviceId = 'device-one', terms = {}) =>
      tokenOf(await bootstrap(deviceId, { credential: code(terms) })),
    [Symbol.dispose]() {
      for (const each of open) each.close()
      rmSync(directory, { recursive: true })
    },
  }
}

export function tokenOf(minted: Awaited<Bootstrapped>): string {
  return granted(minted).wrapper_token
}

export function granted<T>(decision: EnrollDecision<T>): T {
  if (!decision.ok) throw new Error(`refused: ${decision.code}, ${decision.reason}`)
  return decision.value
}

/** The refusal's code, or `granted`. */
export function outcome(decision: EnrollDecision<unknown>): string {
  return decision.ok ? 'granted' : decision.code
}

export async function claimsOf(
  gate: DeviceEnrollment,
  token: string,
  seconds = 0,
): Promise<DeviceClaims> {
  return granted(await gate.verify(token, at(seconds)))
}
