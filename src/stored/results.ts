// Which batches' results were counted: the usage of a batch is charged once, however often it is read. It
// is noted among the owners of objects, under names that no object has.

import type { Owner, Owners } from './owners.ts'

export interface BatchCounts {
  /** A batch wrote this file, and nothing but the file says what it used. */
  written(fileId: string, owner: Owner, epochMs: number): void
  /** What it may cost was charged when it began. */
  charged(id: string, owner: Owner, epochMs: number): void
  /** Whether it is counted now. A file counts only if a batch wrote it. */
  isFirst(results: CountedResults, owner: Owner, epochMs: number): boolean
}

interface CountedResults {
  readonly id: string
  readonly isFile: boolean
}

export function batchCounts(owners: Pick<Owners, 'note' | 'ownerOf'>): BatchCounts {
  const isKnown = (name: string): boolean => {
    const found = owners.ownerOf(name)
    return found.ok && found.value !== undefined
  }
  const charged = (id: string, owner: Owner, epochMs: number): void =>
    owners.note(`charged ${id}`, owner, epochMs, true)
  return {
    written: (id, owner, epochMs) => owners.note(`written ${id}`, owner, epochMs, true),
    charged,
    isFirst({ id, isFile }, owner, epochMs) {
      if (isFile && !isKnown(`written ${id}`)) return false
      if (isKnown(`charged ${id}`)) return false
      charged(id, owner, epochMs)
      return true
    },
  }
}
