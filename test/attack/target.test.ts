// Attacks 3 to 6 and 10: where a request says that it goes. Some of it Bun answers by itself, or
// rewrites before any code of ours sees it; where it does, the comment says so.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { type Scene, scene } from '../support/gate.ts'
import { errorOf, forget, reachedUpstream } from '../support/sink.ts'
import { dial, exchange, head, type WireAnswer } from '../support/wire.ts'

let at: Scene
beforeAll(async () => {
  at = await scene()
})
afterAll(() => at.close())
beforeEach(() => forget(at))

const authorization = (): string => `Authorization: Bearer ${at.token}`
const get = (path: string, ...hosts: readonly string[]): string =>
  head(`GET ${path} HTTP/1.1`, ...hosts.map((host) => `Host: ${host}`), authorization())

/** In latin1, because a corpus of odd bytes is no UTF-8. */
async function ask(bytes: string): Promise<WireAnswer | undefined> {
  const [answer] = await exchange(at.gate.port, Buffer.from(bytes, 'latin1'))
  return answer
}
const codeOf = (answer: WireAnswer | undefined): unknown => errorOf(answer?.body ?? '')['code']

describe('attack 3: a Host that could shift the beginning of the path', () => {
  const bad = [
    'a, b',
    'gate.test/v1',
    'gate.test/public/x',
    'user@gate.test',
    'user:password@gate.test',
    'gate test',
    'gate\ttest',
    '',
    'gate.test:',
    'gate.test:80:80',
    '[::1',
    '..',
    '-',
    'gate.test#',
    'gate.test?',
    'gate.test\\x',
    '\xe9',
    '%67ate.test',
    'g'.repeat(261),
  ]
  for (const host of bad) {
    test(`Host: ${JSON.stringify(host.slice(0, 30))} is 400 bad_host`, async () => {
      const answer = await ask(get('/v1/models', host))
      expect(answer?.status).toBe(400)
      expect(codeOf(answer)).toBe('bad_host')
      expect(await reachedUpstream(at)).toEqual([])
    })
  }

  for (const hosts of [
    ['gate.test', 'evil.test'],
    ['gate.test', 'gate.test'],
  ]) {
    test(`twice (${hosts.join(' and ')}) is 400 bad_host`, async () => {
      expect(codeOf(await ask(get('/v1/models', ...hosts)))).toBe('bad_host')
      expect(await reachedUpstream(at)).toEqual([])
    })
  }

  test('missing on HTTP/1.0 is 400 bad_host', async () => {
    expect(codeOf(await ask(get('/v1/models').replace('HTTP/1.1', 'HTTP/1.0')))).toBe('bad_host')
    expect(await reachedUpstream(at)).toEqual([])
  })

  // Bun's answer, with an empty body.
  test('missing on HTTP/1.1 is 400', async () => {
    expect((await ask(get('/v1/models')))?.status).toBe(400)
    expect(await reachedUpstream(at)).toEqual([])
  })

  for (const host of ['a', 'gw', 'gw:80', '1', 'gate.test', '[::1]:8080', 'ex_ample']) {
    test(`${host} routes like any other, to every path`, async () => {
      const asked = ['/v1/models', '/health', '/public/v1/models', '/v1/models/x', '/']
      const answers = await Promise.all(asked.map((path) => ask(get(path, host))))
      expect(answers.map((answer) => answer?.status)).toEqual([200, 200, 404, 404, 404])
      expect((await reachedUpstream(at)).map(({ url }) => url)).toEqual(['/v1/models'])
    })
    test(`${host} opens no protected route to a stranger`, async () => {
      const bytes = head('GET /v1/models HTTP/1.1', `Host: ${host}`)
      expect((await ask(bytes))?.status).toBe(401)
      expect(await reachedUpstream(at)).toEqual([])
    })
  }
})

