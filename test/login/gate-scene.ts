// The routes and the page of signing in as they are served: the whole app on a socket, the real login
// over a real file, and a real authorization server. The gate goes by `localhost` and the server by
// `127.0.0.1`, so that a browser takes the way from one to the other for one between two sites.

import { memoryCounters } from '../../src/gate/state.ts'
import type { Database } from 'bun:sqlite'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pino from 'pino'
import { answers } from '../../src/accept/answers.ts'
import { probes } from '../../src/accept/probes.ts'
import { gate, type Parts } from '../../src/accept/app.ts'
import { addressCounter } from '../../src/accept/count-address.ts'
import { cors } from '../../src/accept/cors.ts'
import { loginCookies } from '../../src/accept/login/cookies.ts'
import type { LoginParts } from '../../src/accept/login/parts.ts'
import { loginRoutes } from '../../src/accept/login/routes.ts'
import { rateLimiter } from '../../src/budget/budget.ts'
import { Secret } from '../../src/secret.ts'
import { granted, refused } from '../../src/refusal.ts'
import { login } from '../../src/login/login.ts'
import { sessions } from '../../src/login/sessions.ts'
import type { Ledger } from '../../src/ledger/port.ts'
import { settlement } from '../../src/settle/settle.ts'
import { store } from '../../src/database/store.ts'
import { TABLES } from '../../src/gate/migrations.ts'
import { connectionTo } from '../support/connection.ts'
import {
  type AuthorizationServer,
  startAuthorizationServer,
} from '../support/authorization-server.ts'
import { ask } from '../support/keys.ts'
import { startCodePage } from './code-page.ts'

export interface LoginGate {
  /** As its own person names it. */
  readonly url: string
  readonly port: number
  readonly server: AuthorizationServer
  /** The gate's own connection, for tests in which the disk fails. */
  readonly database: Database
  /** Where the code is shown, to be pasted. */
  readonly pastes: boolean
  /** Everything that was logged. */
  log(): string
  lines(): Readonly<Record<string, unknown>>[]
  close(): Promise<void>
}

export interface LoginGateOptions {
  /** Where the code is shown, to be pasted; otherwise the redirect comes back to the gate. */
  readonly paste?: boolean
  /** PROXY_BASE_URL. */
  readonly publicUrl?: string
  readonly perMinute?: number
  readonly accessTokenSeconds?: number
  readonly refreshTokens?: boolean
  readonly corsOrigins?: readonly string[]
}

const SECRET = new Secret('0123456789abcdef0123456789abcdef')

/** Of ports that were free a moment ago; another test may be faster. */
const MAX_TRIES = 5

export async function loginGate(options: LoginGateOptions = {}): Promise<LoginGate> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await startLoginGate(options)
    } catch (error) {
      if (tries === MAX_TRIES || Object(error).code !== 'EADDRINUSE') throw error
    }
  }
}

async function startLoginGate(options: LoginGateOptions): Promise<LoginGate> {
  const { paste = false, perMinute = 0 } = options
  const port = freePort()
  const url = `http://localhost:${port}`
  const codePage = paste ? await startCodePage() : undefined
  const redirectUri = codePage?.url ?? `${url}/auth/callback`
  const server = await startAuthorizationServer({ ...options, redirectUri })

  const folder = mkdtempSync(join(tmpdir(), 'postern-login-'))
  const opened = store(join(folder, 'gate.db'), TABLES).open()
  if (!opened.ok) throw new Error(opened.reason)
  const connection = connectionTo(opened.database)
  let written = ''
  const log = pino({ level: 'debug' }, { write: (line: string) => void (written += line) })
  const said = answers(
    settlement({ log, ledger: never(), prices: { date: '', priceOf: () => undefined } }),
  )
  const signingIn = login({
    ask,
    ...server,
    returnsHere: !paste,
    secrets: [SECRET],
    sessions: sessions({ connection, secrets: [SECRET] }),
    log,
  })
  const parts: LoginParts = {
    answers: said,
    login: signingIn,
    cookies: loginCookies({
      secure: options.publicUrl?.startsWith('https:') ?? false,
      returnsHere: !paste,
    }),
    countAddress: addressCounter(rateLimiter(memoryCounters, perMinute, perMinute), (peer) =>
      String(peer),
    ),
    publicUrl: () => new URL(options.publicUrl ?? url),
    redirectUri: new URL(redirectUri),
    bodyTimeoutMs: () => 2000,
  }
  const app = gate({
    ...nothingElse(said),
    log,
    cors: cors(options.corsOrigins ?? []),
    login: loginRoutes(parts),
  })
  app.listen({ hostname: '127.0.0.1', port })
  let closed: Promise<void> | undefined
  return {
    url,
    port,
    server,
    database: opened.database,
    pastes: paste,
    log: () => written,
    lines: () =>
      written
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line)),
    close: () => (closed ??= close()),
  }

  async function close(): Promise<void> {
    await app.server?.stop(true)
    await signingIn.idle()
    await server.stop()
    await codePage?.stop()
    connection.close()
    rmSync(folder, { recursive: true })
  }
}

/** The redirect's URL is registered before anybody listens on it. */
function freePort(): number {
  const server = Bun.serve({ hostname: '127.0.0.1', port: 0, fetch: () => new Response() })
  const { port } = server
  void server.stop(true)
  return port ?? 0
}

function nothingElse(said: Parts['open']['answers']): Omit<Parts, 'log' | 'cors' | 'login'> {
  const document = async (): Promise<never> => Promise.reject(new Error('asked'))
  return {
    answers: said,
    countAddress: () => granted(undefined),
    idleSeconds: () => 79,
    routes: [],
    open: {
      answers: said,
      probes: probes({
        answers: said,
        backend: 'anthropic-oauth',
        keys: undefined,
        ledger: never<Ledger>(),
        draining: () => false,
        fileTrouble: () => undefined,
      }),
      countAddress: () => granted(undefined),
      documents: { hpkeKeys: document, attestation: document },
      bodyTimeoutMs: () => 1,
    },
    about: { ...never<Parts['about']>(), counters: memoryCounters },
    realtime: undefined,
    realtimeDoors: () => Promise.reject(new Error('not here')),
    inference: {
      ...never<Parts['inference']>(),
      answers: said,
      admissions: {
        user: undefined,
        device: undefined,
        key: undefined,
        session: () => refused('missing_authorization'),
      },
    },
    devices: undefined,
    admin: undefined,
  }
}

/** No request of these tests gets there. */
function never<T>(): T {
  return {} as T
}
