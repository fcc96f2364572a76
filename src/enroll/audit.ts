// The audit trail: what was done to devices, and by whom. Rows are added and never changed. A subject
// is a name of ours (family, token, device hash, `code:7`), never a device's own id, a code or a
// token.

import type { Database } from 'bun:sqlite'

/** Who did what, and when. */
export interface AuditedAct {
  /** Seconds since the epoch. */
  readonly at: number
  /** `cli`, `operator`, or `gate` for what the gate does on its own. */
  readonly actor: string
  /** `enrol`, `revoke`, `reuse`, … */
  readonly action: string
}

export interface AuditEntry extends AuditedAct {
  readonly subject: string
}

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

export interface AuditListed extends AuditEntry {
  readonly seq: number
  /** The device's label, if the subject names a device whose enrolment is still known. */
  readonly label: string | undefined
}

/** In the order of writing; `after` is the `seq` of the last entry seen. */
export function listAudit(
  db: Database,
  { sinceSeconds, after, limit }: { sinceSeconds: number; after: number; limit: number },
): AuditListed[] {
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
