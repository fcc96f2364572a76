// Quotes one word of a command line that somebody pastes, or that another program passes to a shell.

/** For a POSIX shell. */
export function shellWord(word: string): string {
  return /^[\w.:/=@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`
}
