// Attack 53: what a client chooses and what of it the log shows. Every request is one line, bounded,
// whose words are ours.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { until } from '../support/binary.ts'
import { type Scene, scene } from '../support/gate.ts'
import { bearer, forget } from '../support/sink.ts'
import { dial, exchange, head } from '../support/wire.ts'

let at: Scene
beforeAll(async () => {
  at = await scene({ env: { LOG_LEVEL: 'debug' } })
})
afterAll(() => at.close())
beforeEach(() => forget(at))

/** Longer than any line may be. */
const MAX_LINE_BYTES = 1024
/** Right-to-left override, and zero-width joiner, in UTF-8. */
const BIDI = Buffer.from('\u202egnp.exe\u2066\u200d').toString('latin1')
const LONG = 'L'.repeat(1000)
const FORGED = '{"level":"error","msg":"forged"}'

const places: Readonly<Record<string, (evil: string) => readonly string[]>> = {
  'the path': (evil) => [`GET /${encodeURI(evil)} HTTP/1.1`],
  'the raw path': (evil) => [`GET /${evil.replaceAll(' ', '')} HTTP/1.1`],
  'the query': (evil) => [`GET /v1/models?${evil.replaceAll(' ', '')} HTTP/1.1`],
  'the user agent': (evil) => ['GET /v1/models HTTP/1.1', `User-Agent: ${evil}`],
  'the request id': (evil) => ['GET /v1/models HTTP/1.1', `X-Request-Id: ${evil}`],
  'the token': (evil) => ['GET /v1/models HTTP/1.1', `Authorization: Bearer ${evil}`],
  'the scheme': (evil) => ['GET /v1/models HTTP/1.1', `Authorization: ${evil} x`],
  'the address': (evil) => ['GET /attestation HTTP/1.1', `X-Forwarded-For: ${evil}`],
  'the enclave': (evil) => [
    'GET /v1/models HTTP/1.1',
    `Authorization: Bearer ${at.token}`,
    `X-Tinfoil-Enclave-Url: https://${evil}`,
  ],
  'the encapsulated key': (evil) => [
    'GET /v1/models HTTP/1.1',
    `Authorization: Bearer ${at.token}`,
    `Ehbp-Encapsulated-Key: ${evil}`,
  ],
  'the content type': (evil) => [
    'GET /v1/models HTTP/1.1',
    `Authorization: Bearer ${at.token}`,
    `Content-Type: ${evil}`,
  ],
}
const evils = {
  bidi: BIDI,
  'a forged line': FORGED,
  'a kilobyte': LONG,
  quotes: `canary"\\'<script>`,
  // Bun refuses these by itself; what reaches the log of them is nothing.
  'ANSI colours': '\u001b[31mcanary\u001b[0m',
  'a bare line feed': `canary\n${FORGED}`,
}

describe('attack 53: the log contains nothing that a client chose', () => {
  for (const [place, lines] of Object.entries(places)) {
    for (const [what, evil] of Object.entries(evils)) {
      test(`${what} in ${place}`, async () => {
        const before = at.gate.output().length
        const [requestLine = '', ...headers] = lines(evil)
        const bytes = head(requestLine, 'Host: gate.test', ...headers)
        await exchange(at.gate.port, Buffer.from(bytes, 'latin1'))
        // A request of ours whose line comes after everything that the attack had to say.
        const marker = crypto.randomUUID()
        await fetch(`${at.gate.url}/marker`, { headers: { 'x-request-id': marker } })
        await at.gate.logged(marker)
        const written = at.gate.output().slice(before).trimEnd().split('\n')
        expect(written.length).toBeWithin(1, 3)
        for (const line of written) {
          expect(line.length).toBeLessThan(MAX_LINE_BYTES)
          expect(line).toMatch(/^[\x20-\x7e]+$/)
          expect(JSON.parse(line)).toMatchObject({ msg: 'request' })
        }
        const all = written.join('\n')
        for (const trace of ['canary', 'forged', 'gnp', LONG.slice(0, 20), 'script', '\\u001b']) {
          expect(all).not.toContain(trace)
        }
      })
    }
  }

  test('a Host of its own choosing is a line without it', async () => {
    const [answer] = await exchange(at.gate.port, head('GET / HTTP/1.1', 'Host: canary evil'))
    const line = await at.gate.logged(answer?.header('x-request-id') ?? '')
    expect(line).toMatchObject({ route: '-', status: 400, code: 'bad_host' })
    expect(at.gate.output()).not.toContain('canary evil')
  })

  test('the longest id that is kept is 128 letters', async () => {
    const id = 'i'.repeat(128)
    await fetch(`${at.gate.url}/nowhere`, { headers: { 'x-request-id': id } })
    expect(JSON.stringify(await at.gate.logged(id)).length).toBeLessThan(MAX_LINE_BYTES)
  })
})

