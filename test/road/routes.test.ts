// Every route there is, walked: what is public, what is guarded, and what every answer carries.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import type { AdminParts } from '../../src/accept/admin/parts.ts'
import { adminGate, gate, type Parts } from '../../src/accept/app.ts'
import { cors } from '../../src/accept/cors.ts'
import type { Admission } from '../../src/accept/door.ts'
import { type Route, routesOf } from '../../src/accept/route-table.ts'
import type { Admitted } from '../../src/admit/admitted.ts'
import { granted, refused } from '../../src/refusal.ts'
import { type Scene, scene } from '../support/gate.ts'
import { bearer, errorOf, forget, reachedUpstream } from '../support/sink.ts'
import { exchange, head } from '../support/wire.ts'
import { admin, nothingBehindTheDoor } from '../support/closed-gate.ts'
import { EVERY_ROUTE, partsWith, routesWith } from '../support/routes.ts'

let at: Scene
beforeAll(async () => {
  at = await scene()
})
afterAll(() => at.close())
beforeEach(() => forget(at))

const ask = (method: string, path: string, headers: Record<string, string> = {}) =>
  fetch(`${at.gate.url}${path}`, { method, headers, ...(method === 'POST' ? { body: '{}' } : {}) })

describe('a route that is not public', () => {
  for (const { method, path } of routesWith('tinfoil').filter(isRelayed)) {
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

    // Its group has to be named.
    if (path === '/v1/convert/file') {
      test(`${method} ${path} is 403 with one, and reaches no upstream`, async () => {
        expect((await ask(method, path, bearer(at.token))).status).toBe(403)
        expect(await reachedUpstream(at)).toEqual([])
      })
      continue
    }

    test(`${method} ${path} reaches the path of the same name with one`, async () => {
      expect((await ask(method, `${path}?a=b`, bearer(at.token))).status).toBe(200)
      const seen = await reachedUpstream(at)
      expect(seen.map((each) => [each.method, each.url])).toEqual([[method, `${path}?a=b`]])
    })
  }

  // Elysia's hooks fail open when they are scoped wrongly: so it is the app's own table that is
  // walked, and what is in it but not declared public has to say 401.
  // A gate has one Anthropic or the other; the routes of the one that it has not are 404.
  for (const other of ['anthropic', 'anthropic-oauth'] as const) {
    for (const dialect of ['openai', 'anthropic'] as const) {
      test(`is every route of the app that is not declared public, asked in ${dialect}'s, without ${other}`, async () => {
        const there = other === 'anthropic' ? 'anthropic-oauth' : 'anthropic'
        const app = gate(partsWith('tinfoil', there))
        const served = Map.groupBy(routesOf(app.routes), nameOf)
        for (const { method, path } of EVERY_ROUTE) {
          const request = new Request(
            `http://gate.test${path.replace(':id', 'some-model').replace(':item', 'an-item')}`,
            {
              method,
              headers: {
                host: 'gate.test',
                ...(dialect === 'anthropic' && { 'anthropic-version': '2023-06-01' }),
              },
            },
          )
          const response = await app.handle(request)
          const declared = served.get(`${method} ${path}`)
          if (!declared) {
            const isThere = served
              .values()
              .some((routes) => routes.some((each) => each.path === path))
            expect([path, response.status]).toEqual([path, isThere ? 405 : 404])
            continue
          }
          // Public, and behind a token of its own: what refreshes it.
          const open = declared.some(({ access }) => access === 'public')
          const guarded = !open || path === '/refresh'
          expect([path, response.status === 401]).toEqual([path, guarded])
        }
      })
    }
  }

  // Admission answers at once where it can and with a promise where it can't, and either may break.
  const throwing = (): never => {
    throw new RangeError('admission is broken')
  }
  const doors: Readonly<Record<string, [number, () => ReturnType<Admission>]>> = {
    'refuses at once': [401, () => refused('invalid_token')],
    'refuses later': [401, async () => refused('invalid_token')],
    throws: [500, throwing],
    rejects: [500, async () => throwing()],
  }
  for (const [name, [status, admission]] of Object.entries(doors)) {
    test(`is reached by nobody if admission ${name}`, async () => {
      const bugs: string[] = []
      const parts = partsWith('tinfoil')
      const routes = routesWith('tinfoil')
      const app = gate({
        ...parts,
        log: {
          error: ({ error }: { error: string }) => void bugs.push(error),
        } as unknown as Parts['log'],
        inference: {
          ...parts.inference,
          admissions: { ...parts.inference.admissions, user: admission },
        },
      })
      const walked = routes.filter(isRelayed)
      for (const { method, path } of walked) {
        const url = `http://gate.test${path.replace(':id', 'some-model').replace(':item', 'an-item')}`
        const response = await app.handle(
          new Request(url, { method, headers: { host: 'gate.test' } }),
        )
        expect([path, response.status]).toEqual([path, status])
      }
      // One for each: that of the admission, and none of what lies behind it.
      expect(bugs).toEqual(status === 500 ? walked.map(() => 'RangeError') : [])
    })
  }

  test("is guarded separately for the operator's routes", async () => {
    const app = adminGate({ ...nothingBehindTheDoor(), admin: admin() })
    const declared = EVERY_ROUTE.filter(({ access }) => access === 'own' || access === 'operator')
    const walked = app.routes.map(({ method, path }) => `${method} ${path}`)
    expect(walked.toSorted()).toEqual(
      declared.map(({ method, path }) => `${method} ${path}`).toSorted(),
    )
    for (const { method, path } of declared) {
      const headers = { host: 'gate.test', authorization: 'Bearer nonsense' }
      for (const sent of [headers, { host: 'gate.test' }]) {
        const request = new Request(`http://gate.test${path}`, { method, headers: sent })
        const response = await app.handle(request)
        expect([path, response.status]).toEqual([path, 401])
      }
    }
  })

  test('of the operator is 403 for a device, and 404 without a key', async () => {
    const asked = async (path: string, parts: AdminParts): Promise<[string, number]> => {
      const app = adminGate({ ...nothingBehindTheDoor(), admin: parts })
      const headers = { host: 'gate.test', authorization: 'Bearer some-device' }
      const response = await app.handle(new Request(`http://gate.test${path}`, { headers }))
      expect(errorOf(await response.text())['type']).toBeOneOf([
        'permission_error',
        'not_found_error',
      ])
      return [path, response.status]
    }
    const device = granted({ identity: 'd'.repeat(64) } as Admitted)
    for (const path of ['/admin/devices', '/admin/circuit-breaker']) {
      const admitDevice = async () => device
      expect(await asked(path, { ...admin(), admitDevice })).toEqual([path, 403])
      expect(await asked(path, { ...admin(), adminToken: () => undefined })).toEqual([path, 404])
    }
  })
})

