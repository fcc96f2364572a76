// The promise of attack 53 as a whole: a session of everything that can happen, with a word of its
// own in every place that is private, and not one of these words in anything that the process ever
// writes, or in any answer that is its own.

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { binary, start, type Running } from '../support/binary.ts'
import { type Forge, startForge } from '../support/forge.ts'
import { ENCAPSULATED_KEY } from '../support/gate.ts'
import { bearer, eventually } from '../support/sink.ts'
import { dial, head } from '../support/wire.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'

const API_KEY = 'apikey-canary-5d1e'
const IDENTITY_KEY = '0123456789abcdef'.repeat(4)
const SUBJECT = 'subject-canary-77aa'
const PROMPT = 'prompt-canary-19c2'
const ANSWER = 'answer-canary-e0f3'
const QUERY = 'query-canary-4b6d'
const CLIENT_KEY = 'clientkey-canary-aa01'
const ENCLAVE = 'enclave-canary'
const REDIRECT = 'redirect-canary-91'
const CLAIM = 'claim-canary-3e3e'

let gate: Running
let forge: Forge
let upstream: Upstream
let token: string
beforeAll(async () => {
  ;[forge, upstream] = await Promise.all([startForge(), startUpstream(), binary()])
  token = forge.token(forge.claims({ sub: SUBJECT, email: CLAIM }))
  const env = {
    ...forge.env,
    TINFOIL_API_KEY: API_KEY,
    TINFOIL_BASE_URL: upstream.url,
    TINFOIL_ATTESTATION_URL: upstream.url,
    IDENTITY_HASH_KEY: IDENTITY_KEY,
    REQUIRE_EHBP: 'false',
    RATE_LIMIT_RPM: '60',
    RATE_LIMIT_BURST: '30',
    LOG_LEVEL: 'debug',
  }
  gate = await start(env)
  await eventually(async () => (await fetch(`${gate.url}/readyz`)).ok)
})
afterAll(async () => {
  await gate.stop()
  await Promise.all([forge.close(), upstream.close()])
})

/** Answers of the gate's own, whole: status line to body. */
const own: string[] = []

async function ask(
  headers: Readonly<Record<string, string>>,
  method: 'GET' | 'POST' = 'POST',
): Promise<Response> {
  const path = method === 'GET' ? '/v1/models' : '/v1/chat/completions'
  return fetch(`${gate.url}${path}?${QUERY}=${QUERY}`, {
    method,
    headers: { cookie: `a=${CLIENT_KEY}`, 'x-api-key': CLIENT_KEY, ...headers },
    redirect: 'manual',
    ...(method === 'POST' ? { body: JSON.stringify({ messages: [PROMPT] }) } : {}),
  })
}
async function keep(response: Response): Promise<number> {
  own.push(JSON.stringify([...response.headers]) + (await response.text()))
  return response.status
}

