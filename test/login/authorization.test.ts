// What is said to the authorization server and what is believed of its answers: against a real one,
// and over real sockets against servers that lie, hang and flood.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { hash } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import {
  authorization as authorizationWith,
  type Authorization,
  type AuthorizationOptions,
  type SignInProof,
} from '../../src/login/authorization.ts'
import type { IssuedTokens, TokenAnswer } from '../../src/login/token-answer.ts'
import {
  type AuthorizationServer,
  startAuthorizationServer,
} from '../support/authorization-server.ts'
import { Secret } from '../../src/secret.ts'
import { userAgent } from '../../src/version.ts'
import { until } from '../support/binary.ts'
import { ask } from '../support/keys.ts'
import { seeded } from '../support/random.ts'
import { type Respond, startUpstream, type Upstream } from '../support/upstream.ts'

const authorization = (options: Omit<AuthorizationOptions, 'ask'>): Authorization =>
  authorizationWith({ ask, ...options })

const CANARY = 'canary-0f3a'
const proof: SignInProof = {
  state: `${CANARY}-state`.padEnd(86, 's'),
  verifier: CANARY.padEnd(86, 'v'),
}
const codeAnd = (more: Record<string, string> = {}): URLSearchParams =>
  new URLSearchParams({ code: `${CANARY}-code`, state: proof.state, ...more })

const shown = (answer: TokenAnswer): string =>
  answer.ok ? 'ok' : `${answer.kind}: ${answer.reason}`

describe('with a real authorization server that demands a secret', () => {
  const secret = 'canary client secret: %+/=&é'.replace('é', '-').replaceAll(' ', '_')
  for (const method of ['client_secret_basic', 'client_secret_post'] as const) {
    const way = method === 'client_secret_basic' ? 'basic' : 'post'
    test(`${way}: as it is set, or as it is found; and with no other secret`, async () => {
      const server = await startAuthorizationServer({ confidential: { secret, method } })
      try {
        const options = { ...server, clientSecret: new Secret(secret) }
        for (const clientAuth of [way, undefined] as const) {
          const client = authorization({ ...options, clientAuth })
          const back = await server.signIn(client.authUrl(proof))
          const first = await client.exchange(back.searchParams, proof)
          if (!first.ok) throw new Error(shown(first))
          const asked = server.asked
          const next = await client.refresh(first.value.refreshToken ?? '')
          expect([shown(next), server.asked - asked]).toEqual(['ok', 1])
        }
        for (const wrong of [
          { clientSecret: undefined },
          { clientSecret: new Secret('another') },
        ] as const) {
          const client = authorization({ ...options, ...wrong })
          const back = await server.signIn(client.authUrl(proof))
          expect(shown(await client.exchange(back.searchParams, proof))).toBe(
            'refused: invalid_client',
          )
        }
      } finally {
        await server.stop()
      }
    })
  }
})

test('an endpoint keeps its configured query', async () => {
  const sink = await startUpstream()
  try {
    sink.respond((_request, response) => void response.end('{"access_token":"at"}'))
    const client = authorization({
      clientId: 'c',
      redirectUri: 'https://as.test/back',
      authorizeUrl: new URL('https://as.test/authorize?p=b2c_1'),
      tokenUrl: new URL(`${sink.url}/token?p=b2c_1`),
      issuer: 'https://as.test',
      scope: '',
    })
    expect(client.authUrl(proof).searchParams.get('p')).toBe('b2c_1')
    expect(shown(await client.refresh('rt'))).toBe('ok')
    expect(sink.seen.map(({ url }) => url)).toEqual(['/token?p=b2c_1'])
  } finally {
    await sink.close()
  }
})

/** A client with a secret, whose server is at `url`. */
const confidential = (url: string) =>
  authorization({
    clientId: 'c',
    clientSecret: new Secret('s'),
    redirectUri: 'https://as.test/back',
    authorizeUrl: new URL(url),
    tokenUrl: new URL(url),
    issuer: 'https://as.test',
    scope: '',
  })

