// The mistakes of a document, each by its place. What was written is not repeated in one: it may be a
// secret, in its place or by a slip out of it.

import type { Mistake } from '../kinds.ts'
import type { Position } from './node.ts'

export interface Report {
  readonly mistakes: readonly Mistake[]
  /** `FILE:4:3 listen.port`. */
  place(at: Position, path: string): string
  wrong(from: string, message: string, hint: string): undefined
}

/** `name`: the file, as a mistake names it. */
export function reporting(name: string): Report {
  const mistakes: Mistake[] = []
  return {
    mistakes,
    place: ({ line, column }, path) => `${name}:${line}:${column}${path === '' ? '' : ` ${path}`}`,
    wrong(setting, message, hint) {
      mistakes.push({ setting, message, hint })
    },
  }
}
