// Signing in as a whole, against a real authorization server: attack 39 by its names, what a browser,
// a terminal and a program each get, and that no secret of it is in a refusal or a log.

import type { Database } from 'bun:sqlite'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { Secret } from '../../src/secret.ts'
import type { Instant } from '../../src/turn/instant.ts'
import { type SignInBegun, login, type Login } from '../../src/login/login.ts'
import type { SignedIn } from '../../src/login/session-status.ts'
import { sessions } from '../../src/login/sessions.ts'
import type { Decision } from '../../src/refusal.ts'
import { store } from '../../src/database/store.ts'
import { TABLES } from '../../src/gate/migrations.ts'
import {
  type AuthorizationServer,
  startAuthorizationServer,
} from '../support/authorization-server.ts'
import { ask, type Collected, collector } from '../support/keys.ts'
import { connectionTo } from '../support/connection.ts'
import { seeded } from '../support/random.ts'

const secrets = [new Secret('secret-of-the-tests-0123456789abcdefghij')]
const at = (seconds: number): Instant => ({
  epochSeconds: 1_800_000_000 + seconds,
  monotonicMs: 5000 + seconds * 1000,
})

let server: AuthorizationServer
beforeAll(async () => {
  server = await startAuthorizationServer()
})
afterAll(() => server.stop())

let folder: string
let open: Database[]
let log: Collected
let gate: Login
/** Everything that must be in no refusal and no log. */
let secret: Set<string>
let refusals: string
let asked: number
beforeEach(() => {
  folder = mkdtempSync(`${tmpdir()}/postern-login-`)
  open = []
  log = collector()
  secret = new Set([server.issuer, secrets[0]?.reveal() ?? ''])
  refusals = ''
  gate = started()
  asked = server.asked
})
afterEach(async () => {
  server.setFailing(undefined)
  server.setRewrite(undefined)
  server.setDelay(0)
  await gate.idle()
  for (const each of open) each.close()
  rmSync(folder, { recursive: true })
  expect(secret.size).toBeGreaterThan(1)
  for (const each of secret) {
    expect(each.length).toBeGreaterThan(20)
    expect(refusals).not.toContain(each)
    expect(log.text()).not.toContain(each)
  }
})

function started(more: { readonly returnsHere?: boolean } = {}): Login {
  const opened = store(`${folder}/postern.db`, TABLES).open({ busyTimeoutMs: 0 })
  if (!opened.ok) throw new Error(opened.reason)
  open.push(opened.database)
  const kept = sessions({ connection: connectionTo(opened.database), secrets })
  return login({
    ...server,
    ask,
    returnsHere: true,
    secrets,
    sessions: kept,
    log: log.log,
    ...more,
  })
}

function must<T>(decision: Decision<T>): T {
  if (!decision.ok) throw new Error(why(decision))
  return decision.value
}
function why(decision: Decision<unknown>): string {
  if (decision.ok) return 'ok'
  refusals += JSON.stringify(decision)
  return `${decision.code}: ${decision.reason}`
}
function begun(now = at(0)): SignInBegun {
  const begun = must(gate.begin(now))
  for (const each of [begun.state, begun.attempt, begun.authUrl.href]) secret.add(each)
  if (begun.ticket !== undefined) secret.add(begun.ticket)
  return begun
}
/** What the server gave to the redirect. */
async function answerTo({ authUrl }: Pick<SignInBegun, 'authUrl'>): Promise<URLSearchParams> {
  const { searchParams } = await server.signIn(authUrl)
  secret.add(searchParams.get('code') ?? '')
  return searchParams
}
async function signIn(now = at(0)): Promise<SignedIn> {
  const attempt = begun(now)
  const signedIn = must(await gate.finish(attempt.attempt, await answerTo(attempt), now))
  secret.add(signedIn.key)
  return signedIn
}
async function token(now: Instant): Promise<string> {
  const token = must(await gate.accessToken(now))
  secret.add(token)
  return token
}
const session = (key: string) => must(gate.find(key))
const requests = (): number => server.asked - asked

