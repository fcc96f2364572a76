// All tables of the gate's SQLite file, as migrations in the order of their creation. The gate and the
// commands pass them to the store, which knows no table.

import type { LatestSchema } from '../database/database.ts'
import type { Tables } from '../database/stand.ts'
import {
  ENROLL_NAMES_SCHEMA,
  ENROLL_LATEST,
  ENROLL_SCHEMA,
  ENROLL_UNFINISHED_SCHEMA,
} from '../enroll/schema.ts'
import { KEYS_SCHEMA } from '../keys/schema.ts'
import { FORMER_NAMES } from '../ledger/sqlite/former-names.ts'
import {
  LEDGER_INDEXES,
  LEDGER_LATEST,
  LEDGER_REASONING,
  LEDGER_RETRIED,
  LEDGER_SCHEMA,
  LEDGER_TOOLS,
  SPEND_CORRECTIONS,
} from '../ledger/sqlite/schema.ts'
import { PERSON_DAYS, PERSON_DAYS_LATEST, PERSON_POLICIES } from '../ledger/sqlite/person-days.ts'
import { LOGIN_SCHEMA } from '../login/schema.ts'
import { STORED_SCHEMA } from '../stored/schema.ts'

/** Append-only: a file's `user_version` is the number of migrations that it has. */
const MIGRATIONS = [
  LEDGER_SCHEMA,
  ENROLL_SCHEMA,
  LOGIN_SCHEMA,
  LEDGER_INDEXES,
  ENROLL_NAMES_SCHEMA,
  LEDGER_TOOLS,
  SPEND_CORRECTIONS,
  ENROLL_UNFINISHED_SCHEMA,
  KEYS_SCHEMA,
  PERSON_DAYS,
  PERSON_POLICIES,
  STORED_SCHEMA,
  LEDGER_REASONING,
  FORMER_NAMES,
  LEDGER_RETRIED,
]

/**
 * The result of the first `version` migrations, for a new file: creating it at once takes a third of the
 * time. A new file then gets the later migrations like every other file.
 */
const LATEST: LatestSchema = {
  version: 14,
  schema: [
    LEDGER_LATEST,
    ENROLL_LATEST,
    LOGIN_SCHEMA,
    SPEND_CORRECTIONS,
    KEYS_SCHEMA,
    PERSON_DAYS_LATEST,
    STORED_SCHEMA,
    FORMER_NAMES,
  ].join(''),
}

/** The tables that decide who is admitted are checked at each start. */
const CHECKED = ['withdrawals', 'device_families', 'enrolment_codes', 'api_keys', 'login_session']

export const TABLES: Tables = { migrations: MIGRATIONS, latest: LATEST, checked: CHECKED }