test('a server that accepts the secret in only one way is asked in the other way once', async () => {
  const sink = await startUpstream()
  try {
    const seen: string[] = []
    sink.respond((request, response, body) => {
      const sent = new URLSearchParams(body.toString())
      const { authorization = '' } = request.headers
      seen.push(`${authorization === '' ? '' : 'basic'}${sent.has('client_secret') ? 'post' : ''}`)
      const good = seen.at(-1) === 'post'
      response.writeHead(good ? 200 : 401, { 'content-type': 'application/json' })
      response.end(good ? '{"access_token":"at"}' : '{"error":"invalid_client"}')
    })
    const client = confidential(sink.url)
    for (let n = 0; n < 3; n += 1) expect(shown(await client.refresh('rt'))).toBe('ok')
    expect(seen).toEqual(['basic', 'post', 'post', 'post'])
  } finally {
    await sink.close()
  }
})

test('two concurrent requests both find the accepted way', async () => {
  const sink = await startUpstream()
  try {
    const both = Promise.withResolvers<void>()
    let basic = 0
    sink.respond(async (request, response, body) => {
      if (request.headers.authorization !== undefined) {
        basic += 1
        if (basic === 2) both.resolve()
        await both.promise
      }
      const good = new URLSearchParams(body.toString()).has('client_secret')
      response.writeHead(good ? 200 : 401, { 'content-type': 'application/json' })
      response.end(good ? '{"access_token":"at"}' : '{"error":"invalid_client"}')
    })
    const client = confidential(sink.url)
    const answers = await Promise.all([client.refresh('rt'), client.exchange(codeAnd(), proof)])
    expect(answers.map(shown)).toEqual(['ok', 'ok'])
    expect(shown(await client.refresh('rt'))).toBe('ok')
    expect(basic).toBe(2)
  } finally {
    await sink.close()
  }
})

