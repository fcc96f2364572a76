// `postern status` and `postern logout`: the status of this machine's sign-in at its gate, and its
// end. The key goes only to the gate that issued it.

import type { Storage } from '../client/api.ts'
import { fileStorage } from '../client/storage.ts'
import {
  auth,
  failing,
  NOT_LOCAL,
  parseLocalGate,
  type SignedInAnswer,
  signInWith,
} from './auth.ts'
import type { CommandIo } from './exec.ts'
import { EXIT, exitCodeOf } from './exit.ts'
import { type KeptLogin, keptLogin } from './kept-login.ts'

export interface StatusOptions {
  readonly baseUrl: string
  readonly json?: boolean | undefined
  readonly storage?: Storage | undefined
}

const EXIT_NOT_SIGNED_IN = 1

/** Resolves with the exit code: 0 signed in, 1 not signed in, another if that is unknown. */
export async function status(options: StatusOptions, io: CommandIo): Promise<number> {
  const no = (message: string, exitCode: number): number => {
    io.stderr.write(`postern status: ${message}\n`)
    return exitCode
  }
  const base = parseLocalGate(options.baseUrl)
  if (base === undefined) return no(NOT_LOCAL, EXIT.usage)
  const key = await read(keptLogin(options.storage ?? fileStorage(), base))
  if (key === 'storage_failed') return no(STORAGE_FAILED, EXIT.unavailable)
  const said = await auth(base).status(key)
  if (!said.ok) return no(failing(said.problem, base), exitCodeOf(said.problem))
  // A gate that reports a sign-in without a key does not mean these programs.
  const signedIn = key !== undefined && said.value.authenticated ? said.value : undefined
  if (options.json === true) io.stdout.write(`${JSON.stringify(asJson(signedIn, base))}\n`)
  else if (signedIn) io.stdout.write(`${describeSignIn(signedIn)}\n${describeScope(signedIn)}`)
  else {
    const before = key === undefined ? 'not signed in' : 'the sign-in has ended'
    io.stdout.write(`${before}; ${signInWith(base)}\n`)
  }
  return signedIn ? 0 : EXIT_NOT_SIGNED_IN
}

/** One sentence, without its full stop. */
export function describeSignIn({ expiresAtMs, renewable }: SignedInAnswer): string {
  const parts = [`signed in${expiresAtMs === undefined ? '' : ` until ${utcMinute(expiresAtMs)}`}`]
  if (renewable !== undefined) parts.push(renewable ? 'the gate renews it' : 'it cannot be renewed')
  return parts.join(', and ')
}

function describeScope({ scope }: SignedInAnswer): string {
  return scope === undefined || scope === '' ? '' : `scope: ${scope}\n`
}

function utcMinute(epochMs: number): string {
  return `${new Date(epochMs).toISOString().slice(0, 16).replace('T', ' ')} UTC`
}

function asJson(signedIn: SignedInAnswer | undefined, gate: string): object {
  if (!signedIn) return { authenticated: false, gate }
  const { expiresAtMs, scope = null, renewable = null } = signedIn
  const expiresAt = expiresAtMs === undefined ? null : new Date(expiresAtMs).toISOString()
  return { authenticated: true, gate, expires_at: expiresAt, scope, renewable }
}

export interface LogoutOptions {
  readonly baseUrl: string
  readonly storage?: Storage | undefined
}

/**
 * Resolves with the exit code. If the gate is not reached, the key stays: without it nobody could
 * end the session that still exists.
 */
export async function logout(options: LogoutOptions, io: CommandIo): Promise<number> {
  const no = (message: string, exitCode: number): number => {
    io.stderr.write(`postern logout: ${message}\n`)
    return exitCode
  }
  const base = parseLocalGate(options.baseUrl)
  if (base === undefined) return no(NOT_LOCAL, EXIT.usage)
  const kept = keptLogin(options.storage ?? fileStorage(), base)
  const key = await read(kept)
  if (key === 'storage_failed') return no(STORAGE_FAILED, EXIT.unavailable)
  const said = key === undefined ? undefined : await auth(base).logout(key)
  const gone = said?.ok === false && [401, 404].includes(said.problem.status ?? 0)
  if (said?.ok === false && !gone) {
    const { problem: because } = said
    return no(`${failing(because, base)}; still signed in, try again`, exitCodeOf(because))
  }
  try {
    // An invalid value is removed too.
    await kept.forget()
  } catch {
    return no(STORAGE_FAILED, EXIT.unavailable)
  }
  if (key === undefined) io.stdout.write('not signed in\n')
  else io.stdout.write(gone ? 'signed out; the gate knew of no sign-in any more\n' : 'signed out\n')
  return 0
}

const STORAGE_FAILED = 'the session key is out of reach: the storage failed'

async function read(kept: KeptLogin): Promise<string | undefined | 'storage_failed'> {
  try {
    return await kept.read()
  } catch {
    return 'storage_failed'
  }
}