test('somebody signs in, and programs with the key get tokens until they sign out', async () => {
  const { key, status } = await signIn()
  expect(key).toStartWith('pst_')
  expect(status).toEqual({
    expiresAtMs: (1_800_000_000 + 3600) * 1000,
    scope: server.scope,
    renewable: true,
  })
  expect(session(key)).toMatchObject({ id: expect.stringMatching(/^[0-9a-f]{32}$/), status })
  expect(await server.accountOf(await token(at(1)))).toBe('alice')
  expect(await server.accountOf(await token(at(4000)))).toBe('alice')
  expect(must(await gate.renew(session(key), at(4000)))).toMatchObject({ renewable: true })
  await gate.end(session(key))
  expect(why(gate.find(key))).toStartWith('session_invalid: ')
  expect(why(await gate.accessToken(at(1)))).toStartWith('session_ended: ')
})

describe('attack 39: an answer that is not to the sign-in of who brings it begins no session', () => {
  const refusedFor = async (
    attempt: string | undefined,
    answer: URLSearchParams,
    reason: string,
  ): Promise<void> => {
    expect(why(await gate.finish(attempt, answer, at(1)))).toBe(`login_failed: ${reason}`)
    expect(requests()).toBe(0)
    expect(why(await gate.accessToken(at(1)))).toBe('session_ended: nobody is signed in')
  }
  /** After that the right answer is of no use, either. */
  const spent = async ({ attempt }: SignInBegun, answer: URLSearchParams): Promise<void> => {
    await refusedFor(attempt, answer, 'attempt')
  }
  const changed = (answer: URLSearchParams, more: Record<string, string>): URLSearchParams => {
    const other = new URLSearchParams(answer)
    for (const [name, value] of Object.entries(more)) {
      if (value === '') other.delete(name)
      else other.set(name, value)
    }
    return other
  }

  test('state missing', async () => {
    const mine = begun()
    const answer = await answerTo(mine)
    await refusedFor(mine.attempt, changed(answer, { state: '' }), 'state')
    await spent(mine, answer)
  })
  test('state mismatch', async () => {
    const mine = begun()
    const answer = await answerTo(mine)
    await refusedFor(mine.attempt, changed(answer, { state: 'x'.repeat(86) }), 'state')
    await spent(mine, answer)
  })
  test('state reused', async () => {
    const mine = begun()
    const answer = await answerTo(mine)
    const { key } = must(await gate.finish(mine.attempt, answer, at(1)))
    secret.add(key)
    expect(why(await gate.finish(mine.attempt, answer, at(1)))).toBe('login_failed: attempt')
    const next = begun()
    expect(why(await gate.finish(next.attempt, answer, at(1)))).toBe('login_failed: state')
    // The server saw the code once, or it would have ended what the code got.
    expect(requests()).toBe(1)
    expect(session(key).status.renewable).toBe(true)
  })
  test("state of another browser's sign-in", async () => {
    const mine = begun()
    const stranger = begun()
    await refusedFor(mine.attempt, await answerTo(stranger), 'state')
    await spent(mine, await answerTo(mine))
  })
  test('an answer without the cookie of the attempt, or with an invalid one', async () => {
    const mine = begun()
    const answer = await answerTo(mine)
    const [id = '', signature = ''] = mine.attempt.split('.')
    for (const attempt of [undefined, '', id, `${id}.`, `${id}.${signature}x`, mine.state]) {
      await refusedFor(attempt, answer, 'attempt')
    }
    // None of them was the attempt, and so it is there still.
    const { key } = must(await gate.finish(mine.attempt, answer, at(1)))
    secret.add(key)
  })
  test('an answer that comes after ten minutes', async () => {
    const mine = begun()
    const answer = await answerTo(mine)
    expect(why(await gate.finish(mine.attempt, answer, at(600)))).toBe('login_failed: attempt')
    expect(requests()).toBe(0)
  })
  test('code#state tampered with, in each place of the state', async () => {
    const answer = await answerTo(begun())
    const { length } = answer.get('state') ?? ''
    expect(length).toBe(86)
    for (let place = 0; place < length; place += 1) {
      const mine = begun()
      const other = mine.state[place] === 'A' ? 'B' : 'A'
      const state = mine.state.slice(0, place) + other + mine.state.slice(place + 1)
      const pasted = new URLSearchParams({ code: answer.get('code') ?? '', state })
      await refusedFor(mine.attempt, pasted, 'state')
    }
  })
  test(
    'code#state tampered with in the code gets nothing from the server',
    seeded(async ({ int }) => {
      for (let n = 0; n < 8; n += 1) {
        const mine = begun()
        const code = (await answerTo(mine)).get('code') ?? ''
        const place = int(code.length)
        const other = code[place] === 'A' ? 'B' : 'A'
        const wrong = code.slice(0, place) + other + code.slice(place + 1)
        const pasted = new URLSearchParams({ code: wrong, state: mine.state })
        const answer = await gate.finish(mine.attempt, pasted, at(1))
        expect(why(answer)).toBe('login_failed: invalid_grant')
        expect(why(await gate.accessToken(at(1)))).toBe('session_ended: nobody is signed in')
      }
    }),
  )
  test('iss mismatch: a mix-up of two servers', async () => {
    const mine = begun()
    const answer = await answerTo(mine)
    await refusedFor(mine.attempt, changed(answer, { iss: 'https://evil.test' }), 'iss')
    await spent(mine, answer)
  })
  test('PKCE is never plain, and another sign-in has another challenge', async () => {
    const challenges = new Set<string>()
    for (let n = 0; n < 50; n += 1) {
      const { searchParams } = begun().authUrl
      expect(searchParams.getAll('code_challenge_method')).toEqual(['S256'])
      challenges.add(searchParams.get('code_challenge') ?? '')
    }
    expect(challenges.size).toBe(50)
  })
  test('a code that was got for another verifier', async () => {
    // The person is led to a page of the stranger's own sign-in, with the person's state in it.
    const [mine, stranger] = [begun(), begun()]
    stranger.authUrl.searchParams.set('state', mine.state)
    const answer = await answerTo(stranger)
    expect(answer.get('state')).toBe(mine.state)
    expect(why(await gate.finish(mine.attempt, answer, at(1)))).toBe('login_failed: invalid_grant')
    expect(why(await gate.accessToken(at(1)))).toBe('session_ended: nobody is signed in')
  })
  test('consent denied', async () => {
    const mine = begun()
    const { searchParams } = await server.signIn(mine.authUrl, { deny: true })
    await refusedFor(mine.attempt, searchParams, 'denied')
  })
})

