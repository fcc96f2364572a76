// Collects the mistakes of a document, each with its place. A mistake never repeats a value: it may be a
// secret, perhaps pasted into the wrong setting.

import type { Mistake } from '../kinds.ts'
import type { Position } from './node.ts'

export interface Report {
  readonly mistakes: readonly Mistake[]
  /** `FILE:4:3 listen.port`. */
  place(at: Position, path: string): string
  wrong(from: string, message: string, hint: string): undefined
}

/** `name`: the file's name in mistakes. */
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