describe('the line of a request', () => {
  test('health checks have none', async () => {
    const before = at.gate.output()
    for (const path of ['/health', '/healthz', '/readyz']) {
      for (const method of ['GET', 'HEAD']) await fetch(`${at.gate.url}${path}`, { method })
    }
    const response = await fetch(`${at.gate.url}/nowhere`)
    await at.gate.logged(response.headers.get('x-request-id') ?? '')
    const written = at.gate.output().slice(before.length).trimEnd().split('\n')
    expect(written).toHaveLength(1)
  })

  test("shows route, status, end, times, bytes, usage and the caller's hash", async () => {
    at.upstream.respond((_request, response) => {
      response.setHeader('x-tinfoil-usage-metrics', 'prompt=3,completion=5,total=8')
      response.end('answer')
    })
    const response = await fetch(`${at.gate.url}/v1/chat/completions?secret-query`, {
      method: 'POST',
      headers: { ...bearer(at.token), 'x-request-id': 'whole-line' },
      body: 'prompt',
    })
    await response.text()
    const line = await at.gate.logged('whole-line')
    expect(Object.keys(line)).toEqual([
      'level',
      'time',
      'request_id',
      'method',
      'route',
      'status',
      'end',
      'headers_ms',
      'duration_ms',
      'bytes_in',
      'bytes_out',
      'upstream',
      'usage',
      'input_tokens',
      'output_tokens',
      'cache_read_tokens',
      'cache_creation_tokens',
      'identity',
      'msg',
    ])
    expect(line).toMatchObject({
      level: 'info',
      method: 'POST',
      route: '/v1/chat/completions',
      status: 200,
      end: 'complete',
      bytes_in: 6,
      bytes_out: 6,
      upstream: 'tinfoil',
      usage: 'exact',
      input_tokens: 3,
      output_tokens: 5,
      cache_read_tokens: 0,
      cache_creation_tokens: 0,
    })
    expect(line['identity']).toMatch(/^[0-9a-f]{64}$/)
  })

  test('is a warning for 4xx and an error for 5xx', async () => {
    const levels: [number, string][] = [
      [200, 'info'],
      [404, 'warn'],
      [429, 'warn'],
      [500, 'error'],
      [503, 'error'],
    ]
    for (const [status, level] of levels) {
      at.upstream.respond((_request, response) => void response.writeHead(status).end())
      const id = `level-${status}`
      await fetch(`${at.gate.url}/v1/models`, {
        headers: { ...bearer(at.token), 'x-request-id': id },
      })
      expect(await at.gate.logged(id)).toMatchObject({ level, status })
    }
  })

  test('of a client that left is 499 and no error of ours', async () => {
    let asked = false
    at.upstream.respond(() => {
      asked = true
    })
    const wire = await dial(at.gate.port)
    const authorization = `Authorization: Bearer ${at.token}`
    const id = 'X-Request-Id: left-early'
    wire.write(head('GET /v1/models HTTP/1.1', 'Host: gate.test', authorization, id))
    await until(() => asked)
    wire.destroy()
    expect(await at.gate.logged('left-early')).toMatchObject({
      level: 'info',
      status: 499,
      end: 'client_gone',
    })
  })

  test('nothing is ever written to stderr', () => {
    expect(at.gate.errors()).toBe('')
  })
})
