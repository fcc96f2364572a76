// 48: what an upstream sends is what its client gets, however it was cut into pieces and whatever
// it is; what it says beside the bytes (lengths, types, usage) is kept, and nothing is made up.

import { afterAll, beforeAll, expect, test } from 'bun:test'
import type { ServerResponse } from 'node:http'
import { brotliCompressSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { type LogLine } from '../support/binary.ts'
import { type Scene, scene } from '../support/gate.ts'
import { soon } from '../support/patience.ts'
import { type Wire, wire } from './wire.ts'

const SEED = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
console.log(`SEED=${SEED}`)

/** mulberry32: small, and the same everywhere. */
function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}

type Answer = (response: ServerResponse) => void | Promise<void>

let at: Scene
const answers = new Map<string, Answer>()
let serial = 0
beforeAll(async () => {
  at = await scene()
  at.upstream.respond((request, response) => {
    const id = new URL(request.url ?? '/', 'http://upstream').searchParams.get('id') ?? ''
    return answers.get(id)?.(response)
  })
})
afterAll(() => at.close())

async function ask(answer: Answer): Promise<Wire> {
  const id = String(serial++)
  answers.set(id, answer)
  const path = `/v1/chat/completions?id=${id}`
  const one = wire(at.gate.port, { token: at.token, path, body: '{}' })
  await soon(one.finished, 'an answer')
  expect(one.whole).toBe(true)
  one.socket.destroy()
  return one
}

const logged = (of: Wire): Promise<LogLine> => at.gate.logged(of.headers.get('x-request-id') ?? '')

const hash = (bytes: Uint8Array): string =>
  new Bun.CryptoHasher('sha256').update(bytes).digest('hex')

function randomBytes(random: () => number, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  for (let at = 0; at < length; at++) bytes[at] = random() * 256
  return bytes
}

/** In pieces of 1 byte to `most`, some at once and some a moment apart. */
async function inPieces(
  response: ServerResponse,
  bytes: Uint8Array,
  random: () => number,
  most: number,
): Promise<void> {
  for (let at = 0; at < bytes.byteLength;) {
    const until = at + 1 + Math.floor(random() ** 3 * most)
    response.write(bytes.subarray(at, until))
    at = until
    if (random() < 0.1) await Bun.sleep(0)
  }
  response.end()
}

for (let run = 0; run < 12; run++) {
  test.concurrent(`48: random bytes in random pieces, seed +${run}`, async () => {
    const random = randomOf(SEED + run)
    const bytes = randomBytes(random, Math.floor(random() * 300_000))
    const one = await ask((response) => {
      response.writeHead(200, { 'content-type': 'application/octet-stream' })
      return inPieces(response, bytes, random, 30_000)
    })
    expect(hash(one.body())).toBe(hash(bytes))
    expect((await logged(one))['bytes_out']).toBe(bytes.byteLength)
  })
}

test.concurrent('48: 20,000 pieces of one byte', async () => {
  const bytes = randomBytes(randomOf(SEED), 20_000)
  const one = await ask((response) => {
    response.writeHead(200, { 'content-type': 'application/octet-stream' })
    for (const byte of bytes) response.write(Buffer.of(byte))
    response.end()
  })
  expect(hash(one.body())).toBe(hash(bytes))
})

test.concurrent('48: 4 MB in one piece, with a length and without', async () => {
  const bytes = randomBytes(randomOf(SEED + 1), 4_194_304)
  for (const length of [{}, { 'content-length': String(bytes.byteLength) }]) {
    const one = await ask((response) => {
      response.writeHead(200, { 'content-type': 'audio/mpeg', ...length }).end(bytes)
    })
    expect(hash(one.body())).toBe(hash(bytes))
    expect(one.headers.get('content-type')).toBe('audio/mpeg')
  }
})

test.concurrent('48: characters of UTF-8 cut in two', async () => {
  const text = 'data: h\u00e9 \u4f60\u597d \u{1f600}\n\n'.repeat(50)
  const one = await ask(async (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    for (const byte of Buffer.from(text)) {
      response.write(Buffer.of(byte))
      if (byte > 127) await Bun.sleep(0)
    }
    response.end()
  })
  expect(one.body().toString()).toBe(text)
})

const ENCODINGS = { gzip: gzipSync, br: brotliCompressSync, zstd: zstdCompressSync } as const

for (const [encoding, encode] of Object.entries(ENCODINGS)) {
  test.concurrent(`48: ${encoding} stays ${encoding}, small and large`, async () => {
    const random = randomOf(SEED + 2)
    for (const size of [100, 200_000]) {
      const bytes = encode(randomBytes(random, size))
      const one = await ask((response) => {
        response.writeHead(200, {
          'content-type': 'application/json',
          'content-encoding': encoding,
        })
        return inPieces(response, bytes, random, 20_000)
      })
      expect(one.headers.get('content-encoding')).toBe(encoding)
      expect(hash(one.body())).toBe(hash(bytes))
    }
  })
}

