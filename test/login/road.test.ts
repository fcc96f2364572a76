// The whole road of the one who has signed in, through the compiled binary: from the page to the API
// and back, streamed and aborted, with the one renewal that a refused token brings; and at the end,
// that no token left its places.

import SDK, { toFile } from '@anthropic-ai/sdk'
import { Database } from 'bun:sqlite'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { statSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { userAgent } from '../../src/version.ts'
import { refusalOf, VERSION } from '../support/anthropic.ts'
import { type LogLine, until } from '../support/binary.ts'
import { eventually } from '../support/sink.ts'
import { dial, head } from '../support/wire.ts'
import { type LoginScene, loginScene, ok, refuse, SESSION_SECRET } from './scene.ts'

let at: LoginScene
let key: string
const sse = await Bun.file(new URL('../vectors/anthropic/plain.sse', import.meta.url)).text()
/** Session keys that were given out, and everything that was answered beside. */
const keys: string[] = []
const heard: string[] = []
const codes: string[] = []

const question = {
  model: 'claude-haiku-4-5',
  max_tokens: 64,
  messages: [{ role: 'user' as const, content: 'Hello!' }],
}
const body = JSON.stringify(question)

async function signIn(): Promise<string> {
  key = await at.signIn()
  keys.push(key)
  at.seen()
  return key
}
const sdk = (options: object = {}): SDK =>
  new SDK({
    baseURL: at.gate.url,
    apiKey: key,
    authToken: null,
    maxRetries: 0,
    logLevel: 'off',
    ...options,
  })
async function ask(path: string, init: RequestInit = {}, credential = key): Promise<Response> {
  const response = await fetch(at.gate.url + path, {
    ...init,
    headers: { ...VERSION, 'x-api-key': credential, ...(init.headers as object) },
  })
  const copy = response.clone()
  heard.push(JSON.stringify([...response.headers]), await copy.text())
  return response
}
const messages = (init: RequestInit = {}): Promise<Response> =>
  ask('/v1/messages', {
    method: 'POST',
    body,
    ...init,
    headers: { 'content-type': 'application/json', ...(init.headers as object) },
  })
const logged = (response: Response): Promise<LogLine> =>
  at.gate.logged(response.headers.get('x-request-id') ?? '')
const rows = (requestId: string): unknown[] => {
  const database = new Database(at.databaseFile, { readonly: true })
  try {
    const columns = 'route, upstream, model, status, end_reason, usage'
    return database.query(`SELECT ${columns} FROM ledger WHERE request_id = ?`).all(requestId)
  } finally {
    database.close()
  }
}
/** The row of a request that has ended, once it is written; there is never a second. */
const row = async (response: Response): Promise<Record<string, unknown>> => {
  const id = response.headers.get('x-request-id') ?? ''
  const [found, ...more] = await until(() => {
    const all = rows(id) as { end_reason: unknown }[]
    return all.length > 0 && all[0]?.end_reason !== null ? all : undefined
  })
  expect(more).toEqual([])
  return found as Record<string, unknown>
}
const tokenOf = (headers: { authorization?: string | undefined }): string =>
  headers.authorization?.replace('Bearer ', '') ?? ''
const latest = (): string => at.issued.access.at(-1) ?? ''

function streamed(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' })
  response.end(sse)
}

beforeAll(async () => {
  at = await loginScene()
  await signIn()
})
afterAll(() => at.close())
beforeEach(() => {
  at.respond(ok)
  at.rejected.clear()
  at.server.setFailing(undefined)
  at.server.setDelay(0)
  at.seen()
})

describe('a request', () => {
  test('is sent with its own headers, the version, the beta once, and the token', async () => {
    const response = await messages({
      headers: {
        'anthropic-beta': 'context-1m-2025-08-07,oauth-2025-04-20',
        'user-agent': 'Claude Code/1.0',
        cookie: 'a=b',
        origin: 'https://page.example',
        'x-forwarded-for': '10.1.2.3',
        'x-claude-code-session-id': 's-1',
        'accept-encoding': 'gzip',
        accept: 'application/json',
      },
    })
    expect(response.status).toBe(200)
    const [seen, ...more] = at.seen()
    expect(more).toEqual([])
    expect(seen?.body.toString()).toBe(body)
    const { host, ...headers } = seen?.headers ?? {}
    expect(host).toBe(`127.0.0.1:${at.api.port}`)
    expect(headers).toEqual({
      'user-agent': userAgent,
      accept: 'application/json',
      'accept-encoding': 'gzip',
      'anthropic-beta': 'context-1m-2025-08-07,oauth-2025-04-20',
      'anthropic-version': '2023-06-01',
      authorization: `Bearer ${latest()}`,
      'content-length': String(body.length),
      'content-type': 'application/json',
      'x-claude-code-session-id': 's-1',
    })
  })

  test("keeps its query, its version and its betas' order", async () => {
    await ask('/v1/messages?beta=true', {
      method: 'POST',
      body,
      headers: { 'anthropic-version': '2099-01-01', 'anthropic-beta': 'z, a' },
    })
    const [seen] = at.seen()
    expect(seen?.url).toBe('/v1/messages?beta=true')
    expect(seen?.headers['anthropic-version']).toBe('2099-01-01')
    expect(seen?.headers['anthropic-beta']).toBe('z, a,oauth-2025-04-20')
  })

  test('is answered whole to the SDK, by either credential, and stands in log and ledger', async () => {
    at.respond((_request, response) => {
      response.writeHead(200, {
        'content-type': 'application/json',
        'request-id': 'req_1',
        'anthropic-ratelimit-unified-status': 'allowed',
        'set-cookie': 'a=b',
      })
      const usage = { input_tokens: 12, output_tokens: 3 }
      response.end(JSON.stringify({ type: 'message', model: question.model, content: [], usage }))
    })
    for (const client of [sdk(), sdk({ apiKey: null, authToken: key })]) {
      const { data, response } = await client.messages.create(question).withResponse()
      expect(data.usage.input_tokens).toBe(12)
      expect(response.headers.get('anthropic-ratelimit-unified-status')).toBe('allowed')
      expect(response.headers.get('set-cookie')).toBeNull()
      expect(await row(response)).toEqual({
        route: '/v1/messages',
        upstream: 'anthropic-oauth',
        model: question.model,
        status: 200,
        end_reason: 'complete',
        usage: 'exact',
      })
      expect(await logged(response)).toMatchObject({
        upstream: 'anthropic-oauth',
        input_tokens: 12,
      })
    }
  })

  test('streams, byte for byte', async () => {
    at.respond((_request, response) => streamed(response))
    const response = await messages({ body: JSON.stringify({ ...question, stream: true }) })
    expect(await response.text()).toBe(sse)
    expect((await row(response))['usage']).toBe('exact')
    const types: string[] = []
    for await (const event of sdk().messages.stream(question)) types.push(event.type)
    expect([types.at(0), types.at(-1)]).toEqual(['message_start', 'message_stop'])
  })

  test('aborted midway is ended at the API too, and recorded once', async () => {
    const { promise: closed, resolve } = Promise.withResolvers<void>()
    at.respond((_request, response) => {
      response.on('close', resolve)
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write(sse.slice(0, sse.indexOf('event: message_delta')))
    })
    const stream = await sdk()
      .messages.create({ ...question, stream: true })
      .withResponse()
    for await (const event of stream.data) if (event.type === 'content_block_delta') break
    stream.data.controller.abort()
    await closed
    expect(await row(stream.response)).toMatchObject({ end_reason: 'client_gone', status: 200 })
  })
})

test('a body with a Content-Encoding passes unchanged, with its header', async () => {
  at.seen()
  const coded = new Uint8Array(Bun.gzipSync(Buffer.from(body)))
  const response = await messages({ body: coded, headers: { 'content-encoding': 'gzip' } })
  expect(response.status).toBe(200)
  const [seen] = at.seen()
  expect(seen?.headers['content-encoding']).toBe('gzip')
  expect(seen?.body.equals(coded)).toBeTrue()
})

describe("the API's table", () => {
  const batch = { id: 'msgbatch_01', type: 'message_batch', processing_status: 'ended' }
  test('batches', async () => {
    at.respond((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' })
      response.end(JSON.stringify({ ...batch, data: [batch], has_more: false }))
    })
    const { batches } = sdk().messages
    const params = question as SDK.MessageCreateParamsNonStreaming
    expect((await batches.create({ requests: [{ custom_id: 'a', params }] })).id).toBe(batch.id)
    expect((await batches.list({ limit: 3 })).data[0]?.id).toBe(batch.id)
    expect((await batches.retrieve(batch.id)).id).toBe(batch.id)
    expect((await batches.cancel(batch.id)).id).toBe(batch.id)
    expect((await batches.delete(batch.id)).id).toBe(batch.id)
    expect((await ask(`/v1/messages/batches/${batch.id}/results`)).status).toBe(200)
    const seen = at.seen()
    expect(seen.map(({ method, url }) => `${method} ${url}`)).toEqual([
      'POST /v1/messages/batches',
      'GET /v1/messages/batches?limit=3',
      'GET /v1/messages/batches/msgbatch_01',
      'POST /v1/messages/batches/msgbatch_01/cancel',
      'DELETE /v1/messages/batches/msgbatch_01',
      'GET /v1/messages/batches/msgbatch_01/results',
    ])
    const deleted = seen[4]?.headers
    expect([deleted?.['content-length'], deleted?.['transfer-encoding']]).toEqual([
      undefined,
      undefined,
    ])
  })

  test('files, up and down', async () => {
    const bytes = crypto.getRandomValues(new Uint8Array(1000))
    at.respond((request, response) => {
      if (request.url?.startsWith('/v1/files/file_01/content')) {
        const type = { 'content-type': 'application/octet-stream' }
        response.writeHead(200, { ...type, 'content-disposition': 'attachment; filename="a.bin"' })
        response.end(bytes)
      } else {
        response.writeHead(200, { 'content-type': 'application/json' })
        response.end(JSON.stringify({ id: 'file_01', type: 'file', data: [], has_more: false }))
      }
    })
    const { files } = sdk().beta
    await files.upload({ file: await toFile(bytes, 'a.bin'), betas: ['files-api-2025-04-14'] })
    const [upload] = at.seen()
    expect(upload?.headers['content-type']).toStartWith('multipart/form-data; boundary=')
    expect(upload?.body.includes(bytes)).toBe(true)
    expect(upload?.headers['anthropic-beta']).toContain('files-api')
    expect(upload?.headers['anthropic-beta']).toEndWith(',oauth-2025-04-20')
    const down = await files.download('file_01')
    expect(new Uint8Array(await down.arrayBuffer())).toEqual(bytes)
    expect(down.headers.get('content-disposition')).toBe('attachment; filename="a.bin"')
    await files.retrieveMetadata('file_01')
    await files.delete('file_01')
    expect(at.seen().map(({ method }) => method)).toEqual(['GET', 'GET', 'DELETE'])
  })

  test("models, token counts, and Claude Code's first requests", async () => {
    await sdk().models.list({ limit: 5 })
    await sdk().models.retrieve('claude-haiku-4-5')
    await sdk().messages.countTokens(question)
    expect(at.seen().map(({ url }) => url)).toEqual([
      '/v1/models?limit=5',
      '/v1/models/claude-haiku-4-5',
      '/v1/messages/count_tokens',
    ])
    for (const path of ['/', '/api/hello']) {
      expect((await fetch(at.gate.url + path, { method: 'HEAD' })).status).toBe(200)
    }
  })

  test('is complete: other routes reach nobody', async () => {
    for (const [method, path] of [
      ['GET', '/v1/organizations/me'],
      ['GET', '/v1/messages'],
      ['DELETE', '/v1/models/a'],
      ['PUT', '/v1/files/a'],
      ['GET', '/v1/files/..%2fmodels'],
      ['GET', '/v1/oauth/token'],
    ] as const) {
      expect([path, (await ask(path, { method })).status]).toBeOneOf([
        [path, 404],
        [path, 405],
      ])
    }
    expect(at.seen()).toEqual([])
  })
})

describe('admission', () => {
  test('refuses requests without a key, and says where to sign in', async () => {
    const response = await fetch(`${at.gate.url}/v1/models`, { headers: VERSION })
    expect(response.headers.get('www-authenticate')).toBe('Bearer realm="postern"')
    expect(await response.clone().text()).toContain('/auth/device')
    expect(await refusalOf(response)).toBe('401 authentication_error')
  })
  test.each([
    ['another key', { 'x-api-key': `${'pst_'.padEnd(47, 'a')}.${'b'.repeat(43)}` }, 401],
    ['two that differ', { authorization: 'Bearer pst_other' }, 400],
  ])('not %s', async (_name, headers, status) => {
    expect((await ask('/v1/models', { headers })).status).toBe(status)
    expect(at.seen()).toEqual([])
  })
  test('never by the query', async () => {
    const response = await fetch(`${at.gate.url}/v1/models?access_token=${key}`, {
      headers: VERSION,
    })
    expect(response.status).toBe(401)
    expect(at.seen()).toEqual([])
  })
  test('a browser by its cookie, from our own page and from no other', async () => {
    const cookie = `postern_session=${key}`
    const status = async (headers: Record<string, string>): Promise<number> =>
      (await fetch(`${at.gate.url}/v1/models`, { headers: { ...VERSION, cookie, ...headers } }))
        .status
    expect(await status({})).toBe(200)
    expect(await status({ 'sec-fetch-site': 'same-origin', origin: at.gate.url })).toBe(200)
    expect(at.seen().map(({ headers }) => headers.cookie)).toEqual([undefined, undefined])
    expect(await status({ 'sec-fetch-site': 'cross-site' })).toBe(401)
    expect(await status({ 'sec-fetch-site': 'same-site' })).toBe(401)
    expect(await status({ origin: 'http://127.0.0.1:3000' })).toBe(401)
    expect(at.seen()).toEqual([])
  })
  test('and a cookie changes nothing without an Origin', async () => {
    const post = async (headers: Record<string, string>): Promise<number> => {
      const response = await fetch(`${at.gate.url}/v1/messages`, {
        method: 'POST',
        headers: { ...VERSION, 'content-type': 'application/json', ...headers },
        body: '{"model":"m","max_tokens":1,"messages":[]}',
      })
      return response.status
    }
    const cookie = `postern_session=${key}`
    expect(await post({ cookie })).toBe(401)
    expect(at.seen()).toEqual([])
    expect(await post({ cookie, origin: at.gate.url })).toBe(200)
    expect(await post({ cookie, 'sec-fetch-site': 'same-origin' })).toBe(200)
    expect(await post({ 'x-api-key': key })).toBe(200)
    at.seen()
  })
})

describe('a token that the API refuses', () => {
  const rejectLatest = (): string => {
    const token = latest()
    at.rejected.add(token)
    return token
  }

  test('is renewed once, and its request sent once more: one request to log, ledger and caller', async () => {
    const { refreshed } = at.server.counts
    const old = rejectLatest()
    const response = await messages()
    expect(response.status).toBe(200)
    const seen = at.seen()
    expect(seen.map(({ headers }) => tokenOf(headers))).toEqual([old, latest()])
    expect(seen.map((each) => each.body.toString())).toEqual([body, body])
    expect(at.server.counts.refreshed).toBe(refreshed + 1)
    expect(await row(response)).toMatchObject({ status: 200, end_reason: 'complete' })
    const id = response.headers.get('x-request-id')
    expect(at.gate.lines().filter((line) => line['request_id'] === id)).toHaveLength(1)
  })

  test('by a request without a body too', async () => {
    await signIn()
    rejectLatest()
    expect((await ask('/v1/files/a', { method: 'DELETE' })).status).toBe(200)
    expect(at.seen().map(({ method }) => method)).toEqual(['DELETE', 'DELETE'])
  })

  test('by 40 requests at once is renewed once for all of them', async () => {
    await signIn()
    const { refreshed } = at.server.counts
    rejectLatest()
    const statuses = await Promise.all(
      Array.from({ length: 40 }, async () => (await messages()).status),
    )
    expect(new Set(statuses)).toEqual(new Set([200]))
    expect(at.server.counts.refreshed).toBe(refreshed + 1)
  })

  test('again after its renewal is the end of it: 401, and nothing is sent a third time', async () => {
    await signIn()
    at.respond((_request, response) => refuse(response, 401, 'authentication_error', 'no'))
    const response = await messages()
    expect(at.seen()).toHaveLength(2)
    expect(await response.clone().text()).toContain('sign in again at /auth/device')
    expect(await refusalOf(response)).toBe('401 authentication_error')
    expect(await row(response)).toMatchObject({ status: 401, end_reason: 'refused' })
    // Nor does each request of a refused account make a refresh.
    const { asked } = at.server
    expect((await messages()).status).toBe(401)
    expect(at.server.asked).toBe(asked)
    expect(at.seen()).toHaveLength(1)
    expect((await fetch(`${at.gate.url}/health`)).status).toBe(200)
  })

  test('with a body that was passed on is not sent again; the next request is well', async () => {
    await signIn()
    const old = rejectLatest()
    const large = JSON.stringify({ ...question, system: 'x'.repeat(400_000) })
    const response = await messages({ body: large })
    expect(await response.clone().text()).toContain('send the request again')
    expect(await refusalOf(response)).toBe('502 api_error')
    expect(at.seen().map(({ headers }) => tokenOf(headers))).toEqual([old])
    expect((await messages({ body: large })).status).toBe(200)
    expect(at.seen().map(({ headers }) => tokenOf(headers))).toEqual([latest()])
  })

  test('for a client that left meanwhile is renewed, and its request is not sent again', async () => {
    await signIn()
    rejectLatest()
    at.server.setDelay(400)
    const { asked } = at.server
    const left = new AbortController()
    const id = crypto.randomUUID()
    const gone = ask('/v1/models?gone', {
      signal: left.signal,
      headers: { 'x-request-id': id },
    }).catch(() => 'gone')
    await until(() => at.server.asked > asked)
    left.abort()
    expect(await gone).toBe('gone')
    expect((await at.gate.logged(id))['end']).toBe('client_gone')
    await until(() => latest() !== [...at.rejected][0])
    at.server.setDelay(0)
    expect((await messages()).status).toBe(200)
    const seen = at.seen()
    expect(seen.filter(({ url }) => url === '/v1/models?gone')).toHaveLength(1)
    expect(tokenOf(seen.at(-1)?.headers ?? {})).toBe(latest())
  })

  test('while the authorization server is down is 503, and no verdict on the API', async () => {
    await signIn()
    rejectLatest()
    at.server.setFailing(503)
    for (let round = 0; round < 7; round += 1) {
      const response = await messages()
      expect(await refusalOf(response)).toBe('503 api_error')
      expect((await logged(response))['code']).toBe('login_unavailable')
    }
    at.server.setFailing(undefined)
    await eventually(async () => (await messages()).status === 200)
  })

  test('whose sign-in the server has ended is 401 session_ended, and signing in again mends it', async () => {
    await signIn()
    await at.server.revokeAll()
    const response = await messages()
    expect((await logged(response))['code']).toBe('session_ended')
    expect(await refusalOf(response)).toBe('401 authentication_error')
    expect((await logged(await messages()))['code']).toBe('session_invalid')
    await signIn()
    expect((await messages()).status).toBe(200)
  })
})

describe('a 403 of the API', () => {
  test("is the account's own affair: its words pass, its other bytes do not", async () => {
    at.respond((_request, response) => {
      response.setHeader('x-secret', 'internal')
      refuse(response, 403, 'permission_error', 'Your plan does not include this.')
    })
    const response = await messages()
    expect(await response.clone().json()).toMatchObject({
      error: { type: 'permission_error', message: 'Your plan does not include this.' },
    })
    expect(response.headers.get('x-secret')).toBeNull()
    expect(await refusalOf(response)).toBe('403 permission_error')
    expect(await row(response)).toMatchObject({ status: 403, end_reason: 'refused' })
  })
  test('that is a page, or empty, is replaced by our own message', async () => {
    for (const page of ['<html>Attention Required!</html>', '']) {
      at.respond((_request, response) => void response.writeHead(403).end(page))
      const response = await messages()
      expect(await response.clone().text()).toContain('does not permit this')
      expect(await refusalOf(response)).toBe('403 permission_error')
    }
  })
  test('that contains the token is replaced by our own message', async () => {
    at.respond((request, response) => {
      refuse(response, 403, 'permission_error', `${request.headers.authorization} may not`)
    })
    const response = await messages()
    expect(await response.clone().text()).toContain('does not permit this')
    expect(await refusalOf(response)).toBe('403 permission_error')
  })
  test('however many open no circuit', async () => {
    at.respond((_request, response) => refuse(response, 403, 'permission_error', 'no'))
    for (let round = 0; round < 8; round += 1) expect((await messages()).status).toBe(403)
    at.respond(ok)
    expect((await messages()).status).toBe(200)
  })
})

test('an error that quotes the access token is 502, and a header of a 200 as well', async () => {
  await signIn()
  at.respond((request, response) => {
    const sent = Buffer.from(String(request.headers.authorization)).toString('base64')
    if (request.url === '/v1/models') response.writeHead(200, { 'request-id': sent }).end('{}')
    else response.writeHead(500, { 'content-type': 'text/plain' }).end(`debug: ${sent}`)
  })
  expect(await refusalOf(await messages())).toBe('502 api_error')
  expect(await refusalOf(await ask('/v1/models'))).toBe('502 api_error')
})

describe('the session', () => {
  test('outlives a restart, and a new sign-in ends the one before', async () => {
    await at.restart()
    expect((await messages()).status).toBe(200)
    const before = key
    await signIn()
    expect((await ask('/v1/models', {}, before)).status).toBe(401)
    expect((await ask('/v1/models')).status).toBe(200)
  })
  test('that is replaced while a body arrives: the request is refused', async () => {
    const id = crypto.randomUUID()
    const wire = await dial(at.gate.port)
    wire.write(
      head(
        'POST /v1/messages HTTP/1.1',
        'Host: 127.0.0.1',
        `x-api-key: ${key}`,
        `x-request-id: ${id}`,
        'Content-Type: application/json',
        `Content-Length: ${body.length}`,
      ),
    )
    await until(() => rows(id).length > 0)
    await signIn()
    wire.write(body)
    const [answer] = await wire.settled()
    wire.destroy()
    expect(answer?.status).toBe(401)
    expect((await at.gate.logged(id))['code']).toBe('session_invalid')
    expect(at.seen()).toEqual([])
  })
  test('that is signed out of is over here at once', async () => {
    const person = at.browser()
    const out = await person.post('/auth/logout', '', { 'x-api-key': key })
    expect(await out.json()).toEqual({ authenticated: false })
    const response = await messages()
    expect((await logged(response))['code']).toBe('session_invalid')
    expect(at.seen()).toEqual([])
    await signIn()
  })
  test('has a rate of its own', async () => {
    await at.restart({ RATE_LIMIT_RPM: '1', RATE_LIMIT_BURST: '3' })
    const statuses = []
    for (let round = 0; round < 4; round += 1) statuses.push((await ask('/v1/models')).status)
    expect(statuses).toEqual([200, 200, 200, 429])
    expect(at.seen()).toHaveLength(3)
    await at.restart()
  })
})

describe('a person in a browser', () => {
  test('starts, signs in, and is shown the key once', async () => {
    const person = at.browser()
    const html = { accept: 'text/html', 'sec-fetch-site': 'same-origin', origin: at.gate.url }
    const page = await person.get('/auth/device', { accept: 'text/html', 'sec-fetch-site': 'none' })
    expect(page.headers.get('content-type')).toStartWith('text/html')
    const form = { ...html, 'content-type': 'application/x-www-form-urlencoded' }
    const started = await (await person.post('/auth/device/start', '', form)).text()
    const link = /href="([^"]*response_type[^"]*)"/.exec(started)?.[1]?.replaceAll('&amp;', '&')
    const back = await at.server.signIn(new URL(link ?? ''))
    codes.push(back.searchParams.get('code') ?? '')
    const fromElsewhere = { accept: 'text/html', 'sec-fetch-site': 'cross-site' }
    const ended = await person.get(back.pathname + back.search, fromElsewhere)
    expect(ended.status).toBe(200)
    const shown = await ended.text()
    key = /pst_[\w-]{43}\.[\w-]{43}/.exec(shown)?.[0] ?? ''
    keys.push(key)
    expect(person.cookies.get('postern_session')).toBe(key)
    expect((await messages()).status).toBe(200)
    const again = await (await person.get('/auth/device', html)).text()
    heard.push(again)
    expect(again).not.toContain('pst_')
    const status = await person.get('/auth/status')
    expect(await status.json()).toMatchObject({ authenticated: true, renewable: true })
  })
})

describe('a person at a terminal', () => {
  test('opens the ticket in a browser, and the key comes to the terminal, once', async () => {
    const [terminal, browser] = [at.browser(), at.browser()]
    const begun = (await (await terminal.post('/auth/device/start')).json()) as {
      readonly open_url: string
    }
    const open = new URL(begun.open_url)
    const pending = await (await terminal.get('/auth/status')).json()
    expect(pending).toEqual({ authenticated: false, pending: true })
    const opened = await browser.get(open.pathname + open.search)
    const back = await at.server.signIn(new URL(opened.headers.get('location') ?? ''))
    codes.push(back.searchParams.get('code') ?? '')
    const html = { accept: 'text/html', 'sec-fetch-site': 'cross-site' }
    expect((await browser.get(back.pathname + back.search, html)).status).toBe(200)
    const said = (await (await terminal.get('/auth/status')).json()) as { session_key?: string }
    key = said.session_key ?? ''
    keys.push(key)
    expect((await messages()).status).toBe(200)
    const again = await (await terminal.get('/auth/status')).json()
    expect(Object.keys(again as object)).not.toContain('session_key')
  })
})

test('canary: no token, key, code or secret is outside its own place', async () => {
  at.rejected.add(latest())
  await messages()
  for (const suffix of ['', '-wal', '-shm']) {
    expect([suffix, statSync(at.databaseFile + suffix).mode & 0o777]).toEqual([suffix, 0o600])
  }
  await at.gate.stop('SIGTERM')
  const places = {
    'the log and stderr': at.gate.output(),
    'the files': at.bytesOnDisk(),
    'answers of the API and of refusals': heard.join('\n'),
    'what went to the API beside its own header': at.api.seen
      .map(({ headers, url, body }) =>
        JSON.stringify([{ ...headers, authorization: '' }, url, body.toString('latin1')]),
      )
      .join('\n'),
  }
  expect(Math.min(at.issued.access.length, at.issued.refresh.length, keys.length)).toBeGreaterThan(
    5,
  )
  const canaries = [
    ...at.issued.access,
    ...at.issued.refresh,
    ...keys,
    ...at.codes,
    ...codes,
    SESSION_SECRET,
  ]
  for (const [place, text] of Object.entries(places)) {
    expect([place, text.length > 100]).toEqual([place, true])
    const found = canaries.filter((each) => text.includes(each) || text.includes(each.slice(4, 24)))
    expect([place, found]).toEqual([place, []])
  }
})
