// A real authorization server: oidc-provider, certified, with PKCE by S256 required, rotation of
// refresh tokens and detection of their reuse. It runs in the process of the test, on loopback; its
// pages are plain forms, for a browser or for `signIn`, which does what a browser would.

import { generateKeyPairSync } from 'node:crypto'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Configuration } from 'oidc-provider'

export interface AuthorizationServerOptions {
  readonly redirectUri?: string
  readonly scope?: string
  readonly accessTokenSeconds?: number
  /** Whether refresh tokens are issued at all. */
  readonly refreshTokens?: boolean
  /** A client that has to show its secret, in this one way. */
  readonly confidential?: {
    readonly secret: string
    readonly method: 'client_secret_basic' | 'client_secret_post'
  }
}

/** A whole answer, whatever it is made of. */
export interface SaidInstead {
  readonly status: number
  readonly contentType?: string
  readonly body?: string
}

export interface SignIn {
  readonly account?: string
  /** Refuses its consent. */
  readonly deny?: boolean
}

/** What the server said, to be said otherwise; undefined cuts the connection instead. */
export type Rewrite = (
  answer: Readonly<Record<string, unknown>>,
) => Readonly<Record<string, unknown>> | undefined

export interface AuthorizationServer {
  readonly issuer: string
  readonly authorizeUrl: URL
  readonly tokenUrl: URL
  readonly clientId: string
  readonly redirectUri: string
  readonly scope: string
  /** Requests that reached the token endpoint, whatever came of them. */
  readonly asked: number
  /** Codes exchanged, refreshes granted, grants refused, sign-ins revoked for a token's reuse. */
  readonly counts: Readonly<Record<'exchanged' | 'refreshed' | 'refused' | 'revoked', number>>
  /** Signs in and consents by following pages and cookies; gives the redirect back to the client. */
  signIn(authUrl: URL, options?: SignIn): Promise<URL>
  /** The subject whose access token this is, while it is good. */
  accountOf(accessToken: string): Promise<string | undefined>
  /** Each token request is answered with this status, and changes nothing. */
  setFailing(how: number | SaidInstead | undefined): void
  /** Each token request is held for so long first. */
  setDelay(delayMs: number): void
  /** Applied after the server has done what it was asked. */
  setRewrite(rewrite: Rewrite | undefined): void
  /** As an administrator would: no token of that person is good any more. */
  revokeAll(): Promise<void>
  stop(): Promise<void>
}

const CLIENT_ID = 'postern-test-client'
export const TEST_SCOPE = 'user:inference user:profile'
const MAX_STEPS = 12

export async function startAuthorizationServer(
  options: AuthorizationServerOptions = {},
): Promise<AuthorizationServer> {
  const { redirectUri = 'http://127.0.0.1:9/auth/callback', scope = TEST_SCOPE } = options
  const server = http.createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const provider = await quietly(async () => {
    const { default: Provider } = await import('oidc-provider')
    return new Provider(issuer, configuration(redirectUri, scope, options))
  })

  const counts = { exchanged: 0, refreshed: 0, refused: 0, revoked: 0 }
  const grantIds = new Set<string>()
  provider.on('grant.success', (ctx) => {
    const isRefresh = ctx.oidc.params?.['grant_type'] === 'refresh_token'
    counts[isRefresh ? 'refreshed' : 'exchanged'] += 1
  })
  provider.on('grant.error', () => {
    counts.refused += 1
  })
  provider.on('grant.revoked', () => {
    counts.revoked += 1
  })

  let asked = 0
  let failing: SaidInstead | undefined
  let delayMs = 0
  let rewrite: Rewrite | undefined
  const callback = provider.callback()
  const token = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    asked += 1
    if (delayMs > 0) await Bun.sleep(delayMs)
    if (failing !== undefined) {
      const { status, contentType = 'application/json', body = '' } = failing
      response.writeHead(status, contentType === '' ? {} : { 'content-type': contentType })
      response.end(body)
      return
    }
    if (rewrite) rewritten(response, rewrite)
    await callback(request, response)
  }
  const interaction = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const details = await provider.interactionDetails(request, response)
    if (request.method !== 'POST') return page(response, details.prompt.name)
    const form = await formOf(request)
    const finish = (result: Parameters<typeof provider.interactionFinished>[2]): Promise<void> =>
      provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true })
    if (form.has('deny')) return finish({ error: 'access_denied', error_description: 'not today' })
    if (details.prompt.name === 'login') {
      return finish({ login: { accountId: form.get('login') ?? 'alice' } })
    }
    const grant = new provider.Grant({
      accountId: details.session?.accountId ?? '',
      clientId: CLIENT_ID,
    })
    grant.addOIDCScope(String(details.params['scope'] ?? ''))
    const grantId = await grant.save()
    grantIds.add(grantId)
    return finish({ consent: { grantId } })
  }
  server.on('request', (request, response) => {
    const path = request.url ?? '/'
    const work = path.startsWith('/interaction/')
      ? interaction(request, response)
      : path === '/token'
        ? token(request, response)
        : callback(request, response)
    work.catch(() => response.destroy())
  })

  return {
    issuer,
    authorizeUrl: new URL(`${issuer}/auth`),
    tokenUrl: new URL(`${issuer}/token`),
    clientId: CLIENT_ID,
    redirectUri,
    scope,
    get asked() {
      return asked
    },
    counts,
    signIn: (authUrl, how = {}) => signIn(authUrl, redirectUri, how),
    async accountOf(accessToken) {
      return (await provider.AccessToken.find(accessToken))?.accountId
    },
    setFailing(how) {
      const body = '{"error":"temporarily_unavailable"}'
      failing = typeof how === 'number' ? { status: how, body } : how
    },
    setDelay(ms) {
      delayMs = ms
    },
    setRewrite(next) {
      rewrite = next
    },
    async revokeAll() {
      for (const grantId of grantIds) {
        await provider.RefreshToken.revokeByGrantId(grantId)
        await provider.AccessToken.revokeByGrantId(grantId)
      }
    },
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function configuration(
  redirectUri: string,
  scope: string,
  { accessTokenSeconds = 3600, refreshTokens = true, confidential }: AuthorizationServerOptions,
): Configuration {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return {
    clients: [
      {
        client_id: CLIENT_ID,
        token_endpoint_auth_method: confidential?.method ?? 'none',
        ...(confidential && { client_secret: confidential.secret }),
        application_type: 'native',
        redirect_uris: [redirectUri],
        grant_types: ['authorization_code', 'refresh_token'],
        response_types: ['code'],
        id_token_signed_response_alg: 'ES256',
      },
    ],
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'ES256' }] },
    cookies: { keys: ['a key of this test'] },
    scopes: ['openid', ...scope.split(' ')],
    pkce: { required: () => true },
    rotateRefreshToken: true,
    issueRefreshToken: async () => refreshTokens,
    expiresWithSession: async () => false,
    findAccount: (_ctx, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
    interactions: { url: (_ctx, { uid }) => `/interaction/${uid}` },
    features: { devInteractions: { enabled: false } },
    ttl: {
      AccessToken: accessTokenSeconds,
      AuthorizationCode: 60,
      Grant: 86_400,
      IdToken: 600,
      Interaction: 600,
      RefreshToken: 86_400,
      Session: 86_400,
    },
  }
}

