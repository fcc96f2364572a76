// The routes by which one person signs in, by page or by program. The login decides what is allowed. No
// parameter of a request becomes the target of a redirect (attack 39): the only redirect leads to the URL
// that the login itself returns.

import { t } from 'elysia'
import { type RefusalCode, refused } from '../../refusal.ts'
import { early, routesFor } from '../arrivals.ts'
import { OTHERS_TOO } from '../invalid.ts'
import { readLater, readSmallBody } from '../small-body.ts'
import { loginAnswers, wireSignedOut, wireStatus } from './answers.ts'
import { isForm, type LoginAsked, mayAsk, readAsked } from './asked.ts'
import { ASSETS, type Asset } from './assets.ts'
import type { LoginParts } from './parts.ts'
import { PASTED_BODY, pastedAnswer, pastedFields } from './paste.ts'
import { LOGIN_PATHS } from './paths.ts'

/** A code and a state have a few hundred characters each, and may be percent-encoded. */
const MAX_LOGIN_BODY_BYTES = 16_384
/** For the cookie of a browser that takes up an attempt; the attempt itself may end sooner. */
const MAX_ATTEMPT_SECONDS = 600

/** Refusals after which nobody has signed out. */
const STAYS_SIGNED_IN: ReadonlySet<RefusalCode> = new Set(['foreign_origin', 'login_unavailable'])

const OPEN_QUERY = t.Object({ ticket: t.Optional(t.String()) }, OTHERS_TOO)

export type LoginRoutes = ReturnType<typeof loginRoutes>