describe('with a real authorization server', () => {
  let server: AuthorizationServer
  let client: Authorization
  beforeAll(async () => {
    server = await startAuthorizationServer()
    client = authorization(server)
  })
  afterAll(() => server.stop())
  const signedIn = async (): Promise<IssuedTokens> => {
    const back = await server.signIn(client.authUrl(proof))
    const answer = await client.exchange(back.searchParams, proof)
    if (!answer.ok) throw new Error(shown(answer))
    return answer.value
  }

  test('a code is exchanged for the tokens of the person who signed in', async () => {
    const issued = await signedIn()
    expect(await server.accountOf(issued.accessToken)).toBe('alice')
    expect(issued).toMatchObject({ lifetimeSeconds: 3600, scope: server.scope })
    expect(issued.refreshToken).toBeString()
  })
  test('a code is valid once, and its second use ends the first tokens', async () => {
    const back = await server.signIn(client.authUrl(proof))
    const first = await client.exchange(back.searchParams, proof)
    expect(shown(await client.exchange(back.searchParams, proof))).toBe('ended: invalid_grant')
    expect(await server.accountOf(first.ok ? first.value.accessToken : '')).toBeUndefined()
  })
  test('a code is worth nothing without its verifier', async () => {
    const back = await server.signIn(client.authUrl(proof))
    const other = { ...proof, verifier: 'w'.repeat(86) }
    expect(shown(await client.exchange(back.searchParams, other))).toBe('ended: invalid_grant')
  })
  test('a refresh rotates the refresh token, and the old one is refused', async () => {
    const issued = await signedIn()
    const next = await client.refresh(issued.refreshToken ?? '')
    if (!next.ok) throw new Error(shown(next))
    expect(await server.accountOf(next.value.accessToken)).toBe('alice')
    expect(next.value.refreshToken).not.toBe(issued.refreshToken)
    expect(shown(await client.refresh(issued.refreshToken ?? ''))).toBe('ended: invalid_grant')
  })
  test('a person who refuses consent is told so, and gets no tokens', async () => {
    const back = await server.signIn(client.authUrl(proof), { deny: true })
    expect(back.searchParams.get('error')).toBe('access_denied')
    expect(shown(await client.exchange(back.searchParams, proof))).toBe('refused: denied')
  })
  for (const [name, change] of [
    ['without the challenge', { code_challenge: '', code_challenge_method: '' }],
    ['with PKCE plain', { code_challenge: proof.verifier, code_challenge_method: 'plain' }],
  ] as const) {
    test(`an address tampered with on its way, ${name}, leads to no token`, async () => {
      const url = client.authUrl(proof)
      for (const [key, value] of Object.entries(change)) {
        if (value === '') url.searchParams.delete(key)
        else url.searchParams.set(key, value)
      }
      const back = await server.signIn(url)
      expect(shown(await client.exchange(back.searchParams, proof))).toBe('refused: error')
    })
  }
  test(
    'PKCE is S256, whatever the verifier',
    seeded(({ int }) => {
      for (let n = 0; n < 200; n += 1) {
        const verifier = Array.from({ length: 86 }, () => int(36).toString(36)).join('')
        const { searchParams } = client.authUrl({ state: `state-${n}`, verifier })
        expect(Object.fromEntries(searchParams)).toEqual({
          response_type: 'code',
          client_id: server.clientId,
          redirect_uri: server.redirectUri,
          scope: server.scope,
          state: `state-${n}`,
          code_challenge: hash('sha256', verifier, 'base64url'),
          code_challenge_method: 'S256',
        })
      }
    }),
  )
  test('without a configured scope none is requested', () => {
    const url = authorization({ ...server, scope: '' }).authUrl(proof)
    expect(url.searchParams.has('scope')).toBe(false)
  })
  test('a mix-up: the answer of another server is refused, and its code is sent nowhere', async () => {
    const other = await startAuthorizationServer()
    const honest = authorization({ ...other })
    const back = await other.signIn(honest.authUrl(proof))
    const asked = server.asked
    expect(shown(await client.exchange(back.searchParams, proof))).toBe('refused: iss')
    expect(server.asked).toBe(asked)
    expect(other.asked).toBe(0)
    expect(shown(await honest.exchange(back.searchParams, proof))).toBe('ok')
    await other.stop()
  })
})

