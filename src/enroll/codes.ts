// Enrolment codes: 192 random bits, stored as their SHA-256 together with what they grant. Only
// `consumeCode` takes a use, and only one caller gets the last one.

import type { Database } from 'bun:sqlite'
import { hash, randomBytes } from 'node:crypto'
import { type Entitlements, entitlementMembers, readEntitlements } from './entitlements.ts'
import type { CodeListed, CodeMade, CodeTerms } from './records.ts'

/** Above 128 bits (attack 34), and no padding in base64url. */
const CODE_BYTES = 24
const CODE = /^postern-code-[A-Za-z0-9_-]{32}$/
/** For one page: an operator creates codes by hand. */
const MAX_LISTED = 1000

/** Whether it is worth asking the disk. */
export function isCode(text: string): boolean {
  return CODE.test(text)
}

/** Creates a code. This is the only time the code itself is seen. */
export function makeCode(db: Database, terms: CodeTerms, nowSeconds: number): CodeMade {
  const code = `postern-code-${randomBytes(CODE_BYTES).toString('base64url')}`
  const expiresAt = nowSeconds + terms.lifetimeSeconds
  const { lastInsertRowid } = db
    .query(
      `INSERT INTO enrolment_codes
         (code_sha256, label, entitlements, uses, uses_left, created_at, expires_at)
       VALUES (?1, ?2, ?3, ?4, ?4, ?5, ?6)`,
    )
    .run(
      digestOf(code),
      terms.label,
      JSON.stringify(entitlementMembers(terms.entitlements)),
      terms.uses,
      nowSeconds,
      expiresAt,
    )
  return { name: `code:${lastInsertRowid}`, code, expiresAt }
}

/** One statement, so that among a hundred concurrent callers as many win as there are uses. */
export function consumeCode(
  db: Database,
  code: string,
  nowSeconds: number,
):
  | { readonly name: string; readonly label: string; readonly entitlements: Entitlements }
  | undefined {
  if (!isCode(code)) return undefined
  const row = db
    .query<{ id: number; label: string; entitlements: string }, [string, number]>(
      `UPDATE enrolment_codes SET uses_left = uses_left - 1
       WHERE code_sha256 = ?1 AND uses_left > 0 AND expires_at > ?2
       RETURNING id, label, entitlements`,
    )
    .get(digestOf(code), nowSeconds)
  if (!row) return undefined
  const { id, label, entitlements } = row
  return { name: `code:${id}`, label, entitlements: stored(entitlements) }
}

/** The name of a code, whether or not it can still be used. */
export function codeNamed(db: Database, code: string): string | undefined {
  const row = db
    .query<{ id: number }, [string]>('SELECT id FROM enrolment_codes WHERE code_sha256 = ?1')
    .get(digestOf(code))
  return row ? `code:${row.id}` : undefined
}

/** Takes all remaining uses; true if there is such a code. */
export function withdrawCode(db: Database, name: string): boolean {
  const id = /^code:(\d{1,15})$/.exec(name)?.[1]
  if (id === undefined) return false
  return (
    db.query('UPDATE enrolment_codes SET uses_left = 0 WHERE id = ?1').run(Number(id)).changes > 0
  )
}

/** Usable codes first, then the newest. */
export function listCodes(db: Database, nowSeconds: number): CodeListed[] {
  const rows = db
    .query<
      {
        id: number
        label: string
        entitlements: string
        uses: number
        uses_left: number
        expires_at: number
      },
      [number, number]
    >(
      `SELECT id, label, entitlements, uses, uses_left, expires_at FROM enrolment_codes
       ORDER BY uses_left > 0 AND expires_at > ?1 DESC, id DESC LIMIT ?2`,
    )
    .all(nowSeconds, MAX_LISTED)
  return rows.map((row) => ({
    name: `code:${row.id}`,
    label: row.label,
    entitlements: stored(row.entitlements),
    uses: row.uses,
    usesLeft: row.uses_left,
    expiresAt: row.expires_at,
  }))
}

function digestOf(code: string): string {
  return hash('sha256', code, 'hex')
}

/** Throws if the row is not what we wrote: no entitlements would mean no limits. */
function stored(text: string): Entitlements {
  const read = readEntitlements(JSON.parse(text))
  if (!read.ok) throw new Error('a stored code has entitlements that cannot be applied')
  return read.value
}
