// Attack 18: pages of other origins. Named origins may ask from a browser, nobody else is told so,
// and nobody's cookies or credentials ride along.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { anthropicScene, type DeviceScene, messages, VERSION } from '../support/anthropic.ts'
import { runToEnd } from '../support/binary.ts'

const APP = 'https://app.example.test'
const LOCAL = 'http://localhost:5173'

let on: DeviceScene
let without: DeviceScene
let token: string
beforeAll(async () => {
  ;[on, without] = await Promise.all([
    anthropicScene({ env: { CORS_ORIGINS: `${APP},${LOCAL}` } }),
    anthropicScene(),
  ])
  token = await on.device()
})
afterAll(() => Promise.all([on.close(), without.close()]))

const preflight = (
  to: DeviceScene,
  origin: string | undefined,
  path = '/v1/messages',
  headers: Readonly<Record<string, string>> = {},
): Promise<Response> =>
  fetch(to.gate.url + path, {
    method: 'OPTIONS',
    headers: {
      ...(origin !== undefined && { origin }),
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'anthropic-version,content-type,x-api-key',
      ...headers,
    },
  })

const aca = ({ headers }: Response): string[] =>
  [...headers.keys()].filter((name) => name.startsWith('access-control-')).toSorted()

const FOREIGN = [
  'https://evil.example',
  'null',
  '*',
  `${APP}.evil.example`,
  `${APP}:8443`,
  `${APP}/`,
  'http://app.example.test',
  'https://APP.example.test',
  'https://xapp.example.test',
  `${APP} ${LOCAL}`,
  `${APP}, ${LOCAL}`,
  '',
]

describe('an origin that is named', () => {
  test('is allowed by a preflight, which needs no credential and reaches no upstream', async () => {
    on.upstream.seen.length = 0
    for (const origin of [APP, LOCAL]) {
      const response = await preflight(on, origin)
      expect(response.status).toBe(204)
      expect(await response.text()).toBe('')
      expect(response.headers.get('access-control-allow-origin')).toBe(origin)
      expect(response.headers.get('access-control-allow-methods')).toBe('POST')
      expect(response.headers.get('access-control-allow-headers')).toBe(
        'anthropic-version,content-type,x-api-key',
      )
      expect(response.headers.get('access-control-max-age')).toBe('600')
      expect(response.headers.get('vary')).toBe('Origin')
      expect(response.headers.has('access-control-allow-credentials')).toBe(false)
    }
    expect(on.upstream.seen).toEqual([])
  })

  test('may read answers and refusals alike, never with credentials', async () => {
    for (const key of [token, 'wrong']) {
      const { headers } = await messages(on.gate, key, '{}', { origin: APP })
      expect(headers.get('access-control-allow-origin')).toBe(APP)
      expect(headers.get('vary')).toBe('Origin')
      expect(headers.has('access-control-allow-credentials')).toBe(false)
      const exposed = (headers.get('access-control-expose-headers') ?? '').split(', ')
      expect(exposed).toContain('request-id')
      expect(exposed).toContain('retry-after')
      expect(exposed).toContain('x-should-retry')
      expect(exposed).toContain('ehbp-response-nonce')
    }
  })

  test('is no way past the token', async () => {
    const response = await fetch(`${on.gate.url}/v1/messages`, {
      method: 'POST',
      headers: { ...VERSION, origin: APP, cookie: `token=${token}` },
      body: '{}',
    })
    expect(response.status).toBe(401)
  })

  test('gets no list of invalid headers', async () => {
    for (const asked of ['*', 'a\tb', 'a;b', '', `x-${'a'.repeat(3000)}`, 'A-Name']) {
      const response = await preflight(on, APP, '/v1/messages', {
        'access-control-request-headers': asked,
      })
      expect([asked, response.headers.has('access-control-allow-headers')]).toEqual([asked, false])
    }
  })
})

describe('an origin that is not named', () => {
  test.each(FOREIGN)('%j gets no CORS header', async (origin) => {
    const refused = await preflight(on, origin)
    expect(refused.status).toBe(405)
    expect(aca(refused)).toEqual([])
    expect(refused.headers.get('vary')).toBe('Origin')
    const answer = await messages(on.gate, token, '{}', { origin })
    expect(answer.status).toBe(200)
    expect(aca(answer)).toEqual([])
    expect(answer.headers.get('vary')).toBe('Origin')
  })

  test('by default no origin is allowed', async () => {
    const mine = await without.device()
    for (const origin of [APP, ...FOREIGN]) {
      expect(aca(await preflight(without, origin))).toEqual([])
      const answer = await messages(without.gate, mine, '{}', { origin })
      expect(aca(answer)).toEqual([])
      expect(answer.headers.has('vary')).toBe(false)
    }
  })
})

test('an unknown path has no preflight, and a plain OPTIONS names the allowed methods', async () => {
  expect((await preflight(on, APP, '/v1/nothing')).status).toBe(404)
  const plain = await fetch(`${on.gate.url}/v1/messages`, {
    method: 'OPTIONS',
    headers: { origin: APP },
  })
  expect([plain.status, plain.headers.get('allow')]).toEqual([204, 'OPTIONS, POST'])
})

test.each(['*', 'null', 'app.example.test', 'https://app.example.test/'])(
  'CORS_ORIGINS=%s starts nothing',
  async (origins) => {
    const { exitCode, stderr } = await runToEnd(['--dev-mode'], { CORS_ORIGINS: origins })
    expect(exitCode).toBe(78)
    expect(stderr).toContain('CORS_ORIGINS')
  },
)