describe('attack 4: methods', () => {
  for (const method of ['TRACE', 'CONNECT', 'PUT', 'DELETE', 'PATCH', 'PROPFIND']) {
    test(`${method} of a route is 405 and names the allowed methods`, async () => {
      const answer = await ask(get('/v1/models', 'gate.test').replace('GET', method))
      expect(answer?.status).toBe(405)
      expect(codeOf(answer)).toBe('method_not_allowed')
      expect(answer?.header('allow')).toContain('GET')
      expect(await reachedUpstream(at)).toEqual([])
    })
  }

  test('OPTIONS of a route is 204 and names the allowed methods; of an unknown path it is 404', async () => {
    const options = (path: string) => ask(get(path, 'gate.test').replace('GET', 'OPTIONS'))
    const answer = await options('/v1/models')
    expect([answer?.status, answer?.header('allow')]).toEqual([204, 'OPTIONS, GET'])
    expect((await options('/healthz'))?.header('allow')).toBe('OPTIONS, GET, HEAD')
    expect((await options('/nowhere'))?.status).toBe(404)
    expect(await reachedUpstream(at)).toEqual([])
  })

  test('CONNECT to an authority is 405, and no tunnel', async () => {
    const bytes = head('CONNECT evil.test:443 HTTP/1.1', 'Host: evil.test:443', authorization())
    const wire = await dial(at.gate.port)
    wire.write(bytes)
    const [answer] = await wire.settled()
    expect(answer?.status).toBe(405)
    expect(answer?.header('allow')).toBe('GET, POST')
    wire.destroy()
    expect(await reachedUpstream(at)).toEqual([])
  })

  test('HEAD is for probes: elsewhere it is 405 without a body', async () => {
    const wire = await dial(at.gate.port)
    wire.write(head('HEAD /v1/models HTTP/1.1', 'Host: gate.test', 'Connection: close'))
    await wire.ended()
    expect(wire.received()).toStartWith('HTTP/1.1 405')
    expect(wire.received()).toEndWith('\r\n\r\n')
    expect(await reachedUpstream(at)).toEqual([])
  })

  test('the right method elsewhere is 405 with the right one', async () => {
    const answer = await ask(get('/v1/embeddings', 'gate.test'))
    expect(answer?.status).toBe(405)
    expect(answer?.header('allow')).toBe('POST')
    const other = await ask(get('/attestation', 'gate.test').replace('GET', 'DELETE'))
    expect(other?.header('allow')).toBe('GET, POST')
  })

  // Bun closes the connection without a byte where it does not know the method.
  for (const method of ['get', 'post', 'Get', 'FOO', 'TRACe']) {
    test(`${method} gets no answer at all`, async () => {
      const wire = await dial(at.gate.port)
      wire.write(get('/v1/models', 'gate.test').replace('GET', method))
      expect(await wire.ended()).toEqual([])
      expect(wire.received()).toBe('')
      expect(await reachedUpstream(at)).toEqual([])
    })
  }
})

// Bun takes the path of an absolute-form target and the name of the Host header, and shows the
// handler no trace of the other name: 421 cannot be said. What it could win is nothing: the name
// chooses no route, no upstream and no credential.
describe('attack 5: an absolute-form target with a foreign authority', () => {
  for (const origin of ['http://evil.test', 'https://evil.test', 'http://user@evil.test:81']) {
    test(`${origin} changes neither the route nor the upstream`, async () => {
      const answer = await ask(get(`${origin}/v1/models`, 'gate.test'))
      expect(answer?.status).toBe(200)
      const [seen, ...more] = await reachedUpstream(at)
      expect(more).toEqual([])
      expect(seen).toMatchObject({
        url: '/v1/models',
        headers: { host: `127.0.0.1:${at.upstream.port}` },
      })
      expect(JSON.stringify(seen)).not.toContain('evil')
    })
    test(`${origin} with another path is still 404`, async () => {
      const answer = await ask(get(`${origin}/admin`, 'gate.test'))
      expect(answer?.status).toBe(404)
      expect(await reachedUpstream(at)).toEqual([])
    })
  }
})

