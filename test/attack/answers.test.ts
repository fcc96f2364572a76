// Attacks 16, 17 and 48: what an upstream answers when it is hostile, broken, or refuses our key.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { API_KEY, ENCAPSULATED_KEY, type Scene, scene } from '../support/gate.ts'
import { type RawUpstream, startRawUpstream } from '../support/raw-upstream.ts'
import { bearer, errorOf, eventually, forget, reachedUpstream } from '../support/sink.ts'
import { dial, exchange, head, type WireAnswer } from '../support/wire.ts'

let at: Scene
let raw: RawUpstream
/** The same gate in front of an upstream that answers with bytes. */
let rawAt: Scene
beforeAll(async () => {
  raw = await startRawUpstream()
  const both = await Promise.all([scene(), scene({ env: { TINFOIL_BASE_URL: raw.url } })])
  ;[at, rawAt] = both
})
afterAll(async () => {
  await Promise.all([at.close(), rawAt.close()])
  await raw.close()
})
beforeEach(() => forget(at, rawAt))

const chat = (on: Scene, headers: Readonly<Record<string, string>> = {}): Promise<Response> =>
  fetch(`${on.gate.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { ...bearer(on.token), 'content-type': 'application/json', ...headers },
    body: '{}',
    redirect: 'manual',
  })

/** The answer of a gate whose upstream sends exactly these bytes and closes. */
async function answerTo(bytes: string): Promise<WireAnswer | undefined> {
  raw.answer(Buffer.from(bytes, 'latin1'))
  const request = head(
    'GET /v1/models HTTP/1.1',
    'Host: gate.test',
    `Authorization: Bearer ${rawAt.token}`,
  )
  const [answer] = await exchange(rawAt.gate.port, request)
  return answer
}

describe('attack 16: a redirect is 502 and is not followed', () => {
  for (const status of [300, 301, 302, 303, 304, 307, 308]) {
    test(String(status), async () => {
      const attacker = await startRawUpstream()
      const location = `${attacker.url}/v1/chat/completions`
      at.upstream.respond((_request, response) => {
        response.writeHead(status, { location, 'content-type': 'text/plain' })
        response.end(status === 304 ? undefined : `moved to ${location}`)
      })
      const response = await chat(at)
      expect(response.status).toBe(502)
      expect(response.headers.get('location')).toBeNull()
      const body = await response.text()
      expect(errorOf(body)['code']).toBe('upstream_redirect')
      expect(body).not.toContain(String(attacker.port))
      expect(await reachedUpstream(at)).toHaveLength(1)
      expect(attacker.connections).toEqual([])
      await attacker.close()
    })
  }
})

describe('attack 17: an upstream that refuses our key may echo it', () => {
  for (const status of [401, 403]) {
    for (const sealed of [false, true]) {
      test(`${status}${sealed ? ', sealed' : ''}: 502 upstream_auth, and the key is nowhere`, async () => {
        at.upstream.respond((_request, response) => {
          response.writeHead(status, {
            'content-type': `text/plain; key=${API_KEY}`,
            'www-authenticate': `Bearer realm="${API_KEY}"`,
            'content-disposition': `inline; filename=${API_KEY}`,
            'x-echo': API_KEY,
            'ehbp-response-nonce': 'cd'.repeat(32),
          })
          response.end(`Incorrect API key provided: ${API_KEY}`)
        })
        const response = await chat(at, sealed ? { 'ehbp-encapsulated-key': ENCAPSULATED_KEY } : {})
        expect(response.status).toBe(502)
        const body = await response.text()
        expect(errorOf(body)).toEqual({
          message: 'the upstream refused the credentials of this gate',
          type: 'api_error',
          code: 'upstream_auth',
          param: null,
        })
        expect(JSON.stringify([...response.headers])).not.toContain(API_KEY)
        expect(response.headers.get('www-authenticate')).toBeNull()
        const id = response.headers.get('x-request-id') ?? ''
        expect(await at.gate.logged(id)).toMatchObject({ status: 502, level: 'error' })
        expect(at.gate.output()).not.toContain(API_KEY)
        await reachedUpstream(at)
      })
    }
  }
})

describe('an upstream that cannot be understood is 502 in our words', () => {
  const cases: Readonly<Record<string, string>> = {
    'status 600': head('HTTP/1.1 600 Beyond', 'Content-Length: 0'),
    'status 999': head('HTTP/1.1 999 Beyond', 'Content-Length: 0'),
    'status 99': head('HTTP/1.1 99 Below', 'Content-Length: 0'),
    'status 000': head('HTTP/1.1 000 None', 'Content-Length: 0'),
    'status 1000': head('HTTP/1.1 1000 Many', 'Content-Length: 0'),
    'status abc': head('HTTP/1.1 abc None', 'Content-Length: 0'),
    garbage: 'you have reached the wrong number\r\n\r\n',
    'nothing at all': '',
    'half a header': 'HTTP/1.1 200 OK\r\nContent-Ty',
    'an SMTP server': '220 mail.evil.test ESMTP\r\n\r\n',
    'TLS where none was asked for': '\x15\x03\x01\x00\x02\x02\x46',
    'a NUL in a header': head('HTTP/1.1 200 OK', 'Content-Type: a\0b', 'Content-Length: 0'),
    'a header without a colon': head('HTTP/1.1 200 OK', 'Content-Type', 'Content-Length: 0'),
    'both framings': `${head('HTTP/1.1 200 OK', 'Content-Length: 2', 'Transfer-Encoding: chunked')}0\r\n\r\n`,
    'two lengths': `${head('HTTP/1.1 200 OK', 'Content-Length: 2', 'Content-Length: 3')}{}x`,
    'a header block of 1 MB': head('HTTP/1.1 200 OK', `Content-Type: ${'a'.repeat(1_000_000)}`),
    'nothing but interim answers': head('HTTP/1.1 103 Early Hints', 'Link: </x>').repeat(3),
    'a switch of protocols': `${head('HTTP/1.1 101 Switching Protocols', 'Upgrade: h2c', 'Connection: upgrade')}PRI`,
  }
  for (const [name, bytes] of Object.entries(cases)) {
    test(name, async () => {
      const answer = await answerTo(bytes)
      expect(answer?.status).toBe(502)
      const error = errorOf(answer?.body ?? '')
      expect(error['type']).toBe('api_error')
      expect(error['code']).toBeOneOf(['upstream_unavailable', 'upstream_invalid'])
      expect(JSON.stringify(answer)).not.toContain(`:${raw.port}`)
      expect(rawAt.gate.errors()).toBe('')
    })
  }

  test('a header value beyond ASCII does not come through as a way to break ours', async () => {
    const answer = await answerTo(
      `${head('HTTP/1.1 200 OK', 'Content-Type: text/plain; x=\xe9\xff', 'Content-Length: 2')}ok`,
    )
    expect(answer?.status).toBeOneOf([200, 502])
    expect(rawAt.gate.errors()).toBe('')
  })
})

describe('attack 48: answers without a body, and those before the answer', () => {
  for (const status of [204, 205]) {
    test(`${status} comes through with no body and no invented type`, async () => {
      const answer = await answerTo(head(`HTTP/1.1 ${status} Nothing`, 'Retry-After: 3'))
      expect(answer?.status).toBe(status)
      expect(answer?.body).toBe('')
      expect(answer?.header('content-type')).toBeUndefined()
      expect(answer?.header('retry-after')).toBe('3')
    })
  }

  test('interim answers are dropped, the final one comes through', async () => {
    const interim = head('HTTP/1.1 103 Early Hints', 'Link: </evil>; rel=preload')
    const final = `${head('HTTP/1.1 200 OK', 'Content-Type: text/plain', 'Content-Length: 2')}ok`
    const answer = await answerTo(head('HTTP/1.1 100 Continue') + interim + interim + final)
    expect(answer?.status).toBe(200)
    expect(answer?.body).toBe('ok')
    expect(JSON.stringify(answer?.headers)).not.toContain('evil')
  })

  test('an empty 200 is an empty 200', async () => {
    const answer = await answerTo(head('HTTP/1.1 200 OK', 'Content-Length: 0'))
    expect(answer?.status).toBe(200)
    expect(answer?.body).toBe('')
    expect(answer?.header('content-type')).toBeUndefined()
  })

  for (const encoding of ['gzip', 'br', 'zstd']) {
    test(`${encoding} comes through byte for byte, still encoded`, async () => {
      const bytes = Buffer.from(Array.from({ length: 256 }, (_, index) => index))
      at.upstream.respond((_request, response) => {
        response.writeHead(200, { 'content-type': 'text/plain', 'content-encoding': encoding })
        response.end(bytes)
      })
      const [answer] = await exchange(
        at.gate.port,
        head('GET /v1/models HTTP/1.1', 'Host: gate.test', `Authorization: Bearer ${at.token}`),
      )
      expect(answer?.header('content-encoding')).toBe(encoding)
      expect(Buffer.from(answer?.body ?? '', 'latin1')).toEqual(bytes)
    })
  }

  for (const status of [200, 201, 400, 402, 404, 409, 418, 422, 429, 451, 500, 503, 529, 599]) {
    test(`${status} of the upstream is ${status} here, with its own words`, async () => {
      const body = `{"error":{"message":"status ${status}"}}`
      const lines = ['Content-Type: application/json', `Content-Length: ${body.length}`]
      const answer = await answerTo(head(`HTTP/1.1 ${status} X`, ...lines) + body)
      expect(answer?.status).toBe(status)
      expect(answer?.body).toBe(body)
    })
  }
})

describe('an upstream that answers before it has the whole request', () => {
  for (const status of [200, 400, 413, 500]) {
    test(`${status}: its answer comes through, and the place is given back`, async () => {
      const eager = { eagerUpstream: true, env: { MAX_IDENTITY_CONCURRENCY: '1' } }
      const on = await scene(eager)
      on.upstream.respond((_request, response) => void response.writeHead(status).end('early'))
      const wire = await dial(on.gate.port)
      const authorization = `Authorization: Bearer ${on.token}`
      const lines = ['POST /v1/chat/completions HTTP/1.1', 'Host: gate.test', authorization]
      wire.write(`${head(...lines, 'Content-Length: 1000000')}${'x'.repeat(10_000)}`)
      const [answer] = await wire.settled()
      expect([answer?.status, answer?.body]).toEqual([status, 'early'])
      wire.destroy()
      await eventually(async () => {
        const response = await fetch(`${on.gate.url}/v1/models`, { headers: bearer(on.token) })
        return response.status === status
      })
      expect(on.gate.errors()).toBe('')
      await on.close()
    })
  }
})