test('of 200 who finish one sign-in at once, one does, and the code is shown once', async () => {
  const mine = begun()
  const answer = await answerTo(mine)
  const outcomes = await Promise.all(
    Array.from({ length: 200 }, () => gate.finish(mine.attempt, answer, at(1))),
  )
  const done = outcomes.flatMap((each) => (each.ok ? [each.value.key] : []))
  for (const key of done) secret.add(key)
  expect([done.length, requests()]).toEqual([1, 1])
  expect(new Set(outcomes.map(why))).toEqual(new Set(['ok', 'login_failed: attempt']))
  expect(await server.accountOf(await token(at(1)))).toBe('alice')
})

describe('a new sign-in', () => {
  test('replaces the old one, whose key is then unknown', async () => {
    const first = await signIn()
    const firstToken = await token(at(0))
    const second = await signIn()
    expect(second.key).not.toBe(first.key)
    expect(why(gate.find(first.key))).toStartWith('session_invalid: ')
    expect(session(second.key).status.renewable).toBe(true)
    expect(await token(at(0))).not.toBe(firstToken)
  })
  test('that fails leaves the old one', async () => {
    const { key } = await signIn()
    const mine = begun()
    server.setFailing(500)
    const answer = await answerTo(mine)
    expect(why(await gate.finish(mine.attempt, answer, at(1)))).toBe(
      'login_unavailable: status 500',
    )
    server.setFailing(undefined)
    expect(why(await gate.finish(mine.attempt, answer, at(1)))).toBe('login_failed: attempt')
    expect(session(key).status.renewable).toBe(true)
  })
  test('that cannot be written fails, and the old one goes on', async () => {
    const { key } = await signIn()
    const mine = begun()
    const answer = await answerTo(mine)
    open[0]?.run('PRAGMA query_only = ON')
    expect(why(await gate.finish(mine.attempt, answer, at(1)))).toStartWith('login_unavailable: ')
    expect(session(key).status.renewable).toBe(true)
    expect(why(await gate.end(session(key)))).toStartWith('login_unavailable: ')
    expect(session(key).status.renewable).toBe(true)
    open[0]?.run('PRAGMA query_only = OFF')
  })
  test('with garbage from the server fails', async () => {
    for (const [rewrite, reason] of [
      [{ access_token: '' }, 'malformed'],
      [{ token_type: 'DPoP' }, 'token type'],
      [{ access_token: 'a t' }, 'token'],
    ] as const) {
      server.setRewrite((answer) => ({ ...answer, ...rewrite }))
      const mine = begun()
      const outcome = await gate.finish(mine.attempt, await answerTo(mine), at(1))
      expect(why(outcome)).toBe(`login_failed: ${reason}`)
      expect(why(await gate.accessToken(at(1)))).toBe('session_ended: nobody is signed in')
    }
  })
})

