// Whether a descriptor is a terminal, and what may be shown on one. node:tty is loaded only in case of
// doubt: it takes memory, and few gates log to a terminal.

import { fstatSync } from 'node:fs'

export function isTerminal(fd: number): boolean {
  try {
    if (!fstatSync(fd).isCharacterDevice()) return false
  } catch {
    return false
  }
  return process.getBuiltinModule('node:tty').isatty(fd)
}

/** Terminals obey escape sequences: every invisible character becomes its number, `\u{1b}`. */
export function visible(text: string): string {
  return text.replace(
    /[\p{C}\p{Zl}\p{Zp}]/gu,
    (sign) => `\\u{${(sign.codePointAt(0) ?? 0).toString(16)}}`,
  )
}