describe('attack 6: paths', () => {
  const unknown = [
    '/v1/../admin',
    '/v1/%2e%2e/admin',
    '/v1/models/../../admin',
    '/v1\\..\\admin',
    '//evil/x',
    '//evil/v1/models',
    '//v1/models',
    '/v1//models',
    '/v1/models;a',
    '/v1/models%00',
    '/v1%2fmodels',
    '/v1/model%73',
    '/v1/models%',
    '/V1/models',
    '/v1/Models',
    '/v1/models/',
    '/v1/models/x',
    '/v1',
    '/',
    '/v1/chat/completions/output_tokens',
    '/v1/realtime',
    '/admin',
    '/metrics',
  ]
  for (const path of [
    '/v1/models\xff',
    '/v1/models\xc3\xa9',
    '/v1/models\xc0\xaf',
    '/v1/models?a=\xff',
    '/v1/models?a=\xc0\xaf',
    '/v1/models#fragment',
    '/v1/models?a=b#fragment',
    '/v1/models#/../x',
    '/nowhere#',
  ]) {
    test(`${JSON.stringify(path)} is 400 and reaches no upstream`, async () => {
      const answer = await ask(get(path, 'gate.test'))
      expect([answer?.status, codeOf(answer)]).toEqual([400, 'bad_request'])
      expect(await reachedUpstream(at)).toEqual([])
    })
  }
  for (const path of unknown) {
    test(`${JSON.stringify(path)} is 404 and reaches no upstream`, async () => {
      const answer = await ask(get(path, 'gate.test'))
      expect(answer?.status).toBe(404)
      expect(codeOf(answer)).toBe('not_found')
      expect(await reachedUpstream(at)).toEqual([])
    })
  }

  // Bun normalises dots and backslashes (WHATWG) before a handler sees a path, so what arrives is
  // the route itself. Only the route's own path goes on, and only with its credential.
  for (const path of ['/v1/x/../models', '/v1/%2e/models', '/health/../v1/models', '/v1\\models']) {
    test(`${path} is /v1/models by the time that we see it: as guarded, and sent as such`, async () => {
      expect((await ask(get(path, 'gate.test')))?.status).toBe(200)
      expect((await reachedUpstream(at)).map(({ url }) => url)).toEqual(['/v1/models'])
      const stranger = head(`GET ${path} HTTP/1.1`, 'Host: gate.test')
      expect((await ask(stranger))?.status).toBe(401)
      expect(await reachedUpstream(at)).toEqual([])
    })
  }

  // Bun's own refusals: no path at all, or a byte that no path has.
  for (const path of ['v1/models', '*', '', '?', '\\v1\\models', '/v1/mo\tdels', '/v1/models\0']) {
    test(`${JSON.stringify(path)} is no path`, async () => {
      expect((await ask(get(path, 'gate.test')))?.status).toBeOneOf([400, 505])
      expect(await reachedUpstream(at)).toEqual([])
    })
  }

  test('a query goes along as it is, and nothing in it is a path', async () => {
    const query = '?a=/../admin&b=%2e%2e%2f&c=//evil?x'
    expect((await ask(get(`/v1/models${query}`, 'gate.test')))?.status).toBe(200)
    expect((await reachedUpstream(at)).map(({ url }) => url)).toEqual([`/v1/models${query}`])
  })
})

describe('attack 10: upgrades', () => {
  const cases = {
    h2c: [
      'Connection: Upgrade, HTTP2-Settings',
      'Upgrade: h2c',
      'HTTP2-Settings: AAMAAABkAAQAAP__',
    ],
    websocket: [
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    ],
  }
  for (const [name, lines] of Object.entries(cases)) {
    test(`${name}: an ordinary answer, no tunnel, and no word of it to the upstream`, async () => {
      const bytes = head('GET /v1/models HTTP/1.1', 'Host: gate.test', authorization(), ...lines)
      expect((await ask(bytes))?.status).toBe(200)
      const [seen] = await reachedUpstream(at)
      const names = Object.keys(seen?.headers ?? {})
      expect(names.filter((each) => /upgrade|http2|websocket/.test(each))).toEqual([])
      expect(seen?.headers.connection ?? '').not.toContain('pgrade')
    })
  }
})
