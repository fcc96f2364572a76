// The operator's commands as `postern` runs them, in the test's own process: starting the binary for
// each costs ten times as much. Tests of the process itself run the binary (binary.ts).

import { interpret } from '../../src/operate/commands.ts'
import { type Printer, stderr, stdout } from '../../src/print.ts'
import { type CommandEnd, passing, runToEnd } from './binary.ts'

/** They read a database and print. The others keep files, read stdin or start programs. */
const OPERATORS = new Set(['enrol', 'devices', 'revoke', 'key', 'audit', 'usage', 'spend'])

let isBusy = false

/** A second command at the same time runs the binary: two processes may be what the test is about. */
export async function runCommand(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  cwd = '/',
): Promise<CommandEnd> {
  const asked = interpret(args)
  if (isBusy || asked.kind !== 'command' || !OPERATORS.has(args[0] ?? ''))
    return runToEnd(args, env, cwd)
  isBusy = true
  const [out, error] = [captured(stdout), captured(stderr)]
  try {
    const exitCode = await asked.run({ ...passing(), ...env })
    return { exitCode, stdout: out.text(), stderr: error.text() }
  } finally {
    out.stop()
    error.stop()
    isBusy = false
  }
}

/** What a pipe would receive. */
function captured(printer: Printer) {
  const before = Object.getOwnPropertyDescriptors(printer)
  let text = ''
  Object.defineProperties(printer, {
    write: { ...before.write, value: (more: string) => void (text += more) },
    isTTY: { ...before.isTTY, get: () => false },
  })
  return {
    text: () => text,
    stop: () => Object.defineProperties(printer, before),
  }
}
