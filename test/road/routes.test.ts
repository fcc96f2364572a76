// Every route there is, walked: what is public, what is guarded, and what every answer carries.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { gate, type Parts } from '../../src/accept/app.ts'
import { ALL_ROUTES, INFERENCE_ROUTES } from '../../src/accept/routes.ts'
import { refused } from '../../src/refusal.ts'
import { type Scene, scene } from '../support/gate.ts'
import { bearer, errorOf, forget, reachedUpstream } from '../support/sink.ts'
import { exchange, head } from '../support/wire.ts'

let at: Scene
beforeAll(async () => {
  at = await scene()
})
afterAll(() => at.close())
beforeEach(() => forget(at))

const ask = (method: string, path: string, headers: Record<string, string> = {}) =>
  fetch(`${at.gate.url}${path}`, { method, headers, ...(method === 'POST' ? { body: '{}' } : {}) })

describe('a route that is not public', () => {
  for (const { method, path } of INFERENCE_ROUTES) {
    test(`${method} ${path} is 401 without a token, and reaches no upstream`, async () => {
      const response = await ask(method, path)
      expect(response.status).toBe(401)
      expect(response.headers.get('www-authenticate')).toBe('Bearer realm="postern"')
      expect(errorOf(await response.text())).toEqual({
        message: 'missing authorization',
        type: 'authentication_error',
        code: 'missing_authorization',
        param: null,
      })
      expect(await reachedUpstream(at)).toEqual([])
    })

    test(`${method} ${path} reaches the path of the same name with one`, async () => {
      expect((await ask(method, `${path}?a=b`, bearer(at.token))).status).toBe(200)
      const seen = await reachedUpstream(at)
      expect(seen.map((each) => [each.method, each.url])).toEqual([[method, `${path}?a=b`]])
    })
  }

  // Elysia's hooks fail open when they are scoped wrongly: so it is the app's own table that is
  // walked, and what is in it but not declared public has to say 401.
  test('is every route of the app that is not declared public', async () => {
    const app = gate(nothingBehindTheDoor())
    const declared = new Map(ALL_ROUTES.map((each) => [`${each.method} ${each.path}`, each.access]))
    const walked = app.routes.map(({ method, path }) => `${method} ${path}`)
    expect(walked.toSorted()).toEqual([...declared.keys()].toSorted())
    for (const { method, path } of app.routes) {
      const request = new Request(`http://gate.test${path}`, {
        method,
        headers: { host: 'gate.test' },
      })
      const response = await app.handle(request)
      const guarded = declared.get(`${method} ${path}`) === 'protected'
      expect([path, response.status === 401]).toEqual([path, guarded])
    }
  })
})

/** A gate that admits nobody, and whose every other part is a bug to reach. */
function nothingBehindTheDoor(): Parts {
  const never = (): never => {
    throw new Error('reached')
  }
  const document = async () => refused('upstream_unavailable')
  return {
    admit: async () => refused('missing_authorization'),
    keys: { ready: () => true, current: never, lookup: never, start: never, stop: never },
    budget: { spend: never, reserve: never, underWay: 0 },
    publicLimit: undefined,
    addressKey: () => '',
    rules: { requireEhbp: true, enclaveHosts: [], maxRequestBodyBytes: 1, bodyTimeoutMs: 1 },
    dispatch: never,
    relay: { send: never, breakAll: never, running: 0 },
    documents: { hpkeKeys: document, attestation: document },
    settle: () => {},
    log: { error: never } as unknown as Parts['log'],
    draining: () => false,
  }
}

