// Everything that enrolment keeps on disk, and how its connection wants to be set up.

import { AUDIT_SCHEMA } from './audit.ts'
import { CODES_SCHEMA } from './codes.ts'
import { FAMILIES_SCHEMA, FAMILY_NAMES_SCHEMA } from './families.ts'
import { REVOCATIONS_SCHEMA } from './revocations.ts'

/** Idempotent. */
export const ENROLL_SCHEMA: string = [
  CODES_SCHEMA,
  FAMILIES_SCHEMA,
  REVOCATIONS_SCHEMA,
  AUDIT_SCHEMA,
].join('')

/** What came later; idempotent too. */
export const ENROLL_NAMES_SCHEMA: string = FAMILY_NAMES_SCHEMA

/**
 * For a connection of enrolment's own. bun:sqlite is synchronous: as long as another process holds
 * the lock, the whole gate waits, so that the wait is short and ends in a 503 of /bootstrap or
 * /refresh. What is answered is on the disk before (`FULL`), or a power cut would forget which
 * token of a family is the last one.
 */
export const ENROLL_PRAGMAS = `
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA busy_timeout = 50;
`
