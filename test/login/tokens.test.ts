// The access token kept, and refreshed for all at once (attack 42): against a real authorization
// server that rotates refresh tokens and ends the sign-in when an old one comes back, and over a real
// SQLite file.

import type { Database } from 'bun:sqlite'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { PATIENCE_MS } from '../support/patience.ts'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { Secret } from '../../src/secret.ts'
import type { Instant } from '../../src/turn/instant.ts'
import { authorization, type Authorization } from '../../src/login/authorization.ts'
import type { IssuedTokens } from '../../src/login/token-answer.ts'
import { type Sessions, sessions } from '../../src/login/sessions.ts'
import { MAX_COOLDOWN_MS } from '../../src/login/cooldown.ts'
import { type HeldTokens, heldTokens, REJECTION_COOLDOWN_MS } from '../../src/login/tokens.ts'
import type { Decision } from '../../src/refusal.ts'
import { store } from '../../src/database/store.ts'
import { TABLES } from '../../src/gate/migrations.ts'
import {
  type AuthorizationServer,
  startAuthorizationServer,
} from '../support/authorization-server.ts'
import { ask, type Collected, collector } from '../support/keys.ts'
import { until } from '../support/binary.ts'
import { connectionTo } from '../support/connection.ts'

const secrets = [new Secret('secret-of-the-tests-0123456789abcdefghij')]
const proof = { state: 's'.repeat(86), verifier: 'v'.repeat(86) }
const at = (seconds: number): Instant => ({
  epochSeconds: 1_800_000_000 + seconds,
  monotonicMs: 5000 + seconds * 1000,
})
/** The server's tokens say an hour. */
const HOUR = 3600
const DUE = HOUR - 299
const EXPIRED = HOUR + 1

let server: AuthorizationServer
let client: Authorization
beforeAll(async () => {
  server = await startAuthorizationServer()
  client = authorization({ ask, ...server, timeoutMs: 2000 })
})
afterAll(() => server.stop())

interface Process {
  readonly database: Database
  readonly sessions: Sessions
  readonly tokens: HeldTokens
}

let folder: string
let open: Database[]
let log: Collected
let first: Process
let asked: number
let seen: Set<string>
beforeEach(() => {
  folder = mkdtempSync(`${tmpdir()}/postern-login-`)
  open = []
  log = collector()
  first = started()
  seen = new Set()
})
afterEach(async () => {
  server.setFailing(undefined)
  server.setRewrite(undefined)
  server.setDelay(0)
  await first.tokens.idle()
  for (const each of open) each.close()
  rmSync(folder, { recursive: true })
  for (const secret of seen) expect(log.text()).not.toContain(secret)
})

/** A process on the file: another one is as after a restart, or beside the first. */
function started(patienceMs = PATIENCE_MS): Process {
  const opened = store(`${folder}/postern.db`, TABLES).open({ busyTimeoutMs: 0 })
  if (!opened.ok) throw new Error(opened.reason)
  const { database } = opened
  open.push(database)
  const kept = sessions({ connection: connectionTo(database), secrets })
  const options = { authorization: client, sessions: kept, scope: server.scope, log: log.log }
  return { database, sessions: kept, tokens: heldTokens({ ...options, patienceMs }) }
}

async function issue(): Promise<IssuedTokens> {
  const back = await server.signIn(client.authUrl(proof))
  const answer = await client.exchange(back.searchParams, proof)
  if (!answer.ok) throw new Error(answer.reason)
  return answer.value
}

/** Signs alice in, and begins to count what the server is asked. */
async function signedIn(more: Partial<IssuedTokens> = {}): Promise<{ access: string; id: string }> {
  const issued = { ...(await issue()), ...more }
  await first.tokens.begin(issued, at(0))
  asked = server.asked
  return { access: issued.accessToken, id: idNow() }
}

const idNow = (): string => first.sessions.current()?.id ?? ''
const requests = (): number => server.asked - asked
const text = (decision: Decision<unknown>): string =>
  decision.ok ? 'ok' : `${decision.code}: ${decision.reason}`

