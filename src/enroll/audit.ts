// The audit trail: what was done to devices, and by whom. Rows are added and never changed. A subject
// is a name of ours (family, token, device hash, `code:7`), never a device's own id, a code or a
// token.

import type { Database } from 'bun:sqlite'
import type { AuditEntry, AuditListed, AuditPage } from './records.ts'

const MAX_FIELD_LENGTH = 200

export function audit(db: Database, { at, actor, action, subject }: AuditEntry): void {
  const [who, what, whom] = [actor, action, subject].map((text) => text.slice(0, MAX_FIELD_LENGTH))
  db.query('INSERT INTO audit (at, actor, action, subject) VALUES (?1, ?2, ?3, ?4)').run(
    at,
    who ?? '',
    what ?? '',
    whom ?? '',
  )
}

/** In the order of writing. */
export function listAudit(db: Database, { sinceSeconds, after, limit }: AuditPage): AuditListed[] {
  return db
    .query<Omit<AuditListed, 'label'> & { readonly label: string | null }, number[]>(
      `SELECT audit.seq, at, actor, action, subject, device_names.label FROM audit
       LEFT JOIN device_families ON device_families.family = subject
       LEFT JOIN device_names ON device_names.seq = device_families.seq
       WHERE audit.seq > ?1 AND at >= ?2 ORDER BY audit.seq LIMIT ?3`,
    )
    .all(after, sinceSeconds, limit)
    .map(({ seq, at, actor, action, subject, label }) => {
      return { seq, at, actor, action, subject, label: label ?? undefined }
    })
}
