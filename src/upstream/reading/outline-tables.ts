// The tables for reading a body with an Outline: shapes, which may refer to themselves, and all member
// names by hash.

import { hashOf, type Names, type OutlineMember, type OutlineShape } from './outline.ts'

type Members<To> = Readonly<Record<string, OutlineMember<To>>>

export interface OutlineTables<To> {
  readonly known: Names<To>['known']
  shape(members: Members<To>, rest?: Omit<OutlineShape<To>, 'members'>): OutlineShape<To>
  /** For a table that refers to itself. */
  add(to: OutlineShape<To>, members: Members<To>): void
}

export function outlineTables<To>(): OutlineTables<To> {
  const known = new Map<number, string>()
  const add = (to: OutlineShape<To>, members: Members<To>): void => {
    const own = to.members as Map<string, OutlineMember<To>>
    for (const [name, member] of Object.entries(members)) {
      own.set(name, member)
      known.set(hashOf(name), name)
    }
  }
  return {
    known,
    add,
    shape(members, rest = {}) {
      const made = { members: new Map<string, OutlineMember<To>>(), ...rest }
      add(made, members)
      return made
    },
  }
}