describe('over a socket', () => {
  let sink: Upstream
  let options: Omit<AuthorizationOptions, 'ask'>
  let client: Authorization
  beforeEach(async () => {
    sink = await startUpstream()
    options = {
      clientId: 'client',
      redirectUri: 'http://127.0.0.1:1/auth/callback',
      authorizeUrl: new URL('https://as.test/authorize'),
      tokenUrl: new URL(`${sink.url}/${CANARY}/token`),
      issuer: 'https://as.test',
      scope: 'a b',
      timeoutMs: 10_000,
    }
    client = authorization(options)
  })
  afterEach(() => sink.close())

  const good = { access_token: 'at', token_type: 'Bearer', expires_in: 60, refresh_token: 'rt' }
  const json = (body: unknown, status = 200, more: Record<string, string> = {}): Respond => {
    const text = typeof body === 'string' ? body : JSON.stringify(body)
    return (_request, response) => {
      response.writeHead(status, { 'content-type': 'application/json', ...more }).end(text)
    }
  }
  /** Both requests meet the same answer. */
  const both = async (respond: Respond): Promise<string> => {
    sink.respond(respond)
    const [first, second] = [await client.refresh(CANARY), await client.exchange(codeAnd(), proof)]
    expect(shown(second)).toBe(shown(first))
    expect(shown(first)).not.toContain(CANARY)
    expect(shown(first)).not.toContain(String(sink.port))
    return shown(first)
  }
  const refreshed = async (body: unknown): Promise<IssuedTokens> => {
    sink.respond(json(body))
    const answer = await client.refresh('rt')
    if (!answer.ok) throw new Error(shown(answer))
    return answer.value
  }

  test('a public client proves itself by the verifier alone', async () => {
    sink.respond(json(good))
    expect(shown(await client.exchange(codeAnd(), proof))).toBe('ok')
    expect(shown(await client.refresh('rt-old'))).toBe('ok')
    const [exchange, refresh] = sink.seen.map(({ body }) =>
      Object.fromEntries(new URLSearchParams(body.toString())),
    )
    expect(exchange).toEqual({
      grant_type: 'authorization_code',
      client_id: 'client',
      redirect_uri: options.redirectUri,
      code: `${CANARY}-code`,
      code_verifier: proof.verifier,
    })
    expect(refresh).toEqual({
      grant_type: 'refresh_token',
      client_id: 'client',
      refresh_token: 'rt-old',
    })
    for (const { headers, method } of sink.seen) {
      expect([method, headers.authorization, headers['user-agent']]).toEqual([
        'POST',
        undefined,
        userAgent,
      ])
    }
  })

  describe('a redirect that is not the answer to this sign-in asks the server nothing', () => {
    const twice = (name: string, value: string): URLSearchParams => {
      const answer = codeAnd({ iss: 'https://as.test' })
      answer.append(name, value)
      return answer
    }
    const without = (name: string): URLSearchParams => {
      const answer = codeAnd()
      answer.delete(name)
      return answer
    }
    for (const [name, answer, why] of [
      ['state missing', without('state'), 'state'],
      ['state empty', codeAnd({ state: '' }), 'state'],
      ['state of another', codeAnd({ state: 'x'.repeat(86) }), 'state'],
      ['state cut short', codeAnd({ state: proof.state.slice(0, -1) }), 'state'],
      ['state in another case', codeAnd({ state: proof.state.toUpperCase() }), 'state'],
      ['state twice', twice('state', proof.state), 'state'],
      ['a second state', twice('state', 'x'), 'state'],
      ['iss of another', codeAnd({ iss: 'https://evil.test' }), 'iss'],
      ['iss with a slash more', codeAnd({ iss: 'https://as.test/' }), 'iss'],
      ['iss empty', codeAnd({ iss: '' }), 'iss'],
      ['iss twice', twice('iss', 'https://as.test'), 'iss'],
      ['an error', new URLSearchParams({ error: 'server_error', state: proof.state }), 'error'],
      ['a refusal', new URLSearchParams({ error: 'access_denied', state: proof.state }), 'denied'],
      ['a refusal without state', new URLSearchParams({ error: 'access_denied' }), 'state'],
      ['a refusal beside a code', codeAnd({ error: 'access_denied' }), 'denied'],
      ['code missing', without('code'), 'malformed'],
      ['code empty', codeAnd({ code: '' }), 'malformed'],
      ['code twice', twice('code', 'other'), 'malformed'],
      ['an implicit token', codeAnd({ token: 'x' }), 'answer'],
      ['an ID token', codeAnd({ id_token: 'x' }), 'answer'],
      ['a JWT response', codeAnd({ response: 'x' }), 'answer'],
      ['nothing', new URLSearchParams(), 'state'],
    ] as const) {
      test(name, async () => {
        expect(shown(await client.exchange(answer, proof))).toBe(`refused: ${why}`)
        expect(sink.seen).toHaveLength(0)
      })
    }
    test('but iss need not be sent, and the right one is right', async () => {
      sink.respond(json(good))
      expect(shown(await client.exchange(codeAnd(), proof))).toBe('ok')
      expect(shown(await client.exchange(codeAnd({ iss: 'https://as.test' }), proof))).toBe('ok')
    })
  })

  describe('responses without tokens', () => {
    for (const [name, body, why] of [
      ['nothing', '', 'malformed'],
      ['a page', `<html>${CANARY}</html>`, 'malformed'],
      ['null', 'null', 'malformed'],
      ['a list', [good], 'malformed'],
      ['cut JSON', JSON.stringify(good).slice(0, -1), 'malformed'],
      ['no access token', { ...good, access_token: undefined }, 'malformed'],
      ['an empty access token', { ...good, access_token: '' }, 'malformed'],
      ['an access token that is a number', { ...good, access_token: 5 }, 'malformed'],
      [
        'an access token with a line break',
        { ...good, access_token: `at\r\nx: ${CANARY}` },
        'token',
      ],
      ['an access token with a space', { ...good, access_token: 'a t' }, 'token'],
      ['an access token beyond ASCII', { ...good, access_token: 'tökén' }, 'token'],
      ['an access token of 9 KB', { ...good, access_token: 'a'.repeat(9000) }, 'token'],
      ['a token bound to a key', { ...good, token_type: 'DPoP' }, 'token type'],
      ['a token type that nobody knows', { ...good, token_type: CANARY }, 'token type'],
      [
        'an error that says 200',
        { error: 'invalid_grant', error_description: CANARY },
        'malformed',
      ],
    ] as const) {
      test(name, async () => {
        expect(await both(json(body))).toBe(`refused: ${why}`)
      })
    }
  })

  describe('unusual responses that are allowed', () => {
    test('no life is said', async () => {
      expect((await refreshed({ ...good, expires_in: undefined })).lifetimeSeconds).toBeUndefined()
    })
    test('a life as text', async () => {
      expect((await refreshed({ ...good, expires_in: '3600' })).lifetimeSeconds).toBe(3600)
    })
    test('a life of ages counts as a year', async () => {
      expect((await refreshed({ ...good, expires_in: 1e300 })).lifetimeSeconds).toBe(31_536_000)
    })
    for (const [name, more, life] of [
      ['null', { expires_in: null }, undefined],
      ['in words', { expires_in: 'soon' }, undefined],
      ['below nothing', { expires_in: -1 }, undefined],
      ['of nothing', { expires_in: 0 }, undefined],
      ['as text, with blanks', { expires_in: ' 60 ' }, 60],
      ['as a decimal text', { expires_in: '3599.0' }, 3599],
      ['without end', '{"access_token":"at","refresh_token":"rt","expires_in":1e999}', 31_536_000],
    ] as const) {
      test(`a life ${name}`, async () => {
        const said = typeof more === 'string' ? more : { ...good, ...more }
        const { lifetimeSeconds, refreshToken } = await refreshed(said as never)
        expect([lifetimeSeconds, refreshToken]).toEqual([life, 'rt'])
      })
    }
    test('null members are absent, and unknown ones are ignored', async () => {
      const said = {
        ...good,
        scope: null,
        token_type: null,
        expires_in: null,
        id_token: null,
        x: {},
      }
      const absent = { lifetimeSeconds: undefined, scope: undefined }
      expect(await refreshed(said)).toMatchObject({
        accessToken: 'at',
        refreshToken: 'rt',
        ...absent,
      })
      for (const refresh_token of [null, '', 5, ['rt']]) {
        expect((await refreshed({ ...good, refresh_token })).refreshToken).toBeUndefined()
      }
    })
    test('any status from 200 to 299, and any content type', async () => {
      for (const status of [200, 201, 202, 299]) {
        sink.respond(json(good, status, { 'content-type': 'text/plain' }))
        expect(shown(await client.refresh('rt'))).toBe('ok')
      }
      sink.respond(json(`\uFEFF${JSON.stringify(good)}`))
      expect(shown(await client.refresh('rt'))).toBe('ok')
      const form = 'access_token=at&token_type=bearer&expires_in=60&refresh_token=rt&scope=a%20b'
      sink.respond(json(form, 200, { 'content-type': 'application/x-www-form-urlencoded' }))
      expect(await client.refresh('rt')).toMatchObject({
        value: { accessToken: 'at', refreshToken: 'rt', lifetimeSeconds: 60, scope: 'a b' },
      })
    })
    test('a refresh token that no header could carry, and one of 9 KB: it goes in a body', async () => {
      for (const refresh_token of ['r t', 'rö', 'r'.repeat(9000)]) {
        expect((await refreshed({ ...good, refresh_token })).refreshToken).toBe(refresh_token)
      }
    })
    test('a rotated refresh token is kept even if its access token is unusable', async () => {
      for (const more of [
        { access_token: null },
        { access_token: 'a t' },
        { token_type: 'DPoP' },
      ]) {
        sink.respond(json({ ...good, ...more }))
        const refusal = { ok: false, kind: 'refused', refreshToken: 'rt' }
        expect(await client.refresh('old')).toMatchObject(refusal as never)
      }
    })
    test('no new refresh token', async () => {
      expect((await refreshed({ ...good, refresh_token: undefined })).refreshToken).toBeUndefined()
    })
    test('a token type in any case, with blanks, as a longer word, or none', async () => {
      for (const token_type of ['bEaReR', ' Bearer ', 'BearerToken', '', undefined, 7]) {
        expect((await refreshed({ ...good, token_type })).accessToken).toBe('at')
      }
    })
    test('a scope that is a list', async () => {
      expect((await refreshed({ ...good, scope: ['a', 'b'] })).scope).toBe('a b')
      expect((await refreshed({ ...good, scope: { a: 1 } })).scope).toBeUndefined()
    })
    test('a narrower scope, none, and one that could be no scope', async () => {
      expect((await refreshed({ ...good, scope: 'a' })).scope).toBe('a')
      expect((await refreshed(good)).scope).toBeUndefined()
      for (const scope of ['a\nb', 'a"b', '', 'a'.repeat(4097)]) {
        expect((await refreshed({ ...good, scope })).scope).toBeUndefined()
      }
    })
    test('an ID token is not looked at, whatever it is', async () => {
      for (const id_token of ['garbage', 5, null, { a: 1 }]) {
        expect((await refreshed({ ...good, id_token })).refreshToken).toBe('rt')
      }
    })
  })

  describe('the meaning of a status', () => {
    for (const [status, why] of [
      [302, 'refused: status 302'],
      [307, 'refused: status 307'],
      [308, 'refused: status 308'],
      [408, 'unavailable: status 408'],
      [425, 'unavailable: status 425'],
      [429, 'unavailable: status 429'],
      [500, 'unavailable: status 500'],
      [503, 'unavailable: status 503'],
      [599, 'unavailable: status 599'],
    ] as const) {
      test(`${status}, though its body has tokens`, async () => {
        const respond = json(good, status, { location: `${sink.url}/elsewhere` })
        expect(await both(respond)).toBe(why)
        expect(sink.seen.map(({ url }) => url)).toEqual([
          options.tokenUrl.pathname,
          options.tokenUrl.pathname,
        ])
      })
    }
    for (const [error, why] of [
      ['invalid_grant', 'ended: invalid_grant'],
      ['invalid_client', 'refused: invalid_client'],
      ['invalid_request', 'refused: invalid_request'],
      ['unauthorized_client', 'refused: unauthorized_client'],
      ['invalid_scope', 'refused: invalid_scope'],
      [`of its own: ${CANARY}`, 'refused: error'],
      ['', 'refused: malformed'],
    ] as const) {
      test(`400 with ${JSON.stringify(error)}`, async () => {
        expect(await both(json({ error, error_description: CANARY }, 400))).toBe(why)
      })
    }
    test('a challenge does not hide an error in the body', async () => {
      const challenge = { 'www-authenticate': `Bearer error="${CANARY}"` }
      expect(await both(json({ error: 'invalid_grant' }, 401, challenge))).toBe(
        'ended: invalid_grant',
      )
    })
    test('an error in an HTML page ends nothing', async () => {
      const respond = json('{"error":"invalid_grant"}', 400, { 'content-type': 'text/html' })
      expect(await both(respond)).toBe('refused: invalid_grant')
    })
    test('200 and 204 without a word are no tokens', async () => {
      for (const status of [200, 204])
        expect(await both(json('', status))).toBe('refused: malformed')
    })
    for (const [name, status, type, body, why] of [
      ['a page', 403, 'text/html', `<html>${CANARY}</html>`, 'refused: status 403'],
      ['nothing', 401, '', '', 'refused: status 401'],
      ['a word', 400, 'text/plain', 'Bad Request', 'refused: malformed'],
      [
        'an object in its place',
        400,
        'application/json',
        '{"error":{"code":"invalid_grant"}}',
        'ended: invalid_grant',
      ],
      [
        'another case',
        400,
        'application/json',
        '{"error":"INVALID_GRANT"}',
        'ended: invalid_grant',
      ],
      [
        'a problem',
        400,
        'application/problem+json',
        '{"error":"invalid_grant"}',
        'ended: invalid_grant',
      ],
      [
        'a form',
        400,
        'application/x-www-form-urlencoded',
        'error=invalid_client',
        'refused: invalid_client',
      ],
      [
        'what passes',
        400,
        'application/json',
        '{"error":"temporarily_unavailable"}',
        'unavailable: temporarily_unavailable',
      ],
      ['gone', 410, 'application/json', '[]', 'refused: status 410'],
    ] as const) {
      test(`${status} with ${name}`, async () => {
        expect(await both(json(body, status, { 'content-type': type }))).toBe(why)
      })
    }
  })

  test('a server that never answers, or never ends, is waited for so long and no longer', async () => {
    client = authorization({ ...options, timeoutMs: 400 })
    const startedAt = performance.now()
    expect(await both(() => {})).toBe('unavailable: TimeoutError')
    const dripping = await both((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' })
      response.write('{"access_token":')
    })
    expect(dripping).toBe('unavailable: TimeoutError')
    expect(performance.now() - startedAt).toBeGreaterThan(1500)
  })
  test('of a gigabyte, a little is read', async () => {
    let sent = 0
    let closed = 0
    const respond: Respond = (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' })
      const chunk = Buffer.alloc(65_536, 0x20)
      const more = (): void => {
        while (sent < 2 ** 30 && !response.destroyed && response.write(chunk)) sent += chunk.length
      }
      response.on('drain', more)
      response.on('close', () => {
        closed += 1
      })
      more()
    }
    expect(await both(respond)).toBe('refused: too large')
    expect(sent).toBeLessThan(32 * 2 ** 20)
    expect(sink.seen).toHaveLength(2)
    await until(() => closed === 2)
  })
  test('nor is a small body that unpacks to a large one', async () => {
    const bomb = gzipSync(JSON.stringify(good) + ' '.repeat(2 ** 25))
    const respond: Respond = (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' })
      response.end(bomb)
    }
    expect(await both(respond)).toBe('refused: too large')
  })
  test('a connection that is cut, before or within the answer', async () => {
    expect(await both((_request, response) => void response.destroy())).toStartWith('unavailable: ')
    const within = await both((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': '100' })
      response.write('{"access_token":"at"')
      setTimeout(() => response.destroy(), 20)
    })
    expect(within).toStartWith('unavailable: ')
    // Sent once each: a refresh token that is sent twice is a reuse.
    expect(sink.seen).toHaveLength(4)
  })
  test('a closed port', async () => {
    await sink.close()
    expect(shown(await client.refresh(CANARY))).toBe('unavailable: ECONNREFUSED')
  })
  test('a proxy of the environment sees nothing', async () => {
    const proxy = await startUpstream()
    const before = process.env['HTTP_PROXY']
    process.env['HTTP_PROXY'] = proxy.url
    try {
      sink.respond(json(good))
      expect(shown(await client.refresh('rt'))).toBe('ok')
      expect(proxy.seen).toHaveLength(0)
    } finally {
      if (before === undefined) delete process.env['HTTP_PROXY']
      else process.env['HTTP_PROXY'] = before
      await proxy.close()
    }
  })
})
