// One sign-in from a terminal, from its link to its session key: by hand if the authorization server
// shows `code#state` to paste, or automatically if the redirect returns to the gate. The key goes to
// the caller, and is written nowhere.

import type { Readable } from 'node:stream'
import type { Problem, Result } from '../client/api.ts'
import { problem } from '../client/ask.ts'
import { pause } from '../client/tempo.ts'
import {
  type Auth,
  notAccepted,
  signInWith,
  type SignInStarted,
  type SignInStatus,
} from './auth.ts'
import type { CommandIo } from './exec.ts'
import { mayOpenBrowser, openBrowser } from './open-browser.ts'
import { readLine } from './read-line.ts'

const POLL_EVERY_MS = 1000
/**
 * The gate started its clock before ours, and reports of an expired attempt only that it is over.
 */
const CLOCKS_APART_MS = 2000
const MAX_POLL_PAUSE_MS = 30_000
/** A restarted gate has forgotten the attempt: waiting longer is useless. */
const MAX_POLL_FAILURES = 5
const MAX_PASTE_BYTES = 8192
const MAX_PASTES = 3

export const UNLIKE = 'not the code#state of this sign-in'

interface SignInTerminal {
  readonly isTTY?: boolean
}

export interface LoginIo {
  readonly stdin: Readable & SignInTerminal
  readonly stdout: CommandIo['stdout'] & SignInTerminal
  readonly stderr: CommandIo['stderr'] & SignInTerminal
}

export interface Person {
  readonly env: Readonly<Record<string, string | undefined>>
  /** Whether to open a browser; undefined decides by the surroundings. */
  readonly browser: boolean | undefined
  readonly stdin: LoginIo['stdin']
  /** Where messages go. */
  readonly talk: LoginIo['stdout']
  readonly pollEveryMs: number | undefined
}

export type SignInEnded = Result<string> | 'nothing_pasted' | 'unlike'

export async function signIn(gate: Auth, person: Person): Promise<SignInEnded> {
  const { env, talk } = person
  const started = await gate.start()
  if (!started.ok) {
    // A 400 here is about the gate's own address: there is no sign-in yet that it could refuse.
    const { status } = started.problem
    return status === 400 ? { ok: false, problem: problem('unhealthy', { status }) } : started
  }
  const attempt = started.value
  const looks = { env, onTerminal: talk.isTTY === true, wanted: person.browser }
  const opened = mayOpenBrowser(looks) && openBrowser(attempt.link)
  talk.write(`Sign in at this link${opened ? ', which your browser opens' : ''}:\n\n`)
  talk.write(`${attempt.link.href}\n\n`)
  if (attempt.paste) return pasted(gate, attempt, person)
  const { protocol, port } = attempt.link
  if (!opened && (env['SSH_CONNECTION'] ?? '') !== '' && protocol === 'http:') {
    const forwarded = `ssh -L ${port || '80'}:127.0.0.1:${port || '80'}`
    talk.write(`It leads to this machine; from another one, connect with: ${forwarded} …\n`)
  }
  talk.write('Waiting for it; Ctrl-C stops.\n')
  return returned(gate, attempt, person.pollEveryMs ?? POLL_EVERY_MS)
}

async function pasted(
  gate: Auth,
  attempt: SignInStarted,
  { stdin, talk }: Person,
): Promise<SignInEnded> {
  const atTerminal = stdin.isTTY === true
  const late = Promise.withResolvers<'late'>()
  const timer = setTimeout(() => late.resolve('late'), attempt.expiresInMs)
  try {
    for (let pastes = 1; ; pastes += 1) {
      if (atTerminal) talk.write('Paste the code#state that it shows: ')
      const line = await Promise.race([readLine(stdin, MAX_PASTE_BYTES), late.promise])
      if (line === 'late') {
        if (atTerminal) talk.write('\n')
        return { ok: false, problem: tooLate(attempt, gate.base) }
      }
      if (line.kind === 'ended' || (line.kind === 'line' && line.text === '' && !atTerminal)) {
        return 'nothing_pasted'
      }
      if (line.kind === 'line' && isOf(attempt, line.text)) {
        return keyOf(await gate.submit(attempt, line.text), gate.base)
      }
      if (!atTerminal || line.kind === 'too_long' || pastes === MAX_PASTES) return 'unlike'
      talk.write(`That is ${UNLIKE}, or not all of it.\n`)
    }
  } finally {
    clearTimeout(timer)
  }
}

/**
 * Checked here, where it costs nothing: one submission uses up an attempt at the gate. The address
 * at which a browser ended contains the same two values.
 */
function isOf({ state }: SignInStarted, text: string): boolean {
  if (/^https?:/i.test(text)) return URL.parse(text)?.searchParams.get('state') === state
  // RFC 6749 appendix A.11: visible characters; `#` is our separator.
  const code = text.slice(0, -state.length - 1)
  return text === `${code}#${state}` && /^[\x21\x22\x24-\x7e]+$/.test(code)
}

async function returned(
  gate: Auth,
  attempt: SignInStarted,
  pollEveryMs: number,
): Promise<Result<string>> {
  const deadlineMs = performance.now() + attempt.expiresInMs
  let failures = 0
  let pauseMs = pollEveryMs
  for (;;) {
    await pause(pauseMs)
    const said = await gate.collect(attempt)
    if (said.ok && said.value.authenticated) return keyOf(said, gate.base)
    const leftMs = deadlineMs - performance.now()
    const over = said.ok ? isOver(said.value) : said.problem.status === 400
    if (leftMs <= (over ? CLOCKS_APART_MS : 0))
      return { ok: false, problem: tooLate(attempt, gate.base) }
    if (over) return { ok: false, problem: notAccepted(gate.base) }
    pauseMs = pollEveryMs
    if (said.ok) failures = 0
    else {
      failures += 1
      if (!isPassing(said.problem) || failures > MAX_POLL_FAILURES) return said
      const waitMs = (said.problem.retryAfterSeconds ?? 0) * 1000
      pauseMs = Math.min(Math.max(waitMs, pollEveryMs), MAX_POLL_PAUSE_MS)
    }
  }
}

function isOver(status: SignInStatus): boolean {
  return !status.authenticated && !status.pending
}

function isPassing({ code }: Problem): boolean {
  return code === 'unreachable' || code === 'timeout' || code === 'rate_limited'
}

function keyOf(said: Result<SignInStatus>, base: string): Result<string> {
  if (!said.ok) return said
  const { value } = said
  if (!value.authenticated) return { ok: false, problem: notAccepted(base) }
  // The gate sends the key once: somebody else with this attempt was faster.
  if (value.key === undefined) return { ok: false, problem: problem('invalid_answer') }
  return { ok: true, value: value.key }
}

function tooLate({ expiresInMs }: SignInStarted, base: string): Problem {
  const minutes = Math.max(1, Math.round(expiresInMs / 60_000))
  const within = minutes === 1 ? 'a minute' : `${minutes} minutes`
  const message = `nobody signed in within ${within}; ${signInWith(base)}`
  return { ...problem('enrollment_refused'), message }
}
