// `postern token`: prints the current token, alone on stdout, for Claude Code's apiKeyHelper and the
// like; or the session key, if somebody has signed in. It asks the gate whether the token is still
// accepted; if that fails, it prints the token as it is.

import type { ConnectOptions, Result } from '../client/api.ts'
import { session } from '../client/session.ts'
import type { CommandIo } from './exec.ts'
import { exitCodeOf } from './exit.ts'
import { withoutToken, renewedKey, signedInKey } from './kept-login.ts'

export interface TokenOptions {
  readonly connect: ConnectOptions
  /** Get a newer token: for when the gate answers 401 to the current one. */
  readonly refresh?: boolean
}

/** Resolves with the exit code. */
export async function token(
  { connect, refresh = false }: TokenOptions,
  io: CommandIo,
): Promise<number> {
  const present =
    (await (refresh ? renewedKey(connect) : signedInKey(connect))) ??
    (await deviceToken(connect, refresh))
  if (!present.ok) {
    io.stderr.write(`postern token: ${withoutToken(present.problem, connect.baseUrl)}\n`)
    return exitCodeOf(present.problem)
  }
  io.stdout.write(`${present.value}\n`)
  return 0
}

async function deviceToken(connect: ConnectOptions, refresh: boolean): Promise<Result<string>> {
  const client = session({ ...connect, background: false })
  const present = await (refresh ? client.refreshNow() : client.token())
  client.stop()
  return present
}
