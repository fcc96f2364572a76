// The responses of the sign-in: a page for a person, JSON for a program.

import type { Session } from '../../login/login.ts'
import type { SessionStatus, SignedIn } from '../../login/session-status.ts'
import { sentKey } from '../../admit/session.ts'
import { type Decision, type Refusal, refused } from '../../refusal.ts'
import type { LoginAsked } from './asked.ts'
import { saysWhoAsks } from './guard.ts'
import { loginPage } from './page.ts'
import type { LoginParts } from './parts.ts'
import type { View } from './view.ts'

/** For the browser's connection while we ask the authorization server, which takes 30 s at most. */
const EXCHANGE_IDLE_SECONDS = 60

const NO_ORIGIN =
  'a cookie counts only with an Origin or Sec-Fetch-Site header; send the session key as x-api-key'

export type LoginAnswers = ReturnType<typeof loginAnswers>

export function loginAnswers({ answers, login, cookies, publicUrl }: LoginParts) {
  const show = ({ arrival: { exchange } }: LoginAsked, view: View): Response => {
    const { headers } = exchange
    headers.set('content-type', 'text/html; charset=utf-8')
    return answers.reply(exchange, new Response(loginPage(view), { headers }))
  }
  const refuse = (asked: LoginAsked, refusal: Refusal): Response => {
    const said = answers.refuse(asked.arrival.exchange, refusal)
    if (!asked.page) return said
    const { code, retryAfterSeconds } = refusal
    const { status, headers } = said
    headers.set('content-type', 'text/html; charset=utf-8')
    const view = { kind: 'refused', code, retryAfterSeconds, mayPaste: mayPaste(asked) } as const
    return new Response(loginPage(view), { status, headers })
  }
  const json = ({ arrival: { exchange } }: LoginAsked, body: object): Response =>
    answers.json(exchange, 200, body)
  const mayPaste = ({ cookie }: LoginAsked): boolean =>
    !login.returnsHere && cookies.attempt(cookie) !== undefined
  const keep = ({ arrival }: LoginAsked, ...setCookies: readonly string[]): void => {
    for (const each of setCookies) arrival.exchange.headers.append('set-cookie', each)
  }
  /** Call it before the authorization server is asked. */
  const wait = ({ arrival, request }: LoginAsked): void =>
    arrival.server?.timeout(request, EXCHANGE_IDLE_SECONDS)

  const showSignedIn = (asked: LoginAsked, status: SessionStatus, key?: string): Response =>
    show(asked, { kind: 'signed_in', status, key, baseUrl: publicUrl().origin })
  /** The only response that contains the key: to the person who has just signed in. */
  const welcome = (asked: LoginAsked, { key, status }: SignedIn): Response => {
    keep(asked, cookies.keepSession(key), cookies.dropAttempt())
    if (asked.page) return showSignedIn(asked, status, key)
    return json(asked, { ...wireStatus(status), session_key: key })
  }
  /** An attempt can be used once, whether it succeeds or not. */
  const finish = async (asked: LoginAsked, answer: URLSearchParams): Promise<Response> => {
    const attempt = cookies.attempt(asked.cookie)
    wait(asked)
    const ended = await login.finish(attempt, answer, asked.arrival.exchange.at)
    if (ended.ok) return welcome(asked, ended.value)
    keep(asked, cookies.dropAttempt())
    return refuse({ ...asked, cookie: null }, ended)
  }
  /** A key in a header goes before a cookie, which browsers send by themselves. */
  const sessionOf = (asked: LoginAsked): Decision<Session> => {
    const sent = sentKey(asked.request.headers, asked.query)
    if (!sent.ok) return sent
    const { method, headers } = asked.request
    const key = sent.value ?? cookies.session(asked.cookie)
    if (
      key !== undefined &&
      sent.value === undefined &&
      method !== 'GET' &&
      !saysWhoAsks(headers)
    ) {
      return refused('foreign_origin', { reason: 'cookie without an origin', message: NO_ORIGIN })
    }
    if (key === undefined) return refused('session_invalid', { reason: 'no key' })
    const session = login.find(key)
    // Where the disk cannot be read, the session may be good.
    const isOver = !session.ok && session.code !== 'login_unavailable'
    if (isOver && sent.value === undefined) keep(asked, cookies.dropSession())
    return session
  }
  return { show, refuse, json, mayPaste, keep, wait, showSignedIn, welcome, finish, sessionOf }
}

/** `ended`: by the provider and not by the person, who is told what to do. */
export function wireSignedOut(ended: boolean): object {
  if (!ended) return { authenticated: false }
  const message = 'the sign-in has ended; sign in again at /auth/device or with postern login'
  return { authenticated: false, code: 'session_ended', message }
}

export function wireStatus({ expiresAtMs, scope, renewable }: SessionStatus): object {
  return {
    authenticated: true,
    ...(expiresAtMs !== undefined && { expires_at: new Date(expiresAtMs).toISOString() }),
    ...(scope !== undefined && { scope }),
    renewable,
  }
}