export function loginRoutes(parts: LoginParts) {
  const { answers, login, cookies, countAddress, publicUrl, redirectUri } = parts
  const { show, refuse, json, mayPaste, keep, wait, showSignedIn, welcome, finish, sessionOf } =
    loginAnswers(parts)
  const known = (): URL[] => (login.returnsHere ? [publicUrl(), redirectUri] : [publicUrl()])
  const bounds = { maxBytes: MAX_LOGIN_BODY_BYTES, timeoutMs: parts.bodyTimeoutMs }

  const asset = ({ arrival: { exchange } }: LoginAsked, { text, contentType }: Asset): Response => {
    const { headers } = exchange
    headers.set('content-type', contentType)
    return answers.reply(exchange, new Response(text, { headers }))
  }

  return (
    routesFor('public', 'anthropic')
      // The guard of all routes below, which get `asked` from it.
      .derive(({ arrival, request }) => {
        const names = known()
        const asked = readAsked(arrival, request, names)
        arrival.refuse = (refusal) => refuse(asked, refusal)
        const decision = mayAsk(asked, countAddress, names)
        return decision.ok ? { asked } : early(refuse(asked, decision))
      })
      .get(
        LOGIN_PATHS.page,
        async ({ asked }) => {
          const session = sessionOf(asked)
          const standing = session.ok
            ? await login.standing(session.value, asked.arrival.exchange.at)
            : session
          if (standing.ok) return showSignedIn(asked, standing.value)
          if (standing.code === 'session_ended' || standing.code === 'login_unavailable') {
            return refuse({ ...asked, page: true }, standing)
          }
          return show(asked, { kind: 'signed_out', mayPaste: mayPaste(asked), justNow: false })
        },
        { detail: { summary: 'The sign-in page.' } },
      )
      .post(
        LOGIN_PATHS.start,
        async ({ asked }) => {
          const { arrival, request } = asked
          const body = await readSmallBody(arrival, request, bounds)
          if (!body.ok) return refuse(asked, body)
          const begun = login.begin(arrival.exchange.at)
          if (!begun.ok) return refuse(asked, begun)
          const { authUrl, state, attempt, ticket, expiresInSeconds } = begun.value
          keep(asked, cookies.keepAttempt(attempt, expiresInSeconds))
          const openUrl = ticket === undefined ? undefined : openUrlOf(redirectUri, ticket)
          const paste = !login.returnsHere
          if (!asked.page) {
            return json(asked, {
              auth_url: authUrl.href,
              state,
              expires_in: expiresInSeconds,
              paste,
              ...(openUrl && { open_url: openUrl.href }),
            })
          }
          // A cookie of `127.0.0.1` is not sent to `localhost`, so the sign-in begins again on the host
          // of the redirect.
          const host = request.headers.get('host')?.toLowerCase().replace(/:\d+$/, '')
          const link = openUrl && host !== redirectUri.hostname ? openUrl : authUrl
          const minutes = Math.round(expiresInSeconds / 60)
          return show(asked, { kind: 'under_way', link, provider: authUrl.host, paste, minutes })
        },
        { parse: 'none', detail: { summary: 'Begins a sign-in and returns its URL.' } },
      )
      .get(
        LOGIN_PATHS.open,
        ({ asked, query }) => {
          const { exchange } = asked.arrival
          const opened = login.open(query.ticket ?? '', exchange.at)
          if (!opened.ok) return refuse(asked, opened)
          const { authUrl, attempt } = opened.value
          keep(asked, cookies.keepAttempt(attempt, MAX_ATTEMPT_SECONDS))
          const { headers } = exchange
          headers.set('location', authUrl.href)
          return answers.reply(exchange, new Response(null, { status: 303, headers }))
        },
        {
          query: OPEN_QUERY,
          detail: { summary: "Continues a terminal's sign-in in a browser." },
        },
      )
      .guard({}, (submit) =>
        submit
          .onParse(readLater)
          .derive(async ({ asked }) => {
            const { arrival, request } = asked
            const body = await readSmallBody(arrival, request, bounds)
            if (!body.ok) return early(refuse(asked, body))
            const text = Buffer.from(body.value).toString('utf8')
            return { body: pastedFields(text, isForm(request.headers)) }
          })
          .post(
            LOGIN_PATHS.submit,
            ({ asked, body }) => {
              const answer = pastedAnswer(body)
              // A malformed answer does not use up the attempt: it can be pasted again.
              if (!answer) return refuse(asked, refused('bad_request', { reason: 'no code#state' }))
              return finish(asked, answer)
            },
            {
              body: PASTED_BODY,
              detail: { summary: 'Completes a sign-in by `code#state` and returns a session key.' },
            },
          ),
      )
      .get(
        LOGIN_PATHS.callback,
        ({ asked }) => {
          const { headers } = asked.request
          // It rightly comes from another site. The state shows whether we asked for it.
          const answered = { ...asked, cookie: headers.get('cookie') }
          // OAuth's parameters are left to the OAuth client, which also refuses repeated ones.
          return finish(answered, new URLSearchParams(asked.query))
        },
        { detail: { summary: 'Completes a sign-in by the redirect.' } },
      )
      .get(
        LOGIN_PATHS.status,
        async ({ asked }) => {
          const { at } = asked.arrival.exchange
          const attempt = cookies.attempt(asked.cookie)
          const ended = attempt === undefined ? undefined : login.collect(attempt, at)
          if (ended?.ok && ended.value) return welcome({ ...asked, page: false }, ended.value)
          const session = sessionOf(asked)
          const standing = session.ok ? await login.standing(session.value, at) : session
          if (!standing.ok && standing.code === 'login_unavailable') return refuse(asked, standing)
          return json(asked, {
            ...(standing.ok
              ? wireStatus(standing.value)
              : wireSignedOut(standing.code === 'session_ended' || login.wasEnded(standing))),
            ...(ended?.ok && { pending: true }),
          })
        },
        { detail: { summary: 'Whether somebody is signed in, and until when.' } },
      )
      .post(
        LOGIN_PATHS.refresh,
        async ({ asked }) => {
          const session = sessionOf(asked)
          if (!session.ok) return refuse(asked, session)
          wait(asked)
          const renewed = await login.renew(session.value, asked.arrival.exchange.at)
          if (!renewed.ok) return refuse(asked, renewed)
          return asked.page
            ? showSignedIn(asked, renewed.value)
            : json(asked, wireStatus(renewed.value))
        },
        { parse: 'none', detail: { summary: 'Refreshes the access token now.' } },
      )
      .post(
        LOGIN_PATHS.logout,
        async ({ asked }) => {
          const session = sessionOf(asked)
          if (!session.ok && STAYS_SIGNED_IN.has(session.code)) return refuse(asked, session)
          const ended = session.ok ? await login.end(session.value) : undefined
          if (ended?.ok === false) return refuse(asked, ended)
          keep(asked, cookies.dropSession(), cookies.dropAttempt())
          if (asked.page) return show(asked, { kind: 'signed_out', mayPaste: false, justNow: true })
          return json(asked, { authenticated: false })
        },
        { parse: 'none', detail: { summary: 'Ends the session.' } },
      )
      .get(LOGIN_PATHS.style, ({ asked }) => asset(asked, ASSETS.style), {
        detail: { summary: 'The style of the page.' },
      })
      .get(LOGIN_PATHS.script, ({ asked }) => asset(asked, ASSETS.script), {
        detail: { summary: 'The script of the page.' },
      })
      .get(LOGIN_PATHS.icon, ({ asked }) => asset(asked, ASSETS.icon), {
        detail: { summary: 'The icon of the page.' },
      })
  )
}

function openUrlOf(redirectUri: URL, ticket: string): URL {
  const url = new URL(LOGIN_PATHS.open, redirectUri)
  url.searchParams.set('ticket', ticket)
  return url
}