async function token(now: Instant, rejected?: string, { tokens } = first): Promise<string> {
  const answer = await tokens.accessToken(now, rejected)
  if (answer.ok) seen.add(answer.value)
  return answer.ok ? answer.value : text(answer)
}
const many = (count: number, now: Instant, rejected?: string): Promise<string[]> =>
  Promise.all(Array.from({ length: count }, () => token(now, rejected)))

async function good(accessToken: string): Promise<void> {
  expect(await server.accountOf(accessToken)).toBe('alice')
}

describe('a token is refreshed when under five minutes are left', () => {
  test('and not before', async () => {
    const { access } = await signedIn()
    expect(new Set(await many(50, at(HOUR - 300)))).toEqual(new Set([access]))
    expect(requests()).toBe(0)
    expect(await token(at(DUE))).not.toBe(access)
    expect(requests()).toBe(1)
  })
  test('200 requests at expiry make 1 refresh, and each gets its token', async () => {
    for (const when of [DUE, EXPIRED]) {
      const { access } = await signedIn()
      const revoked = server.counts.revoked
      const given = new Set(await many(200, at(when)))
      expect(requests()).toBe(1)
      expect(given.size).toBe(1)
      const [next = ''] = given
      expect(next).not.toBe(access)
      await good(next)
      expect(server.counts.revoked).toBe(revoked)
    }
  })
  test('ten times in a row, 200 at once, no refresh token is shown twice', async () => {
    await signedIn()
    const revoked = server.counts.revoked
    let now = 0
    for (let round = 1; round <= 10; round += 1) {
      now += EXPIRED
      const given = new Set(await many(200, at(now)))
      expect([given.size, requests()]).toEqual([1, round])
      for (const each of given) await good(each)
    }
    expect(server.counts.revoked).toBe(revoked)
  })
  test('callers during a refresh cause no other one', async () => {
    const { access } = await signedIn()
    server.setDelay(60)
    const early = many(100, at(EXPIRED))
    await Bun.sleep(20)
    const late = many(100, at(EXPIRED))
    const given = new Set([...(await early), ...(await late)])
    expect([given.size, requests(), given.has(access)]).toEqual([1, 1, false])
  })
  test('renew refreshes at any time, and once for all', async () => {
    const { access, id } = await signedIn()
    const renewed = await Promise.all(
      Array.from({ length: 50 }, () => first.tokens.renew(id, at(10))),
    )
    expect(requests()).toBe(1)
    for (const each of renewed) {
      expect(each).toEqual({
        ok: true,
        value: { expiresAtMs: (1_800_000_010 + HOUR) * 1000, scope: server.scope, renewable: true },
      })
    }
    expect(await token(at(10))).not.toBe(access)
  })
  test('a short-lived token is refreshed at half its lifetime, not by each caller', async () => {
    await signedIn({ lifetimeSeconds: 60 })
    server.setRewrite((answer) => ({ ...answer, expires_in: 60 }))
    for (let second = 0; second < 30; second += 1) await token(at(second))
    expect(requests()).toBe(0)
    await many(50, at(31))
    expect(requests()).toBe(1)
    for (let second = 31; second < 61; second += 1) await token(at(second))
    expect(requests()).toBe(1)
  })
})

