// The ledger's tables. Every ended row is also counted in the sums of its day, in the same
// transaction, so that no report reads a million rows and none can disagree with them.

import { FIRST_SUM_COLUMNS, REASONING_COLUMN, TOOL_COLUMNS } from '../columns.ts'

const RUNS = `
-- Who has rows open here, so that a later start can tell the living from the dead.
CREATE TABLE ledger_run (
  -- AUTOINCREMENT: a number used twice would close a stranger's rows.
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  token TEXT NOT NULL UNIQUE,
  host TEXT NOT NULL,
  pid INTEGER NOT NULL,
  seen_ms INTEGER NOT NULL
) STRICT;
`

const requests = (...more: readonly string[]): string => `
CREATE TABLE ledger (
  -- Where the newest row is deleted its number comes again. Older files have AUTOINCREMENT here,
  -- which prevents that, and costs each row a look into another table; nothing relies on it.
  id INTEGER PRIMARY KEY,
  run INTEGER NOT NULL,
  -- Of opened_ms, in UTC.
  day INTEGER NOT NULL,
  opened_ms INTEGER NOT NULL,
  request_id TEXT NOT NULL,
  identity TEXT NOT NULL,
  device TEXT NOT NULL,
  org TEXT NOT NULL,
  route TEXT NOT NULL,
  upstream TEXT NOT NULL,
  model TEXT NOT NULL,
  status INTEGER,
  -- NULL while the request is under way.
  end_reason TEXT,
  succeeded INTEGER,
  usage TEXT NOT NULL,
  input_tokens INTEGER,
  output_tokens INTEGER,
  cache_read_tokens INTEGER,
  cache_creation_tokens INTEGER,
  cost_micro_usd INTEGER,
  estimated_input_tokens INTEGER,
  estimated_output_tokens INTEGER,
  estimated_cache_read_tokens INTEGER,
  estimated_cache_creation_tokens INTEGER,
  estimated_cost_micro_usd INTEGER,
  first_byte_ms INTEGER,
  duration_ms INTEGER${more.map((column) => `,\n  ${column}`).join('')}
) STRICT;
CREATE INDEX ledger_by_time ON ledger (opened_ms);
CREATE INDEX ledger_open ON ledger (run) WHERE end_reason IS NULL;
`

const days = (...more: readonly string[]): string => `
CREATE TABLE ledger_day (
  day INTEGER NOT NULL,
  device TEXT NOT NULL,
  org TEXT NOT NULL,
  model TEXT NOT NULL,
  ${[...FIRST_SUM_COLUMNS.map((name) => `${name} INTEGER NOT NULL`), ...more].join(',\n  ')},
  -- The day first: what is written today lies together.
  PRIMARY KEY (day, device, org, model)
) STRICT, WITHOUT ROWID;
CREATE INDEX ledger_day_by_device ON ledger_day (device, day);
CREATE INDEX ledger_day_by_org ON ledger_day (org, day);
`

/** For `openDatabase`. '' stands for an absent value: NULLs are never equal, and keys must be. */
export const LEDGER_SCHEMA = `${RUNS}${requests()}${days()}
CREATE INDEX ledger_by_device ON ledger (device, opened_ms);
CREATE INDEX ledger_by_org ON ledger (org, opened_ms);
`

/**
 * Users' requests have neither device nor organisation, and are in neither index. A query has to
 * contain `device <> ''` for SQLite to use the index (sqlite.org/partialindex.html §3).
 */
const CALLER_INDEXES = `
CREATE INDEX ledger_by_device ON ledger (device, opened_ms) WHERE device <> '';
CREATE INDEX ledger_by_org ON ledger (org, opened_ms) WHERE org <> '';
`

export const LEDGER_INDEXES = `
DROP INDEX ledger_by_device;
DROP INDEX ledger_by_org;
${CALLER_INDEXES}`

/** An operator's corrections of a month's spending. Rows are added and never changed. */
export const SPEND_CORRECTIONS = `
CREATE TABLE spend_correction (
  -- AUTOINCREMENT: a running gate asks for those that are newer than the last it has read.
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  at_ms INTEGER NOT NULL,
  -- '2026-11', in UTC.
  month TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('device', 'org')),
  name TEXT NOT NULL,
  -- A debit is below 0.
  credit_micro_usd INTEGER NOT NULL,
  reason TEXT NOT NULL,
  actor TEXT NOT NULL
) STRICT;
CREATE INDEX spend_correction_by_name ON spend_correction (kind, name, month);
`

const REQUEST_TOOLS = [
  ...TOOL_COLUMNS.map((name) => `${name} INTEGER`),
  "price_class TEXT NOT NULL DEFAULT ''",
]
const DAY_TOOLS = TOOL_COLUMNS.map((name) => `${name} INTEGER NOT NULL DEFAULT 0`)

const added = (table: string, columns: readonly string[]): string =>
  columns.map((column) => `ALTER TABLE ${table} ADD COLUMN ${column};`).join('\n')

/** What upstreams run themselves, and what changes the price of a token. */
export const LEDGER_TOOLS = `
${added('ledger', REQUEST_TOOLS)}
${added('ledger_day', DAY_TOOLS)}
`

const REASONING = `${REASONING_COLUMN} INTEGER`
const DAY_REASONING = `${REASONING_COLUMN} INTEGER NOT NULL DEFAULT 0`

/** NULL where an answer tells nothing of it; it is part of `output_tokens`. */
export const LEDGER_REASONING = `
${added('ledger', [REASONING])}
${added('ledger_day', [DAY_REASONING])}
`

/** Attempts that another one of the same request followed: they are no requests of their own. */
export const LEDGER_RETRIED = added('ledger_day', ['retried INTEGER NOT NULL DEFAULT 0'])

/** What the four above that one leave, for a new file. */
export const LEDGER_LATEST: string = [
  RUNS,
  requests(...REQUEST_TOOLS, REASONING),
  days(...DAY_TOOLS, DAY_REASONING),
  CALLER_INDEXES,
].join('')
