// `postern login`: a person signs in at the authorization server, in a browser, and this machine's
// programs may then use the gate. The result is a session key, stored for this user alone. It is shown
// only with --print, and never appears in an argument list or an error.

import type { Storage } from '../client/api.ts'
import { fileStorage } from '../client/storage.ts'
import { auth, failing, NOT_LOCAL, parseLocalGate } from './auth.ts'
import { EXIT, exitCodeOf } from './exit.ts'
import { keptLogin } from './kept-login.ts'
import { describeSignIn } from './login-status.ts'
import { shellWord } from './shell-word.ts'
import { type LoginIo, signIn, UNLIKE } from './sign-in.ts'

export interface LoginCommandOptions {
  readonly baseUrl: string
  /** Arguments that make our commands mean this gate, such as `--gate URL`. */
  readonly gateWords: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
  readonly browser?: boolean | undefined
  /** Print only `export …` lines on stdout, including the key; everything else goes to stderr. */
  readonly print?: boolean | undefined
  readonly storage?: Storage | undefined
  /** Default one second: how soon the end of a sign-in is seen here. */
  readonly pollEveryMs?: number | undefined
}

/** 128 + SIGINT, as in a shell. */
const EXIT_INTERRUPTED = 130

/** Resolves with the exit code. */
export async function login(options: LoginCommandOptions, io: LoginIo): Promise<number> {
  const no = (message: string, exitCode: number): number => {
    io.stderr.write(`postern login: ${message}\n`)
    return exitCode
  }
  const base = parseLocalGate(options.baseUrl)
  if (base === undefined) return no(NOT_LOCAL, EXIT.usage)
  const { env, browser, print = false, storage = fileStorage(), pollEveryMs } = options
  const talk = print ? io.stderr : io.stdout
  const gate = auth(base)
  const person = { env, browser, stdin: io.stdin, talk, pollEveryMs }
  const ended = await unlessInterrupted(signIn(gate, person))
  if (ended === 'interrupted') {
    // Starts a new line after the terminal's own ^C.
    if (talk.isTTY === true) talk.write('\n')
    return no('stopped; nothing was kept', EXIT_INTERRUPTED)
  }
  if (ended === 'nothing_pasted') return no('nothing was pasted', EXIT.usage)
  if (ended === 'unlike') return no(`that is ${UNLIKE}`, EXIT.usage)
  if (!ended.ok) return no(failing(ended.problem, base), exitCodeOf(ended.problem))
  const key = ended.value
  try {
    await keptLogin(storage, base).write(key)
  } catch {
    // Nobody would have the key any more, so nobody must be able to use it.
    await gate.logout(key)
    return no('the session key cannot be kept: the storage failed', EXIT.unavailable)
  }
  const status = await gate.status(key)
  const signedIn =
    status.ok && status.value.authenticated ? describeSignIn(status.value) : undefined
  talk.write(`${signedIn ?? 'signed in'}\n`)
  io.stdout.write(print ? exports(base, key) : nextSteps(base, options.gateWords))
  if ((env['ANTHROPIC_API_KEY'] ?? '') !== '') {
    io.stderr.write('! ANTHROPIC_API_KEY is set here too, and a gate refuses two credentials\n')
  }
  return 0
}

/** For `eval "$(postern login --print)"`. */
function exports(base: string, key: string): string {
  return `export ANTHROPIC_BASE_URL=${shellWord(base)}
export ANTHROPIC_AUTH_TOKEN=${shellWord(key)}
`
}

function nextSteps(base: string, gateWords: readonly string[]): string {
  const postern = (command: string): string =>
    ['postern', command, ...gateWords.map(shellWord)].join(' ')
  return `
  ${postern('exec')} -- claude

or, in a shell whose programs are to use it:

  export ANTHROPIC_BASE_URL=${shellWord(base)}
  export ANTHROPIC_AUTH_TOKEN="$(${postern('token')})"
`
}

/** Reports Ctrl-C in a sentence instead of dying. */
async function unlessInterrupted<T>(work: Promise<T>): Promise<T | 'interrupted'> {
  const { promise, resolve } = Promise.withResolvers<'interrupted'>()
  const take = (): void => resolve('interrupted')
  process.on('SIGINT', take)
  try {
    return await Promise.race([work, promise])
  } finally {
    process.off('SIGINT', take)
  }
}