describe('the rotated refresh token', () => {
  test('is on the disk before its access token is given out', async () => {
    await signedIn()
    const given = await token(at(EXPIRED))
    const stored = started().sessions.read(idNow())
    if (!stored.ok) throw new Error(stored.code)
    expect(stored.value.tokens.accessToken).toBe(given)
    // A process that was killed at this moment goes on where this one was.
    const restarted = started()
    await good(await token(at(EXPIRED * 2), undefined, restarted))
    expect(requests()).toBe(2)
  })
  test('if the disk cannot be written, nobody gets its access token', async () => {
    const { access } = await signedIn()
    first.database.run('PRAGMA query_only = ON')
    expect(new Set(await many(20, at(DUE)))).toEqual(new Set([access]))
    expect(await token(at(EXPIRED))).toStartWith('login_unavailable: ')
    expect(await token(at(EXPIRED + 60))).toStartWith('login_unavailable: ')
    expect(requests()).toBe(1)
    // It was not lost: as soon as it can be written, it is good, and the server is not asked again.
    first.database.run('PRAGMA query_only = OFF')
    const next = await token(at(EXPIRED + 120))
    expect(requests()).toBe(1)
    await good(next)
    await good(await token(at(EXPIRED * 2 + 120), undefined, started()))
  })
  test('SIGKILL between the answer and the write costs the session, and nothing hangs', async () => {
    const { id } = await signedIn()
    // The server has rotated, and nobody has what it said.
    const { tokens } = firstRecord(id)
    await client.refresh(tokens.refreshToken ?? '')
    const restarted = started()
    expect(await token(at(EXPIRED), undefined, restarted)).toBe('session_ended: invalid_grant')
    expect(restarted.sessions.current()).toBeUndefined()
  })
  test('an answer that was lost on its way costs it as well', async () => {
    const { access } = await signedIn()
    server.setRewrite(() => undefined)
    expect(await token(at(DUE))).toBe(access)
    server.setRewrite(undefined)
    expect(await token(at(DUE + 60))).toBe('session_ended: invalid_grant')
  })
  test('stays the old one if the server issues no new one', async () => {
    const { id } = await signedIn()
    const before = firstRecord(id).tokens.refreshToken
    server.setRewrite((answer) => ({ ...answer, refresh_token: undefined }))
    await token(at(EXPIRED))
    expect(firstRecord(id).tokens.refreshToken).toBe(before)
    expect(first.tokens.status(id)).toMatchObject({ value: { renewable: true } })
  })

  const firstRecord = (id: string) => {
    const found = first.sessions.read(id)
    if (!found.ok) throw new Error(found.code)
    return found.value
  }
})

describe('invalid_grant', () => {
  test('ends the session, for all who ask', async () => {
    const { id } = await signedIn()
    await server.revokeAll()
    expect(new Set(await many(200, at(EXPIRED)))).toEqual(new Set(['session_ended: invalid_grant']))
    expect(requests()).toBe(1)
    expect(first.sessions.current()).toBeUndefined()
    expect(await token(at(EXPIRED))).toBe('session_ended: nobody is signed in')
    expect(text(await first.tokens.renew(id, at(EXPIRED)))).toStartWith('session_invalid: ')
    expect(requests()).toBe(1)
    expect(log.text()).toContain('the sign-in has ended')
  })
  test('ends it though the access token has time left', async () => {
    await signedIn()
    await server.revokeAll()
    expect(await token(at(DUE))).toBe('session_ended: invalid_grant')
  })
  test('ends nothing if another process was first', async () => {
    const { id } = await signedIn()
    const second = started()
    let other = ''
    // While ours is under way: what it shows is old when it arrives.
    const late = heldTokens({
      sessions: first.sessions,
      scope: '',
      log: log.log,
      authorization: {
        async refresh() {
          other = await token(at(DUE), undefined, second)
          return { ok: false, kind: 'ended', reason: 'invalid_grant' }
        },
      },
    })
    expect(await token(at(DUE), undefined, { ...first, tokens: late })).toBe(other)
    expect(idNow()).toBe(id)
  })
})

