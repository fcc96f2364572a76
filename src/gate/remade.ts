// A part of a gate that is created from settings, and created again at a reload. Callers ask for the
// current one and keep none.

import type { Configuration } from './reload-change.ts'

/** Creates what the next settings need. The returned function puts it in place, and cannot fail. */
export type Prepare = (next: Configuration) => () => void

export interface Remade<T> {
  readonly now: () => T
  readonly prepare: Prepare
}

/** Kept if nothing that it is created from has changed. */
export interface Before<T> {
  readonly configuration: Configuration
  readonly made: T
}

export function remade<T>(
  first: Configuration,
  make: (configuration: Configuration, before?: Before<T>) => T,
): Remade<T> {
  let before: Before<T> = { configuration: first, made: make(first) }
  return {
    now: () => before.made,
    prepare(configuration) {
      const made = make(configuration, before)
      return () => {
        before = { configuration, made }
      }
    },
  }
}

/** All of them, or none if one throws. */
export function prepareAll(all: readonly Prepare[], next: Configuration): () => void {
  const commits = all.map((prepare) => prepare(next))
  return () => {
    for (const commit of commits) commit()
  }
}