test('a restart forgets no session, and no key', async () => {
  const { key, status } = await signIn()
  const before = await token(at(0))
  gate = started()
  expect(session(key).status).toEqual(status)
  expect(await token(at(0))).toBe(before)
  expect(await server.accountOf(await token(at(4000)))).toBe('alice')
})

test('invalid_grant ends the session for its key as well', async () => {
  const { key } = await signIn()
  const mine = session(key)
  await server.revokeAll()
  expect(why(await gate.renew(mine, at(1)))).toBe('session_ended: invalid_grant')
  const found = gate.find(key)
  expect(why(found)).toStartWith('session_invalid: ')
  expect(!found.ok && gate.wasEnded(found)).toBe(true)
})

describe('from a terminal', () => {
  test('a ticket carries the sign-in to a browser, and the terminal gets the same key', async () => {
    const terminal = begun()
    const browser = must(gate.open(terminal.ticket ?? '', at(1)))
    expect(browser.authUrl.href).toBe(terminal.authUrl.href)
    expect(must(gate.collect(terminal.attempt, at(2)))).toBeUndefined()
    const inBrowser = must(await gate.finish(browser.attempt, await answerTo(browser), at(3)))
    const collected = must(gate.collect(terminal.attempt, at(4)))
    expect(collected).toEqual(inBrowser)
    secret.add(inBrowser.key)
    expect(why(gate.collect(terminal.attempt, at(4)))).toBe('login_failed: attempt')
    expect(session(inBrowser.key).status).toEqual(inBrowser.status)
  })
  test('the terminal hears that the sign-in was refused', async () => {
    const terminal = begun()
    const browser = must(gate.open(terminal.ticket ?? '', at(1)))
    const { searchParams } = await server.signIn(browser.authUrl, { deny: true })
    expect(why(await gate.finish(browser.attempt, searchParams, at(3)))).toBe(
      'login_failed: denied',
    )
    expect(why(gate.collect(terminal.attempt, at(4)))).toBe('login_failed: denied')
  })
  test('while the server takes its time, the terminal waits', async () => {
    const terminal = begun()
    const browser = must(gate.open(terminal.ticket ?? '', at(1)))
    const answer = await answerTo(browser)
    server.setDelay(60)
    const finishing = gate.finish(browser.attempt, answer, at(3))
    expect(must(gate.collect(terminal.attempt, at(4)))).toBeUndefined()
    secret.add(must(await finishing).key)
    expect(must(gate.collect(terminal.attempt, at(4)))).toBeDefined()
  })
  test('if the answer is pasted, there is no ticket, and the paste finishes the sign-in', async () => {
    gate = started({ returnsHere: false })
    const terminal = begun()
    expect([gate.returnsHere, terminal.ticket]).toEqual([false, undefined])
    const answer = await answerTo(terminal)
    const pasted = new URLSearchParams({ code: answer.get('code') ?? '', state: terminal.state })
    const { key } = must(await gate.finish(terminal.attempt, pasted, at(5)))
    secret.add(key)
    expect(session(key).status.renewable).toBe(true)
  })
})

test('idle waits for a running refresh', async () => {
  const { key } = await signIn()
  server.setDelay(80)
  const startedAt = performance.now()
  const renewing = gate.renew(session(key), at(1))
  await gate.idle()
  expect(performance.now() - startedAt).toBeGreaterThan(70)
  expect(must(await renewing).renewable).toBe(true)
  await gate.idle()
})
