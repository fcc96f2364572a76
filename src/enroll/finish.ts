// Finishes a revocation of many families: in parts of a few milliseconds, each a transaction of its
// own, with pauses in which the gate's event loop and other writers get their turns.

import type { Database } from 'bun:sqlite'
import { findUnfinished, noteFinished, noteFurther } from './unfinished.ts'
import { unsynced } from '../database/unsynced.ts'
import { withdrawPart } from './withdraw.ts'

const PART_MS = 2
const PAUSE_MS = 4
const FIRST_FAMILIES = 25
const MAX_FAMILIES = 1000
/** Retries while another process holds the lock or the disk fails: how often, and how far apart. */
const MAX_TRIES = 20
const TRY_AGAIN_MS = 100

/** How many families the next part may take; a slow disk or machine gets fewer. */
export interface PartSize {
  readonly families: number
  took(ms: number): void
}

export function partSize(): PartSize {
  let families = FIRST_FAMILIES
  return {
    get families() {
      return families
    },
    took(ms) {
      const fitting = Math.min(families * 2, (families * PART_MS) / Math.max(ms, 0.01))
      families = Math.trunc(Math.min(MAX_FAMILIES, Math.max(FIRST_FAMILIES, fitting)))
    },
  }
}

export interface RevokedPart {
  readonly families: readonly string[]
  readonly isFinished: boolean
}

/** One transaction. `isFinished` if nothing is left, or another process finished it first. */
export function revokePart(
  db: Database,
  id: number,
  size: PartSize,
  nowSeconds: number,
): RevokedPart {
  const began = performance.now()
  const left = findUnfinished(db, id)
  if (!left) return { families: [], isFinished: true }
  if (left.after >= left.upTo) {
    noteFinished(db, id)
    return { families: [], isFinished: true }
  }
  const working = db.transaction((): readonly string[] => {
    const left = findUnfinished(db, id)
    if (!left) return []
    const done = withdrawPart(db, { ...left, limit: size.families }, left.act)
    noteFurther(db, id, done.after ?? left.upTo, nowSeconds)
    return done.families
  })
  // After a power cut the row still lists these as left.
  const families = unsynced(db, () => working.immediate())
  size.took(performance.now() - began)
  return { families, isFinished: false }
}

export interface RevocationRest {
  readonly families: readonly string[]
  /** Undefined if all is done. */
  readonly error: unknown
}

/**
 * Goes on until nothing is left, or until the disk has failed for some seconds. `write` gives each
 * part the current database.
 */
export async function finishRevoking(
  left: readonly number[],
  write: (work: (db: Database, nowSeconds: number) => RevokedPart) => RevokedPart,
): Promise<RevocationRest> {
  const size = partSize()
  const families: string[] = []
  for (const id of left) {
    let failures = 0
    let isFinished = false
    while (!isFinished) {
      await Bun.sleep(failures > 0 ? TRY_AGAIN_MS : PAUSE_MS)
      try {
        const part = write((db, nowSeconds) => revokePart(db, id, size, nowSeconds))
        families.push(...part.families)
        ;({ isFinished } = part)
        failures = 0
      } catch (error) {
        failures += 1
        if (failures >= MAX_TRIES) return { families, error }
      }
    }
  }
  return { families, error: undefined }
}
