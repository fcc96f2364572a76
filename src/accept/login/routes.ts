// One person signs in: the page, and the same for programs. What signing in is, and which of it is
// allowed, the login decides; here stands who may ask, what is kept in cookies, and what is shown.
// No parameter of a request ever becomes a place to go to (attack 39): the only redirect leads where
// the login itself says.

import { Elysia } from 'elysia'
import { sentKey } from '../../admit/session.ts'
import { readBounded } from '../../dispatch/body.ts'
import type { Exchange } from '../../exchange.ts'
import type { Login, Session } from '../../login/login.ts'
import type { SessionStatus, SignedIn } from '../../login/session-status.ts'
import { type Decision, type Refusal, refused } from '../../refusal.ts'
import type { Answers } from '../answers.ts'
import type { Arrival } from '../arrival.ts'
import { arrivals } from '../arrivals.ts'
import type { CountAddress, Peer } from '../count-address.ts'
import type { LoginCookies } from './cookies.ts'
import { asksFromElsewhere, harden, knownHost, saysWhoAsks } from './guard.ts'
import { ASSETS, type Asset } from './assets.ts'
import { loginPage, type View } from './page.ts'
import { pastedAnswer } from './paste.ts'
import { ROUTES } from '../routes.ts'

export interface LoginParts {
  readonly answers: Answers
  readonly login: Login
  readonly cookies: LoginCookies
  readonly countAddress: CountAddress
  /** What programs are told to use: PROXY_BASE_URL, or else where this gate listens. */
  readonly publicUrl: () => URL
  /** REDIRECT_URI: where it leads back here, a sign-in has to begin on the same host. */
  readonly redirectUri: URL
  readonly bodyTimeoutMs: () => number
}

/** A code and a state are some hundred characters each, and may come percent-encoded. */
const MAX_LOGIN_BODY_BYTES = 16_384
/** Before it is heard from: the authorization server is asked meanwhile, for 30 s at the longest. */
const EXCHANGE_IDLE_SECONDS = 60
/** Of the cookie of a browser that takes up an attempt; the attempt itself may end sooner. */
const MAX_ATTEMPT_SECONDS = 600

const NO_ORIGIN =
  'a cookie counts only with an Origin or Sec-Fetch-Site header; send the session key as x-api-key'

interface LoginAsked {
  readonly exchange: Exchange
  readonly request: Request
  readonly query: string
  /** Whether a person looks at the answer. */
  readonly page: boolean
  /** Undefined where another page asks: its reader is not shown what these open. */
  readonly cookie: string | null
  readonly server: LoginListener | null
}

interface LoginListener extends Peer {
  timeout(request: Request, seconds: number): void
}

interface Context {
  readonly arrival: Arrival
  readonly request: Request
  readonly server: LoginListener | null
}

export type LoginRoutes = ReturnType<typeof loginRoutes>

