// The scene of a sign-in: the compiled binary between a real authorization server and a recording
// API that takes the tokens of that server and no others, and a person with a browser's cookies.

import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type AuthorizationServer,
  type AuthorizationServerOptions,
  startAuthorizationServer,
} from '../support/authorization-server.ts'
import { freePort } from '../support/anthropic.ts'
import { type Running, start } from '../support/binary.ts'
import { eventually } from '../support/sink.ts'
import { type Respond, type Seen, startUpstream, type Upstream } from '../support/upstream.ts'

export const SESSION_SECRET = 'canary4f0be2a17c93d58e6a1f20b47d9c3e85'
/** A page of the provider that shows the code: nothing of ours listens there. */
export const PASTE_URI = 'https://provider.example/oauth/code/callback'

export interface LoginScene {
  readonly gate: Running
  readonly api: Upstream
  readonly server: AuthorizationServer
  readonly folder: string
  readonly databaseFile: string
  /** What the API answers to whom it knows. */
  respond(with_: Respond): void
  /** Tokens that the API no longer takes, whatever the authorization server says. */
  readonly rejected: Set<string>
  /** Every access and refresh token that was ever issued. */
  readonly issued: { readonly access: string[]; readonly refresh: string[] }
  /** Every code and state that came back by `signIn`. */
  readonly codes: readonly string[]
  browser(): Browser
  /** Signs in as a program does, and gives the session's key. */
  signIn(): Promise<string>
  /** The requests since the last call. */
  seen(): Seen[]
  /** Stops the gate in order, and starts it anew on the same file. */
  restart(env?: Readonly<Record<string, string>>): Promise<void>
  /** Every byte that the gate's folder holds. */
  bytesOnDisk(): string
  close(): Promise<void>
}

export interface LoginSceneOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly paste?: boolean
  readonly accessTokenSeconds?: number
  readonly confidential?: AuthorizationServerOptions['confidential']
}

export async function loginScene(options: LoginSceneOptions = {}): Promise<LoginScene> {
  const { env = {}, paste = false, accessTokenSeconds, confidential } = options
  const folder = mkdtempSync(join(tmpdir(), 'postern-login-'))
  const databaseFile = join(folder, 'postern.db')
  const port = await freePort()
  const redirectUri = paste ? PASTE_URI : `http://127.0.0.1:${port}/auth/callback`
  const server = await startAuthorizationServer({
    redirectUri,
    ...(accessTokenSeconds !== undefined && { accessTokenSeconds }),
    ...(confidential && { confidential }),
  })
  const issued = { access: [] as string[], refresh: [] as string[] }
  server.setRewrite((answer) => {
    const { access_token: access, refresh_token: refresh } = answer
    if (typeof access === 'string') issued.access.push(access)
    if (typeof refresh === 'string') issued.refresh.push(refresh)
    return answer
  })

  const api = await startUpstream()
  const rejected = new Set<string>()
  let answer: Respond = ok
  api.respond(async (request, response, body) => {
    const token = request.headers.authorization?.replace(/^Bearer /, '') ?? ''
    const known = !rejected.has(token) && (await server.accountOf(token)) !== undefined
    if (!known) return refuse(response, 401, 'authentication_error', `invalid token ${token}`)
    await answer(request, response, body)
  })

  const settings = {
    CLIENT_ID: server.clientId,
    REDIRECT_URI: redirectUri,
    OAUTH_BASE_URL: server.authorizeUrl.href,
    OAUTH_TOKEN_URL: server.tokenUrl.href,
    OAUTH_SCOPES: server.scope,
    API_BASE_URL: `${api.url}/v1`,
    SESSION_SECRET,
    PORT: String(port),
    DATABASE_URL: `sqlite:${databaseFile}`,
    RATE_LIMIT_RPM: '0',
    PUBLIC_RATE_LIMIT_RPM: '0',
    MAX_IDENTITY_CONCURRENCY: '1000',
    MAX_UPSTREAM_CONCURRENCY: '1000',
    ...env,
  }
  let gate = await start(settings)

  const codes: string[] = []
  const browser = (): Browser => new Browser(gate.url)
  return {
    get gate() {
      return gate
    },
    api,
    server,
    folder,
    databaseFile,
    respond(with_) {
      answer = with_
    },
    rejected,
    issued,
    codes,
    browser,
    async signIn() {
      const person = browser()
      const begun = await person.post('/auth/device/start')
      const { auth_url: authUrl } = (await begun.json()) as { auth_url: string }
      const back = await server.signIn(new URL(authUrl))
      codes.push(...back.searchParams.getAll('code'), ...back.searchParams.getAll('state'))
      const code = `${back.searchParams.get('code')}#${back.searchParams.get('state')}`
      const ended = paste
        ? await person.post('/auth/device/submit', JSON.stringify({ code }))
        : await person.get(back.pathname + back.search)
      const { session_key: key } = (await ended.json()) as { session_key?: string }
      if (key === undefined) throw new Error(`not signed in: ${ended.status}`)
      return key
    },
    seen: () => api.seen.splice(0),
    async restart(more = {}) {
      await gate.stop('SIGTERM')
      gate = await start({ ...settings, ...more })
      await eventually(async () => (await fetch(`${gate.url}/readyz`)).ok)
    },
    bytesOnDisk: () =>
      readdirSync(folder)
        .map((name) => readFileSync(join(folder, name), 'latin1'))
        .join('\n'),
    async close() {
      await gate.stop()
      await api.close()
      await server.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

export const ok: Respond = (_request, response) =>
  void response.writeHead(200, { 'content-type': 'application/json' }).end('{"ok":true}')

export function refuse(
  response: ServerResponse,
  status: number,
  type: string,
  message: string,
): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify({ type: 'error', error: { type, message } }))
}

/** Cookies kept by name, and what a browser says of the page that asks. */
export class Browser {
  readonly cookies = new Map<string, string>()
  readonly #url: string

  constructor(url: string) {
    this.#url = url
  }

  get(path: string, headers: Readonly<Record<string, string>> = {}): Promise<Response> {
    return this.#ask(path, { headers })
  }

  post(path: string, body = '', headers: Readonly<Record<string, string>> = {}): Promise<Response> {
    const type = { 'content-type': 'application/json', origin: this.#url }
    return this.#ask(path, { method: 'POST', headers: { ...type, ...headers }, body })
  }

  async #ask(
    path: string,
    init: { method?: string; body?: string; headers: Readonly<Record<string, string>> },
  ): Promise<Response> {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const headers = { ...(cookie !== '' && { cookie }), ...init.headers }
    const response = await fetch(this.#url + path, { ...init, headers, redirect: 'manual' })
    for (const line of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? []
      if (value === '') this.cookies.delete(name)
      else this.cookies.set(name, value)
    }
    return response
  }
}
