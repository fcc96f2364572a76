// The session key of one gate, stored where devices keep their tokens, and what programs get of it. A
// key that is not exactly in our format counts as none. The gate renews the tokens behind it, so
// nothing here does.

import type { ConnectOptions, Environment, Problem, Result, Storage } from '../client/api.ts'
import { problem } from '../client/ask.ts'
import { parseBaseUrl } from '../client/base-url.ts'
import { isBearerToken } from '../client/grant.ts'
import { keptName } from '../client/kept.ts'
import { fileStorage } from '../client/storage.ts'
import { auth, failing, signInEnded, signInWith } from './auth.ts'
import { CODE_VARIABLE } from './commands/gate.ts'

export interface KeptLogin {
  /** Like all of these, rejects if the storage fails. */
  read(): Promise<string | undefined>
  write(key: string): Promise<void>
  forget(): Promise<void>
}

export function keptLogin(storage: Storage, base: string): KeptLogin {
  const name = keptName('login', base)
  return {
    async read() {
      const text = await storage.get(name)
      return text === undefined ? undefined : parse(text, base)
    },
    write: (key) => storage.set(name, JSON.stringify({ version: 1, base, key })),
    forget: () => storage.delete(name),
  }
}

/** `base` is stored with it: a key is never sent to a gate other than the one that issued it. */
function parse(text: string, base: string): string | undefined {
  try {
    const { version, base: of, key } = Object(JSON.parse(text)) as Record<string, unknown>
    return version === 1 && of === base && isBearerToken(key) ? key : undefined
  } catch {
    return undefined
  }
}

/** Undefined if nobody has signed in to that gate from here: then it is a gate for devices. */
export async function signedInKey({
  baseUrl,
  storage = fileStorage(),
}: ConnectOptions): Promise<Result<string> | undefined> {
  const base = parseBaseUrl(baseUrl)
  if (base === undefined) return undefined
  try {
    const key = await keptLogin(storage, base).read()
    return key === undefined ? undefined : { ok: true, value: key }
  } catch {
    return { ok: false, problem: problem('storage_failed') }
  }
}

/**
 * Asks the gate first: a command with the key of an ended sign-in could only fail. Also undefined
 * if the gate has become one for devices.
 */
export async function signedInEnvironment(
  connect: ConnectOptions,
): Promise<Result<Environment> | undefined> {
  const key = await signedInKey(connect)
  if (!key?.ok) return key
  const base = parseBaseUrl(connect.baseUrl) ?? ''
  const said = await auth(base).status(key.value)
  if (!said.ok) return said.problem.status === 404 ? undefined : said
  if (!said.value.authenticated) return { ok: false, problem: signInEnded(base) }
  return { ok: true, value: { ANTHROPIC_BASE_URL: base, ANTHROPIC_AUTH_TOKEN: key.value } }
}

/** The same key, with a newer token behind it at the gate: a key lives as long as its sign-in. */
export async function renewedKey(connect: ConnectOptions): Promise<Result<string> | undefined> {
  const key = await signedInKey(connect)
  if (!key?.ok) return key
  const base = parseBaseUrl(connect.baseUrl) ?? ''
  const said = await auth(base).refresh(key.value)
  if (!said.ok) return said.problem.status === 404 ? undefined : said
  return said.value.authenticated ? key : { ok: false, problem: signInEnded(base) }
}

/** The message for a gate that issued no token: a gate with sign-in has no /bootstrap. */
export function withoutToken(because: Problem, baseUrl: string): string {
  const base = parseBaseUrl(baseUrl) ?? ''
  if (because.code === 'enrollment_refused' && because.status === 403) {
    return `${because.message}\n    ask its operator for a code, and give it as ${CODE_VARIABLE}=…`
  }
  return because.status === 404
    ? `${base} enrols no devices; ${signInWith(base)}`
    : failing(because, base)
}
