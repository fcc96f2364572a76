// A gate's sign-in over a real socket, with an authorization server that says yes when a test does:
// attempts are tied to their cookie and good once, keys are told once, and it remembers what it was
// asked and with what.

import { randomBytes } from 'node:crypto'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'

export interface LoginAsk {
  readonly method: string
  readonly path: string
  readonly headers: http.IncomingHttpHeaders
  readonly body: string
}

interface Attempt {
  readonly state: string
  readonly ticket: string
  outcome: 'pending' | 'denied' | { readonly key: string }
}

export interface LoginGate {
  readonly url: string
  readonly asks: LoginAsk[]
  readonly attempts: Map<string, Attempt>
  /** The one key that is good. */
  key: string | undefined
  paste: boolean
  expiresIn: unknown
  expiresAt: unknown
  scope: unknown
  renewable: unknown
  /** What it claims in place of its own of these. */
  start: Readonly<Record<string, unknown>>
  /** Answers one path with a status and a body of its own. */
  readonly instead: Map<string, { status: number; body?: string; headers?: Record<string, string> }>
  /** The code that the authorization server gave. */
  readonly code: string
  count(path: string): number
  /** As the last one who began would paste it. */
  pasted(): string
  /** As a browser that follows the link, to its end. */
  browse(link: string, outcome?: 'denied'): Promise<number>
  close(): Promise<void>
}

export async function startLoginGate(): Promise<LoginGate> {
  const server = http.createServer((request, response) => void serve(request, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const gate: LoginGate = {
    url,
    asks: [],
    attempts: new Map(),
    key: undefined,
    paste: true,
    expiresIn: 600,
    expiresAt: '2031-05-06T07:08:09.000Z',
    scope: 'org:read user:inference',
    renewable: true,
    start: {},
    instead: new Map(),
    code: `co-${random(24)}`,
    count: (path) => gate.asks.filter((each) => each.path === path).length,
    pasted: () => `${gate.code}#${[...gate.attempts.values()].at(-1)?.state}`,
    async browse(link, outcome) {
      const opened = await fetch(link, { redirect: 'manual' })
      const state = new URL(opened.headers.get('location') ?? '', link).searchParams.get('state')
      const attempt = [...gate.attempts.values()].find((each) => each.state === state)
      if (attempt) attempt.outcome = outcome ?? { key: newKey() }
      return opened.status
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }

  const newKey = (): string => {
    gate.key = `pst_${random(32)}.${random(32)}`
    return gate.key
  }
  const authUrl = (state: string): string =>
    `https://auth.example/oauth/authorize?code=true&client_id=c&code_challenge=x&state=${state}`
  const standing = (): object => {
    const { expiresAt, scope, renewable } = gate
    return { authenticated: true, expires_at: expiresAt, scope, renewable }
  }
  const refuse = (response: ServerResponse, status: number): void => {
    const error = { type: 'invalid_request_error', message: 'canary-of-the-gate' }
    json(response, status, { type: 'error', error, request_id: 'r' })
  }

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', headers } = request
    const { pathname, searchParams } = new URL(request.url ?? '', url)
    const body = await text(request)
    gate.asks.push({ method, path: pathname, headers, body })
    const other = gate.instead.get(pathname)
    if (other) return void response.writeHead(other.status, other.headers).end(other.body)
    const attemptId = /^postern_login=([\w-]+)$/.exec(headers.cookie ?? '')?.[1] ?? ''
    const attempt = gate.attempts.get(attemptId)
    const bearer = /^Bearer (\S+)$/.exec(headers.authorization ?? '')?.[1]
    const signedIn = bearer !== undefined && bearer === gate.key
    switch (`${method} ${pathname}`) {
      case 'POST /auth/device/start': {
        const id = random(18)
        const made: Attempt = { state: random(64), ticket: random(32), outcome: 'pending' }
        gate.attempts.set(id, made)
        response.setHeader('set-cookie', [
          'other=1; Path=/',
          `postern_login=${id}; HttpOnly; Path=/auth; Max-Age=600; SameSite=Strict`,
        ])
        const { state, ticket } = made
        return json(response, 200, {
          auth_url: authUrl(state),
          state,
          expires_in: gate.expiresIn,
          paste: gate.paste,
          ...(gate.paste ? {} : { open_url: `${url}/auth/device/open?ticket=${ticket}` }),
          ...gate.start,
        })
      }
      case 'GET /auth/device/open': {
        const ticket = searchParams.get('ticket')
        const of = [...gate.attempts.values()].find((each) => each.ticket === ticket)
        if (!of) return refuse(response, 400)
        return void response.writeHead(303, { location: authUrl(of.state) }).end()
      }
      case 'POST /auth/device/submit': {
        if (headers['content-type'] !== 'application/json') return refuse(response, 400)
        gate.attempts.delete(attemptId)
        const { code } = JSON.parse(body) as { code: string }
        const address = URL.parse(code)?.searchParams
        const answer = address ? `${address.get('code')}#${address.get('state')}` : code
        if (!attempt || answer !== `${gate.code}#${attempt.state}`) return refuse(response, 400)
        response.setHeader('set-cookie', 'postern_session=canary-cookie; HttpOnly')
        return json(response, 200, {
          authenticated: true,
          session_key: newKey(),
          expires_at: gate.expiresAt,
        })
      }
      case 'GET /auth/status': {
        if (headers.cookie === undefined) {
          return json(response, 200, signedIn ? standing() : { authenticated: false })
        }
        if (!attempt || attempt.outcome === 'denied') {
          return json(response, 200, { authenticated: false })
        }
        if (attempt.outcome === 'pending') {
          return json(response, 200, { authenticated: false, pending: true })
        }
        gate.attempts.delete(attemptId)
        return json(response, 200, { ...standing(), session_key: attempt.outcome.key })
      }
      case 'POST /auth/refresh':
        return signedIn ? json(response, 200, standing()) : refuse(response, 401)
      case 'POST /auth/logout':
        if (!signedIn) return refuse(response, 401)
        gate.key = undefined
        return json(response, 200, { authenticated: false })
      case 'GET /healthz':
        return json(response, 200, { status: 'ok' })
      default:
        return refuse(response, 404)
    }
  }
  return gate
}

function json(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

function random(bytes: number): string {
  return randomBytes(bytes).toString('base64url')
}