export function loginRoutes(parts: LoginParts) {
  const { answers, login, cookies, countAddress, publicUrl, redirectUri } = parts
  const known = (): URL[] => (login.returnsHere ? [publicUrl(), redirectUri] : [publicUrl()])

  const allowed = ({ exchange, request, server }: LoginAsked): Decision<unknown> => {
    const counted = countAddress(exchange, request, server)
    if (!counted.ok) return counted
    const host = knownHost(request.headers.get('host'), known())
    if (!host.ok || request.method !== 'POST') return host
    return asksFromElsewhere(request.headers, known()) ? refused('foreign_origin') : host
  }
  /** Each route goes through this, so that none can be declared without it. */
  const guarded =
    (respond: (asked: LoginAsked) => Response | Promise<Response>) =>
    async ({ arrival: { exchange, target }, request, server }: Context): Promise<Response> => {
      harden(exchange.headers)
      const asked: LoginAsked = {
        exchange,
        request,
        query: target.search.slice(1),
        page: wantsPage(request.headers),
        cookie: asksFromElsewhere(request.headers, known()) ? null : request.headers.get('cookie'),
        server,
      }
      const decision = allowed(asked)
      return decision.ok ? respond(asked) : refuse(asked, decision)
    }

  const show = ({ exchange }: LoginAsked, view: View): Response => {
    const { headers } = exchange
    headers.set('content-type', 'text/html; charset=utf-8')
    return answers.reply(exchange, new Response(loginPage(view), { headers }))
  }
  const refuse = (asked: LoginAsked, refusal: Refusal): Response => {
    const said = answers.refuse(asked.exchange, refusal)
    if (!asked.page) return said
    const { code, retryAfterSeconds } = refusal
    const { status, headers } = said
    headers.set('content-type', 'text/html; charset=utf-8')
    const view = { kind: 'refused', code, retryAfterSeconds, mayPaste: mayPaste(asked) } as const
    return new Response(loginPage(view), { status, headers })
  }
  const mayPaste = ({ cookie }: LoginAsked): boolean =>
    !login.returnsHere && cookies.attempt(cookie) !== undefined
  const keep = ({ exchange }: LoginAsked, ...setCookies: readonly string[]): void => {
    for (const each of setCookies) exchange.headers.append('set-cookie', each)
  }

  const showSignedIn = (asked: LoginAsked, status: SessionStatus, key?: string): Response =>
    show(asked, { kind: 'signed_in', status, key, baseUrl: publicUrl().origin })
  /** To whom has just signed in: the one answer that the key is in. */
  const welcome = (asked: LoginAsked, { key, status }: SignedIn): Response => {
    keep(asked, cookies.keepSession(key), cookies.dropAttempt())
    if (asked.page) return showSignedIn(asked, status, key)
    return answers.json(asked.exchange, 200, { ...wireStatus(status), session_key: key })
  }
  /** An attempt is good for one answer, whatever comes of it. */
  const finish = async (asked: LoginAsked, answer: URLSearchParams): Promise<Response> => {
    const attempt = cookies.attempt(asked.cookie)
    asked.server?.timeout(asked.request, EXCHANGE_IDLE_SECONDS)
    const ended = await login.finish(attempt, answer, asked.exchange.at)
    if (ended.ok) return welcome(asked, ended.value)
    keep(asked, cookies.dropAttempt())
    return refuse({ ...asked, cookie: null }, ended)
  }
  /** A key that is sent on purpose goes before a cookie, which comes along by itself. */
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
    if (!session.ok && sent.value === undefined) keep(asked, cookies.dropSession())
    return session
  }

  const asset = ({ text, contentType }: Asset) =>
    guarded(({ exchange }) => {
      const { headers } = exchange
      headers.set('content-type', contentType)
      return answers.reply(exchange, new Response(text, { headers }))
    })

  return new Elysia({ name: 'login' })
    .use(arrivals)
    .get(
      ROUTES.loginPage.path,
      guarded(async (asked) => {
        const session = sessionOf(asked)
        const standing = session.ok
          ? await login.standing(session.value, asked.exchange.at)
          : undefined
        if (standing?.ok) return showSignedIn(asked, standing.value)
        if (standing?.code === 'session_ended') return refuse({ ...asked, page: true }, standing)
        return show(asked, { kind: 'signed_out', mayPaste: mayPaste(asked), justNow: false })
      }),
    )
    .post(
      ROUTES.loginStart.path,
      guarded(async (asked) => {
        const { exchange, request } = asked
        const body = await readBounded(request, MAX_LOGIN_BODY_BYTES, parts.bodyTimeoutMs())
        if (!body.ok) return refuse(asked, body)
        const begun = login.begin(exchange.at)
        if (!begun.ok) return refuse(asked, begun)
        const { authUrl, state, attempt, ticket, expiresInSeconds } = begun.value
        keep(asked, cookies.keepAttempt(attempt, expiresInSeconds))
        const openUrl = ticket === undefined ? undefined : openUrlOf(redirectUri, ticket)
        const paste = !login.returnsHere
        if (!asked.page) {
          return answers.json(exchange, 200, {
            auth_url: authUrl.href,
            state,
            expires_in: expiresInSeconds,
            paste,
            ...(openUrl && { open_url: openUrl.href }),
          })
        }
        // A cookie of `127.0.0.1` does not go to `localhost`: there it is begun again on the host
        // that the redirect comes back to.
        const host = request.headers.get('host')?.toLowerCase().replace(/:\d+$/, '')
        const link = openUrl && host !== redirectUri.hostname ? openUrl : authUrl
        const minutes = Math.round(expiresInSeconds / 60)
        return show(asked, { kind: 'under_way', link, provider: authUrl.host, paste, minutes })
      }),
      { parse: 'none' },
    )
    .get(
      ROUTES.loginOpen.path,
      guarded((asked) => {
        const { exchange, query } = asked
        const opened = login.open(new URLSearchParams(query).get('ticket') ?? '', exchange.at)
        if (!opened.ok) return refuse(asked, opened)
        const { authUrl, attempt } = opened.value
        keep(asked, cookies.keepAttempt(attempt, MAX_ATTEMPT_SECONDS))
        const { headers } = exchange
        headers.set('location', authUrl.href)
        return answers.reply(exchange, new Response(null, { status: 303, headers }))
      }),
    )
    .post(
      ROUTES.loginSubmit.path,
      guarded(async (asked) => {
        const { exchange, request } = asked
        const body = await readBounded(request, MAX_LOGIN_BODY_BYTES, parts.bodyTimeoutMs())
        if (!body.ok) return refuse(asked, body)
        exchange.bytesIn = body.value.byteLength
        const text = Buffer.from(body.value).toString('utf8')
        const answer = pastedAnswer(text, isForm(request.headers))
        // What is no answer at all has not used the attempt up: it can be pasted again, and whole.
        if (!answer) return refuse(asked, refused('bad_request', { reason: 'no code#state' }))
        return finish(asked, answer)
      }),
      { parse: 'none' },
    )
    .get(
      ROUTES.loginCallback.path,
      guarded((asked) => {
        const { headers } = asked.request
        // From another site, and rightly so: it is the state that says whether we asked for it.
        const answered = { ...asked, cookie: headers.get('cookie') }
        return finish(answered, new URLSearchParams(asked.query))
      }),
    )
    .get(
      ROUTES.loginStatus.path,
      guarded(async (asked) => {
        const { exchange, cookie } = asked
        const attempt = cookies.attempt(cookie)
        const ended = attempt === undefined ? undefined : login.collect(attempt, exchange.at)
        if (ended?.ok && ended.value) return welcome({ ...asked, page: false }, ended.value)
        const session = sessionOf(asked)
        const standing = session.ok ? await login.standing(session.value, exchange.at) : session
        return answers.json(exchange, 200, {
          ...(standing.ok
            ? wireStatus(standing.value)
            : wireSignedOut(standing.code === 'session_ended' || login.wasEnded(standing))),
          ...(ended?.ok && { pending: true }),
        })
      }),
    )
    .post(
      ROUTES.loginRefresh.path,
      guarded(async (asked) => {
        const session = sessionOf(asked)
        if (!session.ok) return refuse(asked, session)
        asked.server?.timeout(asked.request, EXCHANGE_IDLE_SECONDS)
        const renewed = await login.renew(session.value, asked.exchange.at)
        if (!renewed.ok) return refuse(asked, renewed)
        if (asked.page) return showSignedIn(asked, renewed.value)
        return answers.json(asked.exchange, 200, wireStatus(renewed.value))
      }),
      { parse: 'none' },
    )
    .post(
      ROUTES.loginLogout.path,
      guarded(async (asked) => {
        const session = sessionOf(asked)
        if (!session.ok && session.code === 'foreign_origin') return refuse(asked, session)
        if (session.ok) await login.end(session.value)
        keep(asked, cookies.dropSession(), cookies.dropAttempt())
        if (asked.page) return show(asked, { kind: 'signed_out', mayPaste: false, justNow: true })
        return answers.json(asked.exchange, 200, { authenticated: false })
      }),
      { parse: 'none' },
    )
    .get(ROUTES.loginStyle.path, asset(ASSETS.style))
    .get(ROUTES.loginScript.path, asset(ASSETS.script))
    .get(ROUTES.loginIcon.path, asset(ASSETS.icon))
}

/** Browsers name HTML when they navigate; programs name something else, or nothing. */
function wantsPage(headers: Headers): boolean {
  return isForm(headers) || /\btext\/html\b/i.test(headers.get('accept') ?? '')
}

function isForm(headers: Headers): boolean {
  return /^application\/x-www-form-urlencoded\b/i.test(headers.get('content-type') ?? '')
}

function openUrlOf(redirectUri: URL, ticket: string): URL {
  const url = new URL(ROUTES.loginOpen.path, redirectUri)
  url.searchParams.set('ticket', ticket)
  return url
}

/** Tells a person whose sign-in has ended without their doing what to do. */
function wireSignedOut(ended: boolean): object {
  if (!ended) return { authenticated: false }
  const message = 'the sign-in has ended; sign in again at /auth/device or with postern login'
  return { authenticated: false, code: 'session_ended', message }
}

function wireStatus({ expiresAtMs, scope, renewable }: SessionStatus): object {
  return {
    authenticated: true,
    ...(expiresAtMs !== undefined && { expires_at: new Date(expiresAtMs).toISOString() }),
    ...(scope !== undefined && { scope }),
    renewable,
  }
}
