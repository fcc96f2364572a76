// Whether a descriptor is a terminal. node:tty is loaded where that is in doubt: it takes memory, and
// few gates log to one.

import { fstatSync } from 'node:fs'

export function isTerminal(fd: number): boolean {
  try {
    if (!fstatSync(fd).isCharacterDevice()) return false
  } catch {
    return false
  }
  return process.getBuiltinModule('node:tty').isatty(fd)
}