/** It says on stderr at each start that Bun is not Node. */
export async function quietly<T>(work: () => Promise<T>): Promise<T> {
  const { warn, info } = console
  console.warn = () => {}
  console.info = () => {}
  try {
    return await work()
  } finally {
    console.warn = warn
    console.info = info
  }
}

function rewritten(response: ServerResponse, rewrite: Rewrite): void {
  const end = response.end.bind(response)
  response.end = (body: unknown): ServerResponse => {
    const said = rewrite(JSON.parse(String(body)) as Record<string, unknown>)
    if (!said) return response.destroy()
    const text = JSON.stringify(said)
    response.setHeader('content-length', Buffer.byteLength(text))
    return end(text)
  }
}

async function formOf(request: IncomingMessage): Promise<URLSearchParams> {
  const chunks: Uint8Array[] = []
  for await (const chunk of request) chunks.push(chunk as Uint8Array)
  return new URLSearchParams(Buffer.concat(chunks).toString())
}

function page(response: ServerResponse, prompt: string): void {
  const field = prompt === 'login' ? '<input name="login" value="alice">' : ''
  response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' })
  response.end(
    `<!doctype html><title>${prompt}</title><form method="post">${field}` +
      '<button type="submit">Continue</button><button name="deny" value="1">Deny</button></form>',
  )
}

/** Goes where it is sent, with cookies by path as RFC 6265 §5.1.4 has them, until it is sent back. */
async function signIn(
  authUrl: URL,
  redirectUri: string,
  { account = 'alice', deny = false }: SignIn,
): Promise<URL> {
  const jar = new Map<string, { readonly path: string; readonly pair: string }>()
  let url = authUrl
  let body: URLSearchParams | undefined
  for (let step = 0; step < MAX_STEPS; step += 1) {
    const pairs = [...jar.values()].filter(({ path }) => url.pathname.startsWith(path))
    const response = await fetch(url, {
      redirect: 'manual',
      method: body ? 'POST' : 'GET',
      headers: { cookie: pairs.map(({ pair }) => pair).join('; ') },
      ...(body ? { body } : {}),
    })
    for (const line of response.headers.getSetCookie()) {
      const [pair = '', ...attributes] = line.split('; ')
      const path = attributes.find((each) => each.startsWith('path='))?.slice(5) ?? '/'
      const [name = '', value] = pair.split('=')
      if (value === '') jar.delete(name + path)
      else jar.set(name + path, { path, pair })
    }
    const text = await response.text()
    const location = response.headers.get('location')
    if (location !== null) {
      url = new URL(location, url)
      body = undefined
      if (url.href.startsWith(redirectUri)) return url
    } else if (response.status === 200 && text.includes('<form')) {
      const asksWho = text.includes('name="login"')
      body = new URLSearchParams(deny ? { deny: '1' } : asksWho ? { login: account } : {})
    } else {
      throw new Error(`the authorization server answered ${response.status}: ${text.slice(0, 300)}`)
    }
  }
  throw new Error('the authorization server never came to an end')
}