describe('a server that fails', () => {
  for (const status of [500, 502, 503, 429]) {
    test(`with ${status}: the old token until it expires, then 503`, async () => {
      const { access } = await signedIn()
      server.setFailing(status)
      expect(new Set(await many(50, at(DUE)))).toEqual(new Set([access]))
      expect(await token(at(HOUR - 1))).toBe(access)
      expect(await token(at(HOUR + 60))).toBe(`login_unavailable: status ${status}`)
      server.setFailing(undefined)
      const next = await token(at(HOUR + 120))
      await good(next)
    })
  }
  test('is asked once in a cooldown that doubles up to its maximum, for all callers', async () => {
    await signedIn()
    server.setFailing(503)
    let tries = 0
    let triedAt = DUE
    const gaps: number[] = []
    for (let second = DUE; second < DUE + 200; second += 0.5) {
      await many(10, at(second))
      if (requests() === tries) continue
      gaps.push(second - triedAt)
      triedAt = second
      tries = requests()
    }
    // Each try takes a moment, and a half second is the finest that is asked here.
    const expected = [0, 1, 2, 4, 8, 16]
    const longest = MAX_COOLDOWN_MS / 1000
    expect(gaps.length).toBeWithin(9, 12)
    for (const [n, gap] of gaps.entries()) {
      expect(gap).toBeWithin(expected[n] ?? longest, (expected[n] ?? longest) + 2)
    }
  })
  test('says when to ask again, and so does every refusal in the cooldown', async () => {
    const { id } = await signedIn()
    server.setFailing(503)
    const refusals = [
      await first.tokens.accessToken(at(EXPIRED)),
      await first.tokens.accessToken(at(EXPIRED + 0.5)),
      await first.tokens.renew(id, at(EXPIRED + 0.5)),
    ]
    expect(requests()).toBe(1)
    for (const [n, each] of refusals.entries()) {
      if (each.ok) throw new Error('granted')
      expect(each.code).toBe('login_unavailable')
      expect(each.retryAfterSeconds ?? 0).toBeWithin(n === 0 ? 1 : 0.4, 5)
    }
  })
  test('is believed again at once when it is back, and a new sign-in does not wait', async () => {
    await signedIn()
    server.setFailing(503)
    for (const second of [0, 2, 5, 10, 20]) await token(at(EXPIRED + second))
    server.setFailing(undefined)
    expect(await token(at(EXPIRED + 21))).toStartWith('login_unavailable: ')
    const { id } = await signedIn()
    expect(text(await first.tokens.renew(id, at(EXPIRED + 21)))).toBe('ok')
  })
  test('and recovers is given its short cooldown back', async () => {
    await signedIn()
    server.setFailing(503)
    for (const second of [0, 2, 5, 10, 20]) await token(at(EXPIRED + second))
    expect(requests()).toBe(5)
    server.setFailing(undefined)
    await good(await token(at(EXPIRED + 60)))
    expect(log.text()).toContain('tokens are refreshed again')
    server.setFailing(503)
    const refusal = await first.tokens.accessToken(at(EXPIRED * 3))
    expect(refusal).toMatchObject({ code: 'login_unavailable', retryAfterSeconds: 1 })
  })
  test('does not delay callers with a valid token', async () => {
    const { access } = await signedIn()
    first = started(50)
    server.setDelay(1000)
    const before = server.counts.refreshed
    expect(new Set(await many(50, at(DUE)))).toEqual(new Set([access]))
    expect(server.counts.refreshed).toBe(before)
    // It comes to its end all the same, and what it brought is used.
    await first.tokens.idle()
    const next = await token(at(DUE))
    expect([requests(), next === access]).toEqual([1, false])
    await good(next)
  })
  test('delays callers whose token expires meanwhile', async () => {
    const { access } = await signedIn()
    first = started(50)
    server.setDelay(150)
    const next = await token(at(HOUR - 0.03))
    expect(next).not.toBe(access)
    await good(next)
  })
  test('delays callers without a token', async () => {
    await signedIn()
    first = started(50)
    server.setDelay(200)
    const given = new Set(await many(50, at(EXPIRED)))
    expect([given.size, requests()]).toEqual([1, 1])
    for (const each of given) await good(each)
  })
  for (const said of [
    { status: 400, body: '{"error":"invalid_client"}' },
    { status: 403, contentType: 'text/html', body: '<html>no</html>' },
    { status: 401, contentType: '', body: '' },
    { status: 400, contentType: 'text/plain', body: 'expired' },
    { status: 410, body: '{"error":{"code":"gone"}}' },
  ]) {
    test(`a definitive ${said.status} (${said.contentType ?? 'JSON'}): the old token until it expires, then sign in again`, async () => {
      const { access, id } = await signedIn()
      server.setFailing(said)
      expect(await token(at(DUE))).toBe(access)
      expect(await first.tokens.standing(id, at(DUE))).toMatchObject({ ok: true })
      for (const second of [EXPIRED, EXPIRED + 0.1, EXPIRED + 120]) {
        expect(await token(at(second))).toStartWith('session_ended: ')
        expect(text(await first.tokens.standing(id, at(second)))).toStartWith('session_ended: ')
        expect(text(await first.tokens.renew(id, at(second)))).toStartWith('session_ended: ')
      }
      // A server that comes to another mind finds the refresh token as it was.
      server.setFailing(undefined)
      await good(await token(at(EXPIRED + 400)))
      expect(text(await first.tokens.standing(id, at(EXPIRED + 400)))).toBe('ok')
    })
  }
  test('an outage after a refusal is an outage', async () => {
    await signedIn()
    server.setFailing({ status: 403 })
    expect(await token(at(EXPIRED))).toStartWith('session_ended: ')
    server.setFailing(503)
    expect(await token(at(EXPIRED + 60))).toBe('login_unavailable: status 503')
  })
  test('a token that the API refuses, and the server will not renew: sign in again', async () => {
    const { access } = await signedIn()
    server.setFailing({ status: 403 })
    expect(await token(at(10), access)).toBe('session_ended: status 403')
    expect(await token(at(10.1))).toBe(access)
  })
  test('the standing of an expired token is found by one refresh for all callers', async () => {
    const { id } = await signedIn()
    const all = await Promise.all(
      Array.from({ length: 20 }, () => first.tokens.standing(id, at(EXPIRED))),
    )
    expect([requests(), new Set(all.map(text))]).toEqual([1, new Set(['ok'])])
    server.setFailing(503)
    expect(text(await first.tokens.standing(id, at(EXPIRED * 3)))).toBe('ok')
  })
  test('an answer whose access token is of no use loses no refresh token', async () => {
    const { access } = await signedIn()
    const revoked = server.counts.revoked
    server.setRewrite((answer) => ({ ...answer, token_type: 'DPoP' }))
    expect(await token(at(DUE))).toBe(access)
    server.setRewrite(undefined)
    // The server ends the sign-in of whoever shows it the old one.
    const restarted = started()
    await good(await token(at(DUE + 60), undefined, restarted))
    expect([requests(), server.counts.revoked]).toEqual([2, revoked])
  })
  test('a 201, a null and a number as text are a refresh like another', async () => {
    await signedIn()
    for (const [n, more] of [
      { scope: null },
      { expires_in: '3600' },
      { token_type: undefined },
      { token_type: 'BEARER', id_token: 'garbage', unknown: null },
      { scope: ['a', 'b'], expires_in: 'an hour' },
    ].entries()) {
      server.setRewrite((answer) => ({ ...answer, ...more }))
      await good(await token(at(EXPIRED * (n + 1))))
    }
    expect(requests()).toBe(5)
  })
  test('an error of its own that is not invalid_grant ends nothing', async () => {
    const { access, id } = await signedIn()
    server.setRewrite(() => ({ nothing: true }))
    expect(await token(at(DUE))).toBe(access)
    expect(idNow()).toBe(id)
  })
})