describe('probes', () => {
  const bodies = {
    '/health': '{"status":"ok","backend":"tinfoil"}',
    '/healthz': '{"status":"ok"}',
    '/readyz': '{"status":"ready"}',
  }
  for (const [path, body] of Object.entries(bodies)) {
    test(`${path} says exactly ${body}, to everybody`, async () => {
      for (const headers of [{}, bearer('nonsense')]) {
        const response = await ask('GET', path, headers)
        expect(response.status).toBe(200)
        expect(await response.text()).toBe(body)
        expect(response.headers.get('content-type')).toStartWith('application/json')
        expect(response.headers.get('cache-control')).toBe('no-store')
      }
      expect(await reachedUpstream(at)).toEqual([])
    })

    test(`HEAD ${path} is the same without the body`, async () => {
      const response = await ask('HEAD', path)
      expect(response.status).toBe(200)
      expect(response.headers.get('content-length')).toBe(String(body.length))
      expect(await response.text()).toBe('')
    })
  }
})

describe('every answer of ours', () => {
  const answers: Readonly<Record<string, () => Promise<Response>>> = {
    'a probe': () => ask('GET', '/health'),
    'a document': () => ask('GET', '/attestation'),
    '200': () => ask('GET', '/v1/models', bearer(at.token)),
    '401': () => ask('GET', '/v1/models'),
    '403': async () => ask('GET', '/v1/models', bearer(await at.issuer.token({ scope: '' }))),
    '404': () => ask('GET', '/nowhere'),
    '405': () => ask('DELETE', '/v1/models'),
    '400': () => ask('GET', '/v1/models', { ...bearer(at.token), 'ehbp-encapsulated-key': 'x' }),
    '502': () => {
      at.upstream.respond((_request, response) => void response.destroy())
      return ask('GET', '/v1/models', bearer(at.token))
    },
  }
  for (const [name, answer] of Object.entries(answers)) {
    test(`(${name}) carries a request id and the version of the protocol`, async () => {
      const response = await answer()
      expect(response.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/)
      expect(response.headers.get('x-protocol-version')).toBe('1')
      if (response.status < 400) return
      expect(response.headers.get('content-type')).toBe('application/json')
      expect(response.headers.get('cache-control')).toBe('no-store')
      const body = await response.text()
      expect(Object.keys(JSON.parse(body))).toEqual(['error'])
      expect(Object.keys(errorOf(body))).toEqual(['message', 'type', 'code', 'param'])
    })
  }

  test('bad_host too', async () => {
    const [answer] = await exchange(at.gate.port, head('GET /health HTTP/1.1', 'Host: a, b'))
    expect(answer?.header('x-request-id')).toMatch(/^[0-9a-f-]{36}$/)
    expect(answer?.header('x-protocol-version')).toBe('1')
  })

  test('two requests have two ids', async () => {
    const ids = await Promise.all(
      Array.from({ length: 20 }, async () =>
        (await ask('GET', '/health')).headers.get('x-request-id'),
      ),
    )
    expect(new Set(ids).size).toBe(20)
  })
})

describe("a client's x-request-id", () => {
  const withId = async (...ids: readonly string[]): Promise<string> => {
    const lines = ids.map((id) => `X-Request-Id: ${id}`)
    const bytes = head('GET /nowhere HTTP/1.1', 'Host: gate.test', ...lines)
    const [answer] = await exchange(at.gate.port, Buffer.from(bytes, 'latin1'))
    return answer?.header('x-request-id') ?? ''
  }
  for (const id of ['a', 'Client_1.2-3', '0'.repeat(128), crypto.randomUUID()]) {
    test(`${id.slice(0, 40)} is kept, in the answer and in the log`, async () => {
      expect(await withId(id)).toBe(id)
      expect(await at.gate.logged(id)).toMatchObject({ status: 404 })
    })
  }
  const odd = ['', 'a b', 'a,b', 'a"b', '<script>', '0'.repeat(129), '\xe9', 'a/b', '{}']
  for (const id of odd) {
    test(`${JSON.stringify(id.slice(0, 40))} is replaced`, async () => {
      expect(await withId(id)).toMatch(/^[0-9a-f-]{36}$/)
    })
  }
  test('two of them are replaced', async () => {
    expect(await withId('one', 'two')).toMatch(/^[0-9a-f-]{36}$/)
  })
})
