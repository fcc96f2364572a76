// What passes of an upstream's errors, on the road of users and on that of devices: a 403 about the
// request in the upstream's own bytes, nothing about our key, and no answer that quotes it.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import type { ServerResponse } from 'node:http'
import { brotliCompressSync, deflateRawSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { ANTHROPIC_KEY, anthropicScene, type DeviceScene, messages } from '../support/anthropic.ts'
import type { LogLine } from '../support/binary.ts'
import { bearer } from '../support/sink.ts'
import type { Respond } from '../support/upstream.ts'

const TINFOIL_KEY = 'tinfoil-key-canary-8c1f'

let on: DeviceScene
let device: string
let user: string
beforeAll(async () => {
  on = await anthropicScene({ users: true, env: { CIRCUIT_FAILURES: '1000' } })
  device = await on.device()
  user = (await on.issuer?.token()) ?? ''
})
afterAll(() => on.close())
beforeEach(() => {
  on.upstream.seen.length = 0
})

interface Road {
  readonly key: string
  readonly setting: string
  ask(): Promise<Response>
  readonly model: string
}

const ROADS: Readonly<Record<string, Road>> = {
  'a user at Tinfoil': {
    key: TINFOIL_KEY,
    setting: 'TINFOIL_API_KEY',
    ask: () =>
      fetch(`${on.gate.url}/v1/chat/completions`, {
        method: 'POST',
        headers: { ...bearer(user), 'content-type': 'application/json' },
        body: '{"model":"m","messages":[]}',
      }),
    model:
      '{"error": {"message":"Project `p` does not have access to model `m`","type":"invalid_request_error","param":null,"code":"model_not_found"}}\n',
  },
  'a device at Anthropic': {
    key: ANTHROPIC_KEY,
    setting: 'ANTHROPIC_API_KEY',
    ask: () => messages(on.gate, device),
    model:
      '{"type":"error", "error":{"type":"permission_error","message":"Your API key does not have permission to use the model claude-opus-5."}}\n',
  },
}

const TOLD = /the upstream (?:refuses|forbids)/
const told = (): LogLine[] => on.gate.lines().filter(({ msg }) => TOLD.test(String(msg)))

for (const [name, road] of Object.entries(ROADS)) {
  const { key, ask, setting } = road
  const answer = (
    status: number,
    body: string | Uint8Array,
    headers: Readonly<Record<string, string>> = {},
  ): void =>
    on.upstream.respond((_request, response) => {
      response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(body)
    })
  const code = async (response: Response): Promise<unknown> => {
    const line = await on.gate.logged(response.headers.get('x-request-id') ?? '')
    return line['code']
  }

  describe(name, () => {
    test('403 about the model passes to a byte, with its type and its coding', async () => {
      const since = told().length
      answer(403, road.model)
      const response = await ask()
      expect([response.status, await response.text()]).toEqual([403, road.model])
      expect(response.headers.get('content-type')).toBe('application/json')
      const encoded = gzipSync(road.model)
      answer(403, encoded, { 'content-encoding': 'gzip', 'retry-after': '7' })
      const other = await ask()
      expect(other.status).toBe(403)
      expect(other.headers.get('content-encoding')).toBe('gzip')
      expect(other.headers.get('retry-after')).toBe('7')
      expect(told()).toHaveLength(since)
    })

    test('401, or 403 about our key or about nothing: 502, not to be retried, one line in all', async () => {
      const since = told().length
      const bodies = [
        '{"error":{"message":"This organization has been disabled.","type":"permission_error"}}',
        '<html><title>Attention Required! | Cloudflare</title> your IP is 192.0.2.7</html>',
        '',
        road.model.replace('the model', `${key}, the model`).replace('Project', key),
      ]
      for (const status of [401, 403]) {
        for (const body of bodies) {
          answer(status, body)
          const response = await ask()
          expect([response.status, response.headers.get('x-should-retry')]).toEqual([502, 'false'])
          const text = await response.clone().text()
          expect(text).toContain('the upstream refused the credentials of this gate')
          expect(await code(response)).toBe('upstream_auth')
        }
      }
      const lines = told().slice(since)
      expect(lines).toHaveLength(1)
      expect(lines[0]).toMatchObject({ level: 'error', status: 401, requests: 1 })
      expect(String(lines[0]?.['msg'])).toContain(setting)
    })

    const quoting: Readonly<Record<string, Respond>> = {
      'in a 500': send(500, key),
      'in a 400, behind Bearer, in JSON': send(400, JSON.stringify({ headers: [`Bearer ${key}`] })),
      'in a 404, in base64': send(404, Buffer.from(`Bearer ${key}`).toString('base64')),
      'in a 422, escaped': send(
        422,
        [...key].map((char) => `\\u00${char.charCodeAt(0).toString(16)}`).join(''),
      ),
      'in a 429, cut off': send(429, `key ${key.slice(0, 16)}...`),
      'in a 500, gzip': send(500, gzipSync(key), { 'content-encoding': 'gzip' }),
      'in a 500, br': send(500, brotliCompressSync(key), { 'content-encoding': 'br' }),
      'in a 500, zstd': send(500, zstdCompressSync(key), { 'content-encoding': 'zstd' }),
      'in a 500, deflate': send(500, deflateRawSync(key), { 'content-encoding': 'deflate' }),
      'in a 500 that calls itself gzip': send(500, key, { 'content-encoding': 'gzip' }),
      'in two pieces': (_request, response) => {
        response.writeHead(503)
        response.write(`x ${key.slice(0, 9)}`)
        setTimeout(() => response.end(key.slice(9)), 20)
      },
      'in a 200 that is short': send(200, JSON.stringify({ data: [], debug: key }), {
        'content-type': 'application/json',
      }),
      'in a header of a 200': send(200, '{}', { 'content-type': `text/plain; key=${key}` }),
      'in a header of a 400': send(400, '{}', { 'retry-after': key }),
      'in a header of a 529, for a URL': send(529, '{}', {
        'cache-control': [...key].map((char) => `%${char.charCodeAt(0).toString(16)}`).join(''),
      }),
    }
    test.each(Object.keys(quoting))('our key %s is 502', async (how) => {
      const respond = quoting[how]
      if (respond) on.upstream.respond(respond)
      const response = await ask()
      const text = `${JSON.stringify([...response.headers])} ${await response.clone().text()}`
      expect([how, response.status]).toEqual([how, 502])
      expect(text).not.toContain(key.slice(0, 12))
      expect(await code(response)).toBe('upstream_invalid')
    })

    test('an error that is not small, or of an unknown coding, is 502', async () => {
      answer(500, 'x'.repeat(300_000))
      expect((await ask()).status).toBe(502)
      answer(500, gzipSync('x'.repeat(3_000_000)), { 'content-encoding': 'gzip' })
      expect((await ask()).status).toBe(502)
      answer(500, 'x', { 'content-encoding': 'aws-chunked' })
      expect((await ask()).status).toBe(502)
      const poured = Promise.withResolvers<void>()
      on.upstream.respond((_request, response) => {
        response.on('close', poured.resolve)
        response.writeHead(500)
        pour(response)
      })
      expect((await ask()).status).toBe(502)
      await poured.promise
    })

    test('a large 404 in words passes', async () => {
      const body = JSON.stringify({ error: { message: 'no '.repeat(60_000) } })
      answer(404, body)
      const response = await ask()
      expect([response.status, await response.text()]).toEqual([404, body])
    })
  })
}

test('no response of the gate contains our keys', () => {
  for (const key of [TINFOIL_KEY, ANTHROPIC_KEY]) expect(on.gate.output()).not.toContain(key)
})

function send(
  status: number,
  body: string | Uint8Array,
  headers: Readonly<Record<string, string>> = {},
): Respond {
  return (_request, response) => void response.writeHead(status, headers).end(body)
}

function pour(response: ServerResponse): void {
  while (!response.destroyed && response.write('x'.repeat(65_536)));
  response.once('drain', () => pour(response))
}

/** `decompress` is Bun's; the coding's header is what is looked at. */