describe('a token that the API has just refused', () => {
  test('is replaced by one refresh, shared by all who saw it refused', async () => {
    const { access } = await signedIn()
    const given = new Set(await many(200, at(10), access))
    expect([given.size, requests(), given.has(access)]).toEqual([1, 1, false])
    // Those who come later with the same one find the new one.
    expect(new Set(await many(50, at(11), access))).toEqual(given)
    expect(requests()).toBe(1)
    for (const each of given) await good(each)
  })
  test('that is not the one held asks for nothing', async () => {
    const { access } = await signedIn()
    expect(await token(at(10), 'an older one')).toBe(access)
    expect(requests()).toBe(0)
  })
  test('and whose replacement is refused as well makes no other refresh for a while', async () => {
    const { access } = await signedIn()
    const next = await token(at(10), access)
    expect(new Set(await many(50, at(11), next))).toEqual(
      new Set(['upstream_auth: a new token was refused as well']),
    )
    expect(requests()).toBe(1)
    // Whoever does not know of it gets the one that there is.
    expect(await token(at(11))).toBe(next)
    const third = await token(at(10 + REJECTION_COOLDOWN_MS / 1000), next)
    expect([requests(), third === next]).toEqual([2, false])
  })
  test('and is all that a refresh gives is not given again', async () => {
    const { access } = await signedIn()
    server.setRewrite((answer) => ({ ...answer, access_token: access }))
    for (const second of [10, 11, 12]) {
      expect(await token(at(second), access)).toStartWith('upstream_auth: ')
    }
    expect(requests()).toBe(1)
  })
  test('is not given again while the server fails', async () => {
    const { access } = await signedIn()
    server.setFailing(500)
    expect(await token(at(10), access)).toBe('login_unavailable: status 500')
    expect(await token(at(10.5), access)).toBe('login_unavailable: waiting to try again')
    expect(requests()).toBe(1)
  })
  test('and that nothing can renew ends there', async () => {
    const { access } = await signedIn({ refreshToken: undefined })
    expect(await token(at(10), access)).toBe('session_ended: no refresh token')
    expect(requests()).toBe(0)
  })
})

