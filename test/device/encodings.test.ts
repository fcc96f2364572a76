// A request's body under a Content-Encoding, on each road: it goes on as it came, with its header; where
// a limit depends on what it says it is read beside that, or refused by name.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import zlib from 'node:zlib'
import {
  ADMIN_TOKEN,
  anthropicScene,
  asked,
  type DeviceScene,
  messages,
} from '../support/anthropic.ts'
import { MAX_HELD_BYTES } from '../../src/dispatch/body.ts'

const MiB = 1_048_576
const encoded = {
  gzip: zlib.gzipSync,
  'X-GZip': zlib.gzipSync,
  deflate: zlib.deflateSync,
  br: (body: string) =>
    zlib.brotliCompressSync(body, { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 1 } }),
  zstd: zlib.zstdCompressSync,
  'gzip, identity, zstd': (body: string) => zlib.zstdCompressSync(zlib.gzipSync(body)),
} as const

let on: DeviceScene
let listed: string
let free: string
let user: string
beforeAll(async () => {
  on = await anthropicScene({ users: true, env: { ADMIN_TOKEN } })
  ;[listed, free] = await Promise.all([
    on.device('--models', 'claude-sonnet-*', '--spend-cap', '20'),
    on.device(),
  ])
  user = (await on.issuer?.token()) ?? ''
})
afterAll(() => on.close())
beforeEach(() => {
  on.upstream.seen.length = 0
})

const sent = (token: string, body: Uint8Array<ArrayBuffer>, coding: string) =>
  messages(on.gate, token, body, { 'content-encoding': coding })
const bytes = (body: Uint8Array): Uint8Array<ArrayBuffer> => new Uint8Array(body)
const asText = (body: object): string => JSON.stringify(body)
const random = (length: number): string => randomBytes(length).toString('base64')

describe.each(Object.entries(encoded))('%s', (coding, encode) => {
  test('is decoded if a limit depends on it, and passes unchanged', async () => {
    const body = bytes(encode(asText(asked)))
    expect((await sent(listed, body, coding)).status).toBe(200)
    const [seen] = on.upstream.seen
    expect(seen?.headers['content-encoding']).toBe(coding)
    expect(seen?.body.equals(body)).toBeTrue()

    const forbidden = bytes(encode(asText({ ...asked, model: 'claude-opus-9' })))
    const refused = await sent(listed, forbidden, coding)
    expect(refused.status).toBe(404)
    expect(await refused.text()).toContain('model: claude-opus-9')
    expect(on.upstream.seen).toHaveLength(1)
  })

  test('a large one too', async () => {
    const large = { ...asked, messages: [{ role: 'user', content: random(600_000) }] }
    const body = bytes(encode(asText(large)))
    expect(body.byteLength).toBeGreaterThan(MAX_HELD_BYTES)
    expect((await sent(listed, body, coding)).status).toBe(200)
    expect(on.upstream.seen[0]?.body.equals(body)).toBeTrue()
    const forbidden = bytes(encode(asText({ ...large, model: 'claude-opus-9' })))
    expect((await sent(listed, forbidden, coding)).status).toBe(404)
  })

  test('passes unread if nothing depends on it, for a device and for a user', async () => {
    const body = bytes(encode('what nobody here reads'))
    expect((await sent(free, body, coding)).status).toBe(200)
    const answer = await fetch(`${on.gate.url}/v1/chat/completions`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${user}`,
        'content-type': 'application/json',
        'content-encoding': coding,
      },
      body,
    })
    expect(answer.status).toBe(200)
    expect(on.upstream.seen).toHaveLength(2)
    for (const seen of on.upstream.seen) {
      expect(seen.headers['content-encoding']).toBe(coding)
      expect(seen.body.equals(body)).toBeTrue()
    }
  })
})

test('a coding that is not known is 415 by name before the body is read, and passes elsewhere', async () => {
  const body = bytes(Buffer.from('…'))
  const response = await sent(listed, body, 'compress')
  expect([response.status, response.headers.get('accept-encoding')]).toEqual([
    415,
    'gzip, deflate, br, zstd',
  ])
  expect(await response.json()).toMatchObject({
    error: { type: 'invalid_request_error', message: expect.stringContaining('"compress"') },
  })
  expect(on.upstream.seen).toEqual([])
  expect((await sent(free, body, 'compress')).status).toBe(200)
  expect(on.upstream.seen[0]?.headers['content-encoding']).toBe('compress')
})

test('a body that contradicts its header is 400; a bomb is 413 and keeps no memory', async () => {
  const broken = await sent(listed, bytes(Buffer.from(asText(asked))), 'gzip')
  expect([broken.status, await broken.text()]).toEqual([400, expect.stringContaining('gzip')])
  const bomb = bytes(zlib.gzipSync(Buffer.alloc(200 * MiB, ' '), { level: 9 }))
  const statuses = await Promise.all(
    Array.from({ length: 20 }, async () => (await sent(listed, bomb, 'gzip')).status),
  )
  // 429: so many at once are more than one device may hold.
  for (const status of statuses) expect([413, 429]).toContain(status)
  expect((await sent(listed, bomb, 'gzip')).status).toBe(413)
  // What the bombs held has been given back.
  const body = bytes(zlib.gzipSync(asText({ ...asked, x: random(12 * MiB) })))
  expect((await sent(listed, body, 'gzip')).status).toBe(200)
  expect(on.upstream.seen).toHaveLength(1)
})

test('our own routes say that they read no coding', async () => {
  const body = bytes(zlib.gzipSync(asText({ device_id: 'x' })))
  for (const path of ['/bootstrap', '/attestation', '/admin/revoke']) {
    const response = await fetch(on.gate.url + path, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${ADMIN_TOKEN}`,
        'content-type': 'application/json',
        'content-encoding': 'gzip',
      },
      body,
    })
    expect([path, response.status, response.headers.get('accept-encoding')]).toEqual([
      path,
      415,
      'identity',
    ])
    expect(await response.text()).toContain('\\"gzip\\"')
  }
})