test.concurrent('48: short answers keep their length', async () => {
  for (const size of [1, 11, 5000]) {
    const one = await ask((response) => {
      const headers = { 'content-type': 'application/json', 'content-length': String(size) }
      response.writeHead(200, headers).end('x'.repeat(size))
    })
    expect(one.headers.get('content-length')).toBe(String(size))
    expect(one.headers.has('transfer-encoding')).toBe(false)
    expect(one.bodyBytes).toBe(size)
  }
})

test.concurrent(
  '48: a short answer keeps its length if its body comes after its head',
  async () => {
    const one = await ask(async (response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': '11' })
      response.flushHeaders()
      await Bun.sleep(50)
      response.end('{"ok":true}')
    })
    expect(one.headers.get('content-length')).toBe('11')
    expect(one.body().toString()).toBe('{"ok":true}')
  },
)

test.concurrent('48: an empty body stays empty', async () => {
  for (const headers of [{ 'content-type': 'text/plain' }, {}]) {
    for (const length of [{ 'content-length': '0' }, {}]) {
      const one = await ask((response) => {
        response.writeHead(200, { ...headers, ...length }).end()
      })
      expect([one.status, one.bodyBytes]).toEqual([200, 0])
      expect(one.headers.get('content-type')).toBe(headers['content-type'])
      expect(await logged(one)).toMatchObject({ end: 'complete', bytes_out: 0 })
    }
  }
})

test.concurrent('48: no content-type is invented, for small bodies or large', async () => {
  for (const size of [1, 2000, 500_000]) {
    const one = await ask((response) => {
      response.writeHead(200).end(Buffer.alloc(size, 'x'))
    })
    expect(one.bodyBytes).toBe(size)
    expect(one.headers.has('content-type')).toBe(false)
  }
})

test.concurrent('48: 204 and 205 have no body and no framing of one', async () => {
  for (const status of [204, 205]) {
    const one = await ask((response) => {
      response.writeHead(status, status === 204 ? {} : { 'content-length': '0' }).end()
    })
    expect([one.status, one.bodyBytes]).toEqual([status, 0])
    expect(one.headers.has('content-type')).toBe(false)
    expect(await logged(one)).toMatchObject({ status, end: 'complete', bytes_out: 0 })
  }
})

test.concurrent(
  '48: 304 answers no condition that the gate sends: it is a redirect to nowhere',
  async () => {
    const one = await ask((response) => {
      response.writeHead(304).end()
    })
    expect(one.status).toBe(502)
  },
)

test.concurrent('48: 1xx before the answer are dropped', async () => {
  const one = await ask((response) => {
    response.writeProcessing()
    response.writeEarlyHints({ link: '</x>; rel=preload' })
    response.writeHead(200, { 'content-type': 'text/plain' }).end('after')
  })
  expect([one.status, one.body().toString()]).toEqual([200, 'after'])
})

test.concurrent('48: HEAD of a public route has headers alone', async () => {
  const one = wire(at.gate.port, { method: 'HEAD', path: '/healthz' })
  await soon(one.finished, 'an answer')
  const { headers, socket } = wire(at.gate.port, { path: '/healthz', socket: one.socket })
  await soon(new Promise((resolve) => socket.once('data', resolve)), 'the next answer')
  expect(one.status).toBe(200)
  expect(headers.get('content-length')).toBe(one.headers.get('content-length') ?? '-')
  socket.destroy()
})

const USAGE = 'x-tinfoil-usage-metrics'

test.concurrent('48: usage is read from a header', async () => {
  const one = await ask((response) => {
    response.writeHead(200, {
      'content-type': 'application/json',
      [USAGE]: 'prompt=67,completion=42,total=109,cached_prompt_tokens=8',
    })
    response.end('{}')
  })
  expect(await logged(one)).toMatchObject({
    usage: 'exact',
    input_tokens: 59,
    output_tokens: 42,
    cache_read_tokens: 8,
  })
})

for (const pauseMs of [0, 50]) {
  test.concurrent(
    `48: usage is read from a trailer, ${pauseMs} ms after the last byte`,
    async () => {
      const one = await ask(async (response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream', trailer: USAGE })
        response.write('data: {}\n\n')
        await Bun.sleep(pauseMs)
        response.addTrailers({ [USAGE]: 'prompt=5,completion=7,total=12' })
        response.end()
      })
      expect(one.body().toString()).toBe('data: {}\n\n')
      expect(await logged(one)).toMatchObject({ input_tokens: 5, output_tokens: 7 })
    },
  )
}

const MALFORMED = [
  '',
  'prompt',
  'prompt=-1,completion=2',
  'prompt=1e3,completion=2',
  'x'.repeat(3000),
]

test.concurrent('48: malformed usage is ignored, the answer is not', async () => {
  for (const usage of MALFORMED) {
    const one = await ask((response) => {
      const headers = usage === '' ? {} : { [USAGE]: usage }
      response.writeHead(200, { 'content-type': 'text/plain', ...headers, trailer: USAGE })
      response.write('good')
      response.addTrailers(headers)
      response.end()
    })
    expect([one.status, one.body().toString()]).toEqual([200, 'good'])
    expect(await logged(one)).not.toHaveProperty('input_tokens')
  }
})