describe('a session that changes during its refresh', () => {
  test('is not brought back when it was ended', async () => {
    const { id } = await signedIn()
    server.setDelay(60)
    const waiting = many(20, at(EXPIRED))
    await Bun.sleep(20)
    await first.tokens.end(id)
    expect(await token(at(EXPIRED))).toBe('session_ended: nobody is signed in')
    for (const each of await waiting) expect(each).toStartWith('session_invalid: ')
    expect(first.sessions.current()).toBeUndefined()
  })
  test('gives way to a new sign-in', async () => {
    await signedIn()
    const other = await issue()
    server.setDelay(60)
    const waiting = many(20, at(EXPIRED))
    await Bun.sleep(20)
    await first.tokens.begin(other, at(EXPIRED))
    expect(await token(at(EXPIRED))).toBe(other.accessToken)
    // Its own refresh does not wait for the other's, which comes to nothing.
    const next = token(at(EXPIRED * 2))
    for (const each of await waiting) expect(each).toStartWith('session_invalid: ')
    await good(await next)
    expect(await token(at(EXPIRED * 2))).toBe(await next)
  })
})

test('a refresh of a session that was replaced loses no token of the new one', async () => {
  const { id } = await signedIn()
  const other = await issue()
  server.setDelay(300)
  const replaced = first.tokens.renew(id, at(EXPIRED))
  await until(() => requests() === 2)
  server.setDelay(0)
  await first.tokens.begin(other, at(0))
  const next = idNow()
  first.database.run('PRAGMA query_only = ON')
  expect(text(await first.tokens.renew(next, at(EXPIRED)))).toStartWith('login_unavailable: ')
  expect(text(await replaced)).toStartWith('session_invalid: ')
  first.database.run('PRAGMA query_only = OFF')
  const asked = requests()
  await good(await token(at(EXPIRED + 60)))
  expect(requests()).toBe(asked)
})

describe('another process on the same file', () => {
  test('that refreshed before: its tokens are used, and the server is not asked', async () => {
    const { access } = await signedIn()
    const second = started()
    const theirs = await token(at(DUE), undefined, second)
    expect(await token(at(DUE))).toBe(theirs)
    expect(await token(at(DUE), access)).toBe(theirs)
    expect(requests()).toBe(1)
  })
  test('that was first: its record counts, not our response', async () => {
    await signedIn()
    const second = started()
    let theirs = ''
    const late = heldTokens({
      sessions: first.sessions,
      scope: '',
      log: log.log,
      authorization: {
        async refresh() {
          theirs = await token(at(DUE), undefined, second)
          const value = { accessToken: 'ours', refreshToken: 'ours', lifetimeSeconds: 60 }
          return { ok: true, value: { ...value, scope: undefined } }
        },
      },
    })
    const ours = { ...first, tokens: late }
    expect(await token(at(DUE), undefined, ours)).toBe(theirs)
    // And its life is theirs as well: with 200 seconds left, it is due.
    expect(await token(at(DUE + HOUR - 200), undefined, ours)).not.toBe(theirs)
  })
  test('with a new sign-in: its token counts', async () => {
    const { access } = await signedIn()
    expect(await token(at(0))).toBe(access)
    const issued = await issue()
    await started().tokens.begin(issued, at(0))
    expect(await token(at(0))).toBe(issued.accessToken)
  })
  test('that ended the session: nothing of it is given out', async () => {
    const { id } = await signedIn()
    await started().tokens.end(id)
    expect(await token(at(1))).toBe('session_ended: nobody is signed in')
  })
})

