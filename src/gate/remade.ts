// A part of a gate that is made of settings, and made anew where they are exchanged. Whoever needs it asks
// for the one of now, and keeps none.

import type { Configuration } from './reload-change.ts'

/** Makes what the next settings need; what it returns puts it in place, and cannot fail. */
export type Prepare = (next: Configuration) => () => void

export interface Remade<T> {
  readonly now: () => T
  readonly prepare: Prepare
}

/** To go on with, where nothing that it is made of has changed. */
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

/** All of them, or none where one throws. */
export function prepareAll(all: readonly Prepare[], next: Configuration): () => void {
  const commits = all.map((prepare) => prepare(next))
  return () => {
    for (const commit of commits) commit()
  }
}
