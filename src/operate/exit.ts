// The exit codes that scripts can rely on, and which of them a failure of the client's is.

import type { Problem } from '../client/api.ts'

/** sysexits.h, and what a POSIX shell says of a command that cannot be run. */
export const EXIT = {
  failed: 1,
  usage: 64,
  unavailable: 69,
  noPermission: 77,
  config: 78,
  notExecutable: 126,
  notFound: 127,
}

export function exitCodeOf({ code }: Problem): number {
  return code === 'enrollment_refused' ? EXIT.noPermission : EXIT.unavailable
}