async function session(): Promise<void> {
  const good = bearer(token)
  const sealed = { ...good, 'ehbp-encapsulated-key': ENCAPSULATED_KEY }
  const echo = { 'x-echo': API_KEY, location: `http://${REDIRECT}.test/` }

  upstream.respond((_request, response) => void response.end(ANSWER))
  expect((await ask(good)).status).toBe(200)
  expect((await ask(good, 'GET')).status).toBe(200)
  expect(await keep(await ask(sealed))).toBe(502)

  // Streamed whole, and broken off.
  upstream.respond((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write(`data: ${ANSWER}\n\n`)
    setTimeout(() => response.end(`data: ${ANSWER}\n\n`), 10)
  })
  expect(await (await ask(good)).text()).toContain(ANSWER)
  upstream.respond((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write(`data: ${ANSWER}\n\n`)
    setTimeout(() => response.destroy(), 10)
  })
  const broken = await dial(gate.port)
  const body = JSON.stringify({ messages: [PROMPT] })
  const lines = [`POST /v1/chat/completions?${QUERY} HTTP/1.1`, 'Host: gate.test']
  const authorization = `Authorization: Bearer ${token}`
  broken.write(head(...lines, authorization, `Content-Length: ${body.length}`) + body)
  await eventually(async () => broken.received().includes(ANSWER))
  await eventually(async () => gate.output().includes('"end":"upstream_error","'))
  broken.destroy()

  for (const status of [301, 401, 403]) {
    upstream.respond((_request, response) => void response.writeHead(status, echo).end(API_KEY))
    expect(await keep(await ask(good))).toBe(502)
  }
  upstream.respond((_request, response) => void response.destroy())
  expect(await keep(await ask(good))).toBe(502)

  // Refusals: token, scope, form, enclave, query, path, method, host.
  const strangers = [
    bearer(`${token}x`),
    bearer(forge.token(forge.claims({ sub: SUBJECT, exp: 1_700_000_000 }))),
    bearer(forge.token(forge.claims({ sub: SUBJECT, scope: CLAIM }))),
    bearer(forge.token(forge.claims({ sub: SUBJECT, iss: `https://${CLAIM}` }))),
    bearer(forge.token(forge.claims({ sub: SUBJECT }), { alg: 'ES256', kid: CLAIM })),
    { authorization: `Basic ${CLIENT_KEY}` },
    { authorization: token },
    {},
    { ...good, 'ehbp-encapsulated-key': CLIENT_KEY },
    { ...good, 'x-tinfoil-enclave-url': `https://${ENCLAVE}.evil.test` },
    { ...good, 'x-tinfoil-enclave-url': `https://${ENCLAVE}-${'a'.repeat(64)}.tinfoil.sh` },
  ]
  for (const headers of strangers) {
    expect(await keep(await ask(headers as Record<string, string>))).toBeOneOf([400, 401, 403])
  }
  for (const path of [`/v1/models?access_token=${token}`, `/${QUERY}`, `/v1/${QUERY}/x?${QUERY}`]) {
    expect(await keep(await fetch(gate.url + path, { headers: good }))).toBeOneOf([401, 404])
  }
  for (let count = 0; count < 40; count += 1) {
    const response = await ask(good, 'GET')
    await (response.status < 400 ? response.text() : keep(response))
  }
}

test('a session of everything leaves none of its secrets behind', async () => {
  await session()
  const last = crypto.randomUUID()
  await fetch(`${gate.url}/nowhere`, { headers: { 'x-request-id': last } })
  await gate.logged(last)
  const [head64 = '', claims64 = '', signature64 = ''] = token.split('.')
  const upstreamAt = new URL(upstream.url)
  const words = [
    API_KEY,
    IDENTITY_KEY,
    SUBJECT,
    PROMPT,
    ANSWER,
    QUERY,
    CLIENT_KEY,
    ENCLAVE,
    REDIRECT,
    CLAIM,
  ]
  const secrets = [
    ...words,
    ...words.map((word) => Buffer.from(word).toString('base64').replace(/=+$/, '').slice(0, -1)),
    ...words.map((word) => Buffer.from(word).toString('base64url').slice(0, -1)),
    ...words.map((word) => Buffer.from(word).toString('hex')),
    token,
    head64,
    claims64,
    signature64,
    Buffer.from(signature64, 'base64url').toString('hex'),
    Buffer.from(signature64, 'base64url').toString('base64'),
    Buffer.from(claims64, 'base64url').toString(),
    new Bun.CryptoHasher('sha256').update(token).digest('hex'),
    new Bun.CryptoHasher('sha256').update(SUBJECT).digest('hex'),
    ENCAPSULATED_KEY,
    `:${upstreamAt.port}`,
    upstreamAt.origin,
    forge.issuer,
    '/$bunfs',
    '.ts:',
    'node_modules',
  ]
  expect(gate.lines().length).toBeGreaterThan(60)
  expect(secrets.filter((secret) => gate.output().includes(secret))).toEqual([])
  expect(gate.errors()).toBe('')
  expect(own.length).toBeGreaterThan(30)
  const answers = own.join('\n')
  expect(secrets.filter((secret) => answers.includes(secret))).toEqual([])
  // And that the search would have found them: the identity that is logged is the HMAC alone.
  const hmac = new Bun.CryptoHasher('sha256', Buffer.from(IDENTITY_KEY, 'hex'))
  const identity = hmac.update(`${forge.issuer}\0${SUBJECT}`).digest('hex')
  expect(gate.output()).toContain(identity)
})
