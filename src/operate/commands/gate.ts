// Which gate a developer's command talks to, by its flag or variable, and as whom. Sends no request.

import type { Command } from 'commander'
import type { ConnectOptions } from '../../client/api.ts'
import type { ProcessEnvironment } from '../../config/given.ts'
import { EXIT } from '../exit.ts'
import { failed } from './subcommand.ts'

/** Where `just dev` listens. */
export const DEFAULT_GATE = 'http://127.0.0.1:5381'

/**
 * The enrolment code comes from the environment, where other users of the machine cannot list it.
 */
export const CODE_VARIABLE = 'POSTERN_CODE'

/** The device's name in the operator's list. */
const NAME_VARIABLE = 'POSTERN_DEVICE_NAME'

export interface GateFlags {
  readonly gate?: string
}

export function gateOption(command: Command): void {
  command.option(
    '--gate <url>',
    `The gate. (env: POSTERN_GATE, default: ${DEFAULT_GATE}; a code to enrol with: ${CODE_VARIABLE}, and a name to enrol as: ${NAME_VARIABLE})`,
  )
}

/** A sign-in never crosses a network. */
export function localGateOption(command: Command): void {
  command
    .option(
      '--gate <url>',
      `The gate, on this machine. (env: POSTERN_GATE, default: ${DEFAULT_GATE})`,
    )
    .allowExcessArguments(false)
}

export function gateOf(flags: GateFlags, env: ProcessEnvironment): string {
  return flags.gate ?? (env['POSTERN_GATE'] || DEFAULT_GATE)
}

export function connection(flags: GateFlags, env: ProcessEnvironment): ConnectOptions {
  return {
    baseUrl: gateOf(flags, env),
    enrollment: env[CODE_VARIABLE] || undefined,
    deviceName: env[NAME_VARIABLE] || undefined,
  }
}

/** A wrong address is the caller's mistake, and the only thing that throws. */
export async function orMistake(work: () => Promise<number>): Promise<number> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof TypeError)
      return failed(
        'the gate must be https, or http on loopback (--gate, POSTERN_GATE)',
        EXIT.usage,
      )
    throw error
  }
}