describe('a lock that another process holds for a moment', () => {
  const whileLocked = async <T>(work: () => Promise<T>): Promise<T> => {
    const { database } = started()
    database.run('BEGIN IMMEDIATE')
    const done = work()
    // The loop goes on meanwhile, or this would never release it.
    await Bun.sleep(150)
    database.run('COMMIT')
    return done
  }
  test('delays a refresh, which is not asked for twice', async () => {
    const { access } = await signedIn()
    const [next, ...others] = await whileLocked(() => many(20, at(EXPIRED)))
    expect(next).not.toBe(access)
    expect(new Set(others)).toEqual(new Set([next ?? '']))
    await good(next ?? '')
    expect(requests()).toBe(1)
  })
  test('delays a sign-in and a sign-out, and neither is lost', async () => {
    await signedIn()
    const other = await issue()
    await whileLocked(() => first.tokens.begin(other, at(0)))
    expect(await token(at(0))).toBe(other.accessToken)
    await whileLocked(() => first.tokens.end(idNow()))
    expect(first.sessions.current()).toBeUndefined()
  })
})

describe('members that the server leaves out', () => {
  test('no life: the token is good until the API refuses it', async () => {
    const { access, id } = await signedIn({ lifetimeSeconds: undefined })
    expect(await token(at(10 ** 8))).toBe(access)
    expect(requests()).toBe(0)
    expect(first.tokens.status(id)).toMatchObject({ value: { expiresAtMs: undefined } })
    await good(await token(at(10 ** 8), access))
  })
  test('no refresh token: good until it expires, then the sign-in has ended', async () => {
    const { access, id } = await signedIn({ refreshToken: undefined })
    expect(first.tokens.status(id)).toMatchObject({ value: { renewable: false } })
    expect(await token(at(HOUR - 1))).toBe(access)
    expect(text(await first.tokens.renew(id, at(HOUR - 1)))).toBe('ok')
    expect(await token(at(EXPIRED))).toBe('session_ended: no refresh token')
    expect(text(await first.tokens.renew(id, at(EXPIRED)))).toBe('session_ended: no refresh token')
    expect(requests()).toBe(0)
  })
  test('no scope: at sign-in the requested one counts, at a refresh the previous one', async () => {
    const { id } = await signedIn({ scope: undefined })
    expect(first.tokens.status(id)).toMatchObject({ value: { scope: server.scope } })
    server.setRewrite((answer) => ({ ...answer, scope: 'user:profile' }))
    await token(at(EXPIRED))
    expect(first.tokens.status(id)).toMatchObject({ value: { scope: 'user:profile' } })
    server.setRewrite((answer) => ({ ...answer, scope: undefined }))
    await token(at(EXPIRED * 2))
    expect(first.tokens.status(id)).toMatchObject({ value: { scope: 'user:profile' } })
  })
  test("the time for the response is subtracted from the token's lifetime", async () => {
    const { id } = await signedIn()
    server.setDelay(100)
    await token(at(EXPIRED))
    expect(first.tokens.status(id)).toMatchObject({
      value: { expiresAtMs: (1_800_000_000 + EXPIRED + HOUR) * 1000 },
    })
  })
})

test('without a session there is no token, and an unreadable file is no sign-out', async () => {
  expect(await token(at(0))).toBe('session_ended: nobody is signed in')
  const { access } = await signedIn()
  first.database.run('ALTER TABLE login_session RENAME TO away')
  expect(await token(at(0))).toStartWith('login_unavailable: ')
  first.database.run('ALTER TABLE away RENAME TO login_session')
  expect(await token(at(0))).toBe(access)
})

test('200 callers after a restart read the session once each, and refresh it once', async () => {
  await signedIn()
  first = started()
  const given = new Set(await many(200, at(DUE)))
  expect([given.size, requests()]).toEqual([1, 1])
})

/** Beside the file's own tests of a record that does not open (attack 41). */
test('a record that does not open is session_invalid, also in the middle of a refresh', async () => {
  await signedIn()
  server.setDelay(60)
  const waiting = many(5, at(EXPIRED))
  await Bun.sleep(20)
  first.database.run('UPDATE login_session SET sealed = zeroblob(200) WHERE only = 1')
  for (const each of await waiting) expect(each).toStartWith('session_invalid: ')
  expect(await token(at(EXPIRED), undefined, started())).toStartWith('session_invalid: ')
})
