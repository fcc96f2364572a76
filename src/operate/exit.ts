// The exit codes that scripts can rely on, and the exit code of a client's problem.

import type { Problem } from '../client/api.ts'

/** From sysexits.h, and from POSIX shells for a command that cannot be run. */
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