const isRelayed = ({ access }: Route): boolean => access === 'relayed'
const nameOf = ({ method, path }: Pick<Route, 'method' | 'path'>): string => `${method} ${path}`

describe('attack 18: a preflight is for pages, and opens nothing', () => {
  const app = gate({ ...nothingBehindTheDoor(), cors: cors(['https://app.example']) })
  const preflight = (path: string, origin: string): Promise<Response> =>
    app.handle(
      new Request(`http://gate.test${path}`, {
        method: 'OPTIONS',
        headers: {
          host: 'gate.test',
          origin,
          'access-control-request-method': 'POST',
          'access-control-request-headers': 'authorization',
        },
      }),
    )
  test('of an allowed page it is answered without a credential, and reaches no route', async () => {
    for (const { path } of EVERY_ROUTE) {
      const response = await preflight(
        path.replace(':id', 'a').replace(':item', 'an-item'),
        'https://app.example',
      )
      expect([path, response.status]).toEqual([path, 204])
      expect(response.headers.get('access-control-allow-origin')).toBe('https://app.example')
      expect(response.headers.has('access-control-allow-credentials')).toBe(false)
      expect(response.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/)
    }
  })
  test('of any other page, and of no route, it is refused without a word of permission', async () => {
    for (const [path, origin, status] of [
      ['/v1/models', 'https://evil.example', 405],
      ['/v1/models', 'null', 405],
      ['/nowhere', 'https://app.example', 404],
      ['/nowhere', 'https://evil.example', 404],
    ] as const) {
      const response = await preflight(path, origin)
      expect([path, response.status]).toEqual([path, status])
      expect(response.headers.has('access-control-allow-methods')).toBe(false)
      expect(response.headers.has('access-control-allow-origin')).toBe(
        origin === 'https://app.example',
      )
      expect(response.headers.get('vary')).toBe('Origin')
    }
  })
  test('a refusal of ours can be read by an allowed page', async () => {
    const headers = { host: 'gate.test', origin: 'https://app.example' }
    const response = await app.handle(new Request('http://gate.test/v1/models', { headers }))
    expect(response.status).toBe(401)
    expect(response.headers.get('access-control-allow-origin')).toBe('https://app.example')
  })
})

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
