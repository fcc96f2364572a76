// The way out over real sockets and real TLS: what is sent, what comes back, which connection carries
// what, and what an upstream that lies, dawdles or dies makes of the next request. No answer is ever
// another request's, and no request is ever sent twice.

import { PATIENCE_MS } from '../support/patience.ts'
import { until } from '../support/binary.ts'
import { afterAll, describe, expect, jest, test } from 'bun:test'
import { type KeyObject, generateKeyPairSync, sign } from 'node:crypto'
import { rmSync } from 'node:fs'
import net, { type AddressInfo, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import tls from 'node:tls'
import { userAgent } from '../../src/version.ts'
import { asking } from '../../src/http1/ask.ts'
import { documents } from '../../src/upstream/tinfoil/documents.ts'
import { type Destination, destinationOf } from '../../src/http1/destination.ts'
import { DIRECT } from '../../src/http1/egress.ts'
import { ALL_HANDLES, NO_HANDLES } from '../../src/http1/handles.ts'
import type { UpstreamRequest } from '../../src/http1/request.ts'
import {
  type UpstreamAnswer,
  type Failure,
  type Listener,
  transport,
} from '../../src/http1/transport.ts'

/** public-road.test.ts runs this file with none of them. */
const HANDLES = process.env['TEST_SOCKET_HANDLES'] === 'none' ? NO_HANDLES : ALL_HANDLES
const TIMEOUTS = { connectMs: 10_000, headersMs: 10_000, bodyMs: 10_000 }

const closers: (() => void)[] = []
// At the end, since most of these wait, and wait at the same time.
afterAll(() => {
  for (const close of closers) close()
})

interface Upstream {
  readonly to: Destination
  readonly port: number
  /** What came in on each connection ever opened, in latin1. */
  readonly received: string[]
  readonly sockets: Socket[]
}

/** `onRequest` is called for each head; bodies are looked at by nobody here. */
async function upstream(
  onRequest: (socket: Socket, head: string, connection: number) => void,
  host = '127.0.0.1',
): Promise<Upstream> {
  const received: string[] = []
  const sockets: Socket[] = []
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    const index = received.push('') - 1
    sockets.push(socket)
    socket.on('error', () => {})
    socket.on('end', () => socket.end())
    let rest = ''
    socket.on('data', (chunk: Buffer) => {
      const text = chunk.toString('latin1')
      received[index] += text
      rest += text
      for (let end = rest.indexOf('\r\n\r\n'); end !== -1; end = rest.indexOf('\r\n\r\n')) {
        const head = rest.slice(0, end + 4)
        rest = rest.slice(end + 4)
        onRequest(socket, head, index)
      }
    })
  })
  await new Promise<void>((resolve, reject) => {
    server.on('error', reject)
    server.listen(0, host, resolve)
  })
  closers.push(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  const { port } = server.address() as AddressInfo
  const shown = host.includes(':') ? `[${host}]` : host
  const to = destinationOf(new URL(`http://${shown}:${port}/v1/x?y=z`))
  return { to, port, received, sockets }
}

function client() {
  const wire = transport(DIRECT, HANDLES)
  closers.push(() => wire.close())
  return wire
}

const get = (to: Destination, headers: UpstreamRequest['headers'] = {}): UpstreamRequest => ({
  method: 'GET',
  to,
  headers,
  body: undefined,
})

interface Ended {
  readonly how: 'complete' | 'broken'
  readonly body: string
  readonly trailers: Readonly<Record<string, string | undefined>>
}

function bodyOf(head: UpstreamAnswer | Failure): Promise<Ended> {
  if (!head.ok) throw new Error(`${head.kind}: ${head.reason}`)
  return new Promise((resolve) => {
    let body = ''
    head.body.listen({
      onData(chunk) {
        body += Buffer.from(chunk).toString('latin1')
      },
      onEnd: (how, trailers) => resolve({ how, body, trailers: { ...trailers } }),
    })
  })
}

async function fetched(wire: ReturnType<typeof transport>, call: UpstreamRequest) {
  const head = await wire.send(call, TIMEOUTS).head
  return head.ok ? { status: head.status, ...(await bodyOf(head)) } : head
}

const answer = (body: string): string =>
  `HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`

const sleep = (ms: number): Promise<void> => Bun.sleep(ms)

const isGone = (socket: Socket | undefined): boolean =>
  socket !== undefined && (socket.readableEnded || socket.destroyed)

describe.concurrent('a request', () => {
  test('goes out as it is, once, with its own framing', async () => {
    const { to, port, received } = await upstream((socket) => socket.write(answer('ok')))
    const wire = client()
    await fetched(wire, get(to, { accept: 'a/b' }))
    const body = new Uint8Array([1, 2, 255])
    await fetched(wire, { method: 'POST', to, headers: { 'x-a': 'b' }, body })
    await fetched(wire, { method: 'POST', to, headers: {}, body: new Uint8Array() })
    const host = `host: 127.0.0.1:${port}\r\nuser-agent: ${userAgent}`
    expect(received).toEqual([
      `GET /v1/x?y=z HTTP/1.1\r\n${host}\r\naccept: a/b\r\n\r\n` +
        `POST /v1/x?y=z HTTP/1.1\r\n${host}\r\nx-a: b\r\ncontent-length: 3\r\n\r\n\x01\x02\xff` +
        `POST /v1/x?y=z HTTP/1.1\r\n${host}\r\ncontent-length: 0\r\n\r\n`,
    ])
  })

  test('streams its body in chunks, or in its length', async () => {
    let seen = ''
    const { to, received } = await upstream((socket, head) => {
      if (!head.startsWith('POST')) return
      const timer = setInterval(() => {
        seen = received.join('')
        if (!seen.endsWith('0\r\n\r\n') && !seen.endsWith('tailtail')) return
        clearInterval(timer)
        socket.write(answer('ok'))
      }, 2)
    })
    async function* pieces() {
      yield Buffer.from('tail')
      await sleep(5)
      yield new Uint8Array()
      yield Buffer.from('tail')
    }
    const wire = client()
    const post = { method: 'POST', to, headers: {} } as const
    await fetched(wire, { ...post, body: { chunks: pieces(), length: undefined } })
    expect(seen).toEndWith('chunked\r\n\r\n4\r\ntail\r\n4\r\ntail\r\n0\r\n\r\n')
    await fetched(wire, { ...post, body: { chunks: pieces(), length: 8 } })
    expect(seen).toEndWith('content-length: 8\r\n\r\ntailtail')
  })

  for (const value of ['a\r\nx-b: c', 'a\nb', 'a\rb', 'a\0b', 'a\u0100b', 'a\x7fb']) {
    test(`with the header value ${JSON.stringify(value)} is not sent`, async () => {
      const { to, received } = await upstream((socket) => socket.write(answer('ok')))
      const outcome = await fetched(client(), get(to, { 'x-a': value }))
      expect(outcome).toMatchObject({ ok: false, kind: 'unanswered' })
      expect(received.join('')).toBe('')
    })
  }

  for (const [what, length] of Object.entries({ longer: 3, shorter: 5 })) {
    test(`whose body is ${what} than its length leaves nothing behind for the next`, async () => {
      const { to, received } = await upstream((socket) => socket.write(answer('ok')))
      const wire = client()
      async function* chunks() {
        yield Buffer.from('GET ')
      }
      const post: UpstreamRequest = {
        method: 'POST',
        to,
        headers: {},
        body: { chunks: chunks(), length },
      }
      expect(await wire.send(post, TIMEOUTS).head).toMatchObject({ ok: false, kind: 'body_failed' })
      expect(await fetched(wire, get(to))).toMatchObject({ body: 'ok' })
      expect(received).toHaveLength(2)
      expect(received[0]?.split('\r\n\r\n')[1]).toBe(what === 'longer' ? '' : 'GET ')
    })
  }

  test('is never sent twice: not over a connection that died while it was kept', async () => {
    let requests = 0
    const { to } = await upstream((socket, _head, connection) => {
      requests += 1
      if (requests === 1) socket.write(answer('ok'))
      else if (connection === 0) socket.resetAndDestroy()
      else socket.write(answer('again'))
    })
    const wire = client()
    expect(await fetched(wire, get(to))).toMatchObject({ body: 'ok' })
    expect(await fetched(wire, get(to))).toMatchObject({ ok: false, kind: 'unanswered' })
    await sleep(50)
    expect(requests).toBe(2)
  })

  test('that was cancelled in the turn in which it was made opens no connection', async () => {
    const { to, sockets } = await upstream((socket) => socket.write(answer('ok')))
    const wire = client()
    const flight = wire.send(get(to), TIMEOUTS)
    flight.cancel()
    expect(await flight.head).toMatchObject({ kind: 'cancelled' })
    expect(await fetched(wire, get(to))).toMatchObject({ body: 'ok' })
    expect(sockets).toHaveLength(1)
  })

  for (const sentOnce of [true, false]) {
    test(`${sentOnce ? 'gives back' : 'keeps'} the memory of its body`, async () => {
      const { to, received } = await upstream((socket) => socket.write(answer('ok')))
      const wire = client()
      await fetched(wire, get(to))
      const body = new Uint8Array(76_000).fill(65)
      await fetched(wire, { method: 'POST', to, headers: {}, body, sentOnce })
      await until(() => (received[0] ?? '').endsWith(`\r\n\r\n${'A'.repeat(76_000)}`))
      expect(body.buffer.byteLength).toBe(sentOnce ? 0 : 76_000)
    })
  }

  test('of any size arrives as it is, head and body', async () => {
    const { to, received } = await upstream((socket) => socket.write(answer('ok')))
    const wire = client()
    const post: UpstreamRequest = { method: 'POST', to, headers: {}, body: new Uint8Array() }
    await fetched(wire, post)
    const head = received[0]?.length ?? 0
    const most = 16_384 - head - '16384'.length + 1
    for (const bytes of [most - 1, most, most + 1, 16_384, 16_385, 70_000]) {
      received[0] = ''
      await fetched(wire, { ...post, body: Buffer.alloc(bytes, 'b') })
      const end = `\r\ncontent-length: ${bytes}\r\n\r\n${'b'.repeat(bytes)}`
      await until(() => received[0]?.endsWith(end) ?? false)
      received[0] = ''
      const long = 'a'.repeat(bytes)
      await fetched(wire, get(to, { 'x-a': long }))
      await until(() => received[0]?.endsWith(`\r\nx-a: ${long}\r\n\r\n`) ?? false)
    }
    expect(received).toHaveLength(1)
  })

  test('takes no memory that its body shares', async () => {
    const { to } = await upstream((socket) => socket.write(answer('ok')))
    const whole = new Uint8Array(80_000).fill(65)
    const body = whole.subarray(0, 76_000)
    const wire = client()
    await fetched(wire, { method: 'POST', to, headers: {}, body, sentOnce: true })
    expect(whole.byteLength).toBe(80_000)
  })

  test('is sent whole, whatever the kernel takes of it at first', async () => {
    const bytes = 32 * 1_048_576
    const body = new Uint8Array(bytes)
    for (let at = 0; at < bytes; at += 4093) body[at] = at % 251
    const { to, received, sockets } = await upstream((socket) => socket.pause())
    const flight = client().send(
      { method: 'POST', to, headers: {}, body, sentOnce: true },
      TIMEOUTS,
    )
    const socket = await until(() => sockets[0])
    await sleep(100)
    expect(body.buffer.byteLength).toBe(bytes)
    const hash = new Bun.CryptoHasher('sha256')
    let length = 0
    const take = (chunk: Uint8Array): void => {
      hash.update(chunk)
      length += chunk.byteLength
    }
    // Not as text: searching a text of 32 MiB at each chunk would stall the tests beside this one.
    const first = received[0]?.split('\r\n\r\n').slice(1).join('\r\n\r\n') ?? ''
    take(Buffer.from(first, 'latin1'))
    socket.removeAllListeners('data').on('data', take).resume()
    await until(() => length === bytes)
    expect(hash.digest('hex')).toBe(Bun.SHA256.hash(body, 'hex'))
    socket.write(answer('ok'))
    expect(await flight.head).toMatchObject({ ok: true })
  })

  test('is not sent twice if its connection closes without an answer', async () => {
    let requests = 0
    const { to } = await upstream((socket) => {
      requests += 1
      socket.end()
    })
    const wire = client()
    expect(await fetched(wire, get(to))).toMatchObject({ kind: 'unanswered', reason: 'closed' })
    await sleep(50)
    expect(requests).toBe(1)
  })
})

describe.concurrent('an answer', () => {
  test('byte by byte is the same as at once, trailers included', async () => {
    const bytes =
      'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-usage: 7\r\n\r\n'
    const { to } = await upstream((socket) => {
      socket.setNoDelay(true)
      const more = (at: number): void => {
        socket.write(bytes.charAt(at))
        if (at + 1 < bytes.length) setImmediate(more, at + 1)
      }
      more(0)
    })
    const wire = client()
    for (let round = 0; round < 2; round++) {
      const { how, body, trailers } = (await fetched(wire, get(to))) as Ended
      expect({ how, body, trailers }).toEqual({
        how: 'complete',
        body: 'hello',
        trailers: { 'x-usage': '7' },
      })
    }
  })

  const ENDS: Readonly<Record<string, readonly [string, 'FIN' | 'RST', 'complete' | 'broken']>> = {
    'to the end of the connection': ['\r\nok', 'FIN', 'complete'],
    'to the end of a connection that is reset': ['\r\nok', 'RST', 'broken'],
    'of known length, with the end of the connection': [
      'content-length: 2\r\n\r\nok',
      'FIN',
      'complete',
    ],
    'of known length, that is short': ['content-length: 3\r\n\r\nok', 'FIN', 'broken'],
    'in chunks, without the last': [
      'transfer-encoding: chunked\r\n\r\n2\r\nok\r\n',
      'FIN',
      'broken',
    ],
    'in chunks, that turn out to be none': [
      'transfer-encoding: chunked\r\n\r\n2\r\nok\r\n+1\r\na\r\n',
      'FIN',
      'broken',
    ],
  }
  for (const [name, [rest, by, how]] of Object.entries(ENDS)) {
    test(`${name} is ${how}, and its bytes are there`, async () => {
      const { to } = await upstream((socket) => {
        if (by === 'FIN') {
          socket.end(`HTTP/1.1 200 OK\r\n${rest}`)
          return
        }
        socket.write(`HTTP/1.1 200 OK\r\n${rest}`)
        setTimeout(() => socket.resetAndDestroy(), 30)
      })
      expect(await fetched(client(), get(to))).toMatchObject({ how, body: 'ok' })
    })
  }

  test('to a running upload is reported, and the upload stops', async () => {
    let yielded = 0
    let returned = false
    async function* endless() {
      try {
        for (; yielded < 2000; yielded++) {
          yield new Uint8Array(65_536)
          await sleep(1)
        }
      } finally {
        returned = true
      }
    }
    const { to, received } = await upstream((socket) => {
      socket.removeAllListeners('data')
      socket.resume()
      socket.end('HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno')
    })
    const body = { chunks: endless(), length: undefined }
    const wire = client()
    const outcome = await fetched(wire, { method: 'POST', to, headers: {}, body })
    expect(outcome).toMatchObject({ status: 413, how: 'complete', body: 'no' })
    await until(() => returned)
    expect(yielded).toBeLessThan(500)
    expect(received).toHaveLength(1)
  })

  test('to an upload that goes on is the last on its connection', async () => {
    const { to, received } = await upstream((socket) => socket.write(answer('ok')))
    const wire = client()
    const { promise: more, resolve: goOn } = Promise.withResolvers<void>()
    async function* chunks() {
      yield Buffer.from('a')
      await more
    }
    const body = { chunks: chunks(), length: undefined }
    const early = await fetched(wire, { method: 'POST', to, headers: {}, body })
    expect(early).toMatchObject({ how: 'complete', body: 'ok' })
    expect(await fetched(wire, get(to))).toMatchObject({ body: 'ok' })
    goOn()
    expect(received).toHaveLength(2)
  })

  test('to a body that has not all left ends its connection', async () => {
    const { to, received } = await upstream((socket, head) => {
      if (head.startsWith('POST')) socket.pause()
      socket.write(answer('ok'))
    })
    const wire = client()
    const body = new Uint8Array(16 * 1_048_576)
    const outcome = await fetched(wire, { method: 'POST', to, headers: {}, body })
    expect(outcome).toMatchObject({ body: 'ok' })
    // It would wait behind what nobody reads.
    expect(await fetched(wire, get(to))).toMatchObject({ body: 'ok' })
    expect(received).toHaveLength(2)
  })

  test('without a listener is not read endlessly', async () => {
    const sent = { bytes: 0 }
    const { to } = await upstream((socket) => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      flood(socket, 32 * 1_048_576, sent)
    })
    const head = (await client().send(get(to), TIMEOUTS).head) as UpstreamAnswer
    await sleep(200)
    expect(sent.bytes).toBeLessThan(16 * 1_048_576)
    let bytes = 0
    const whole = new Promise((resolve) => {
      head.body.listen({
        onData(chunk) {
          bytes += chunk.byteLength
        },
        onEnd: resolve,
      })
    })
    expect(await whole).toBe('complete')
    expect(bytes).toBe(32 * 1_048_576)
  })
})

/** As fast as it is taken; `sent` counts what the kernel has taken. */
function flood(socket: Socket, bytes: number, sent = { bytes: 0 }): void {
  const piece = Buffer.alloc(65_536)
  const go = (): void => {
    while (sent.bytes < bytes) {
      sent.bytes += piece.length
      if (!socket.write(piece)) return
    }
    socket.end()
  }
  socket.on('drain', go)
  go()
}

describe.concurrent('bytes that nobody asked for', () => {
  const EVIL = answer('evil')

  for (const extra of ['\r\n', 'x', EVIL]) {
    test(`end the connection behind an answer: ${JSON.stringify(extra)}`, async () => {
      const { to, received } = await upstream((socket) => socket.write(answer('ok') + extra))
      const wire = client()
      for (let round = 0; round < 3; round++) {
        expect(await fetched(wire, get(to))).toMatchObject({ status: 200, body: 'ok' })
      }
      expect(received).toHaveLength(3)
    })

    test(`end the connection while it is kept: ${JSON.stringify(extra)}`, async () => {
      const { to, received, sockets } = await upstream((socket) => {
        socket.write(answer('ok'))
        setTimeout(() => socket.write(extra), 50)
      })
      const wire = client()
      expect(await fetched(wire, get(to))).toMatchObject({ status: 200, body: 'ok' })
      await until(() => isGone(sockets[0]))
      expect(await fetched(wire, get(to))).toMatchObject({ status: 200, body: 'ok' })
      expect(received).toHaveLength(2)
    })
  }

  test('never become the answer to another of 1,000 requests over few connections', async () => {
    let count = 0
    const { to, received } = await upstream((socket, head) => {
      const id = /x-id: (\d+)/.exec(head)?.[1] ?? ''
      const body = `${id}:${'b'.repeat(count % 50)}`
      count += 1
      if (count % 100 === 0) socket.write(answer(body) + EVIL)
      else if (count % 150 === 0) {
        socket.write(
          `HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\nx-id: ${id}\r\n\r\n4\r\nevil\r\n0\r\n\r\n`,
        )
      } else if (count % 7 === 0) {
        const size = body.length.toString(16)
        socket.write(`HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${size}\r\n${body}`)
        setImmediate(() => socket.write('\r\n0\r\n\r\n'))
      } else socket.write(answer(body))
    })
    const wire = client()
    let next = 0
    const worker = async (): Promise<void> => {
      for (let id = next++; id < 1000; id = next++) {
        const outcome = await fetched(wire, get(to, { 'x-id': String(id) }))
        if (!('body' in outcome)) throw new Error(`${outcome.kind} ${outcome.reason}`)
        if (outcome.status === 200) expect(outcome.body).toMatch(new RegExp(`^${id}:b*$`))
        else expect(outcome.body).toBe('')
      }
    }
    await Promise.all(Array.from({ length: 8 }, worker))
    expect(received.join('').match(/x-id/g)).toHaveLength(1000)
    // Eight at a time, and one anew for each of those that were given up.
    expect(received.length).toBeLessThanOrEqual(8 + 10 + 7)
  })
})

describe.concurrent('a kept connection', () => {
  test('is used again, and not for another name, port or address', async () => {
    const one = await upstream((socket) => socket.write(answer('one')))
    const two = await upstream((socket) => socket.write(answer('two')))
    const wire = client()
    for (let round = 0; round < 3; round++) {
      expect(await fetched(wire, get(one.to))).toMatchObject({ body: 'one' })
      expect(await fetched(wire, get(two.to))).toMatchObject({ body: 'two' })
    }
    expect([one.received.length, two.received.length]).toEqual([1, 1])
    const named = new URL(`http://name.invalid:${one.port}/`)
    const pinned = destinationOf(named, '127.0.0.1')
    expect(await fetched(wire, get(pinned))).toMatchObject({ body: 'one' })
    expect(one.received).toHaveLength(2)
    expect(one.received[1]).toContain(`host: name.invalid:${one.port}\r\n`)
    expect(await fetched(wire, get(destinationOf(named)))).toMatchObject({ ok: false })
  })

  test('is not used after a request that asked for its end, whatever the answer says', async () => {
    const one = await upstream((socket) => socket.write(answer('one')))
    const wire = client()
    const last = { ...get(one.to), headers: { connection: 'close' } }
    expect(await fetched(wire, last)).toMatchObject({ body: 'one' })
    expect(await fetched(wire, get(one.to))).toMatchObject({ body: 'one' })
    expect(one.received).toHaveLength(2)
  })

  test('that the other side closes is not used', async () => {
    const { to, received, sockets } = await upstream((socket) => {
      socket.write(answer('ok'))
      setTimeout(() => socket.end(), 50)
    })
    const wire = client()
    for (let round = 0; round < 3; round++) {
      expect(await fetched(wire, get(to))).toMatchObject({ body: 'ok' })
      await until(() => isGone(sockets.at(-1)))
    }
    expect(received).toHaveLength(3)
  })

  test('survives that a flight is cancelled after its end', async () => {
    const { to, received } = await upstream((socket) => socket.write(answer('ok')))
    const wire = client()
    const flight = wire.send(get(to), TIMEOUTS)
    await bodyOf(await flight.head)
    flight.cancel()
    const second = wire.send(get(to), TIMEOUTS)
    flight.cancel()
    expect(await bodyOf(await second.head)).toMatchObject({ how: 'complete', body: 'ok' })
    expect(received).toHaveLength(1)
  })

  test('that was standing still at the end of its answer carries the next', async () => {
    const { to, received } = await upstream((socket) => {
      socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n')
      setTimeout(() => socket.write('1\r\no\r\n1\r\nk\r\n0\r\n\r\n'), 20)
    })
    const wire = client()
    for (let round = 0; round < 3; round++) {
      const head = await wire.send(get(to), TIMEOUTS).head
      if (!head.ok) throw new Error(head.kind)
      const how = await new Promise((resolve) => {
        head.body.listen({ onData: () => head.body.pause(), onEnd: resolve })
      })
      expect(how).toBe('complete')
    }
    expect(received).toHaveLength(1)
  })

  test('is no more once the transport is closed', async () => {
    const { to, sockets } = await upstream((socket) =>
      setTimeout(() => socket.write(answer('ok')), 20),
    )
    const wire = client()
    await fetched(wire, get(to))
    const underWay = fetched(wire, get(to))
    wire.close()
    expect(await underWay).toMatchObject({ body: 'ok' })
    await until(() => sockets.every(isGone))
  })
})

describe.concurrent('a flight', () => {
  const HUNG = {
    'before its answer': '',
    'in the head of its answer': 'HTTP/1.1 200 OK\r\nx',
    'in the body of its answer': 'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok',
  }
  for (const [when, bytes] of Object.entries(HUNG)) {
    test(`that is cancelled ${when} closes its connection`, async () => {
      const { to, received, sockets } = await upstream((socket) => socket.write(bytes))
      const flight = client().send(get(to), TIMEOUTS)
      if (when === 'in the body of its answer') {
        const ended = bodyOf(await flight.head)
        flight.cancel()
        expect(await ended).toMatchObject({ how: 'broken' })
      } else {
        await until(() => received.length > 0)
        await sleep(20)
        flight.cancel()
        flight.cancel()
        expect(await flight.head).toMatchObject({ kind: 'cancelled' })
      }
      await until(() => isGone(sockets[0]))
    })
  }

  test('that is cancelled before it is connected says so', async () => {
    const { to } = await upstream((socket) => socket.write(answer('ok')))
    const flight = client().send(get(to), TIMEOUTS)
    flight.cancel()
    expect(await flight.head).toMatchObject({ kind: 'cancelled' })
  })

  test('has a time for the head, however it drips in, and interim answers do not extend it', async () => {
    const { to, sockets } = await upstream((socket, head) => {
      const interim = 'HTTP/1.1 102 Processing\r\n\r\n'
      if (!head.includes('interim')) socket.write('HTTP/1.1 200 OK\r\nx: ')
      const more = head.includes('interim') ? interim : 'y'
      setInterval(() => socket.write(more), 40).unref()
    })
    const wire = client()
    const drip = wire.send(get(to), { connectMs: 200, headersMs: 200, bodyMs: 200 })
    const interim = wire.send(get(to, { interim: '1' }), {
      connectMs: 200,
      headersMs: 200,
      bodyMs: 200,
    })
    for (const flight of [drip, interim]) {
      expect(await flight.head).toMatchObject({ ok: false, kind: 'headers_timeout' })
    }
    await until(() => sockets.every(isGone))
  })

  test('has a time for the handshake', async () => {
    const { port } = await upstream(() => {})
    const to = destinationOf(new URL(`https://127.0.0.1:${port}/`))
    const flight = client().send(get(to), { connectMs: 150, headersMs: 5000, bodyMs: 5000 })
    expect(await flight.head).toMatchObject({ kind: 'connect_timeout' })
  })

  test('to a closed port or an unknown name is a value', async () => {
    const { port } = await upstream(() => {})
    closers.at(-1)?.()
    const wire = client()
    for (const url of [`http://127.0.0.1:${port}/`, `https://127.0.0.1:${port}/`]) {
      expect(await fetched(wire, get(destinationOf(new URL(url))))).toMatchObject({
        kind: 'unreachable',
        reason: 'ECONNREFUSED',
      })
    }
    const long = `http://${`${'a'.repeat(63)}.`.repeat(5)}invalid/`
    for (const url of ['http://x.invalid/', 'https://x.invalid/', long, 'http://127.0.0.1:0/']) {
      expect(await fetched(wire, get(destinationOf(new URL(url))))).toMatchObject({
        kind: 'unreachable',
      })
    }
  })

  test('reaches a name with several addresses, and IPv6 by its literal', async () => {
    const plain = await upstream((socket) => socket.write(answer('four')))
    const wire = client()
    const byName = destinationOf(new URL(`http://localhost:${plain.port}/`))
    expect(await fetched(wire, get(byName))).toMatchObject({ body: 'four' })
    const six = await upstream((socket) => socket.write(answer('six')), '::1').catch(
      () => undefined,
    )
    if (!six) return
    expect(await fetched(wire, get(six.to))).toMatchObject({ body: 'six' })
    expect(six.received[0]).toContain(`host: [::1]:${six.port}\r\n`)
  })
})

describe.concurrent('a slow side', () => {
  const MANY = 32 * 1_048_576
  /** The kernel's two buffers, and what is on its way. */
  const MOST = 16 * 1_048_576

  test('a reader that stands still stops the upstream, and gets everything later', async () => {
    const sent = { bytes: 0 }
    const { to } = await upstream((socket) => {
      socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${MANY}\r\n\r\n`)
      flood(socket, MANY, sent)
    })
    const head = (await client().send(get(to), TIMEOUTS).head) as UpstreamAnswer
    let bytes = 0
    const whole = new Promise<string>((resolve) => {
      const listener: Listener = {
        onData(chunk) {
          if (bytes === 0) head.body.pause()
          bytes += chunk.byteLength
        },
        onEnd: resolve,
      }
      head.body.listen(listener)
    })
    await sleep(150)
    expect(bytes).toBeLessThan(MOST)
    expect(sent.bytes).toBeLessThan(MOST)
    head.body.resume()
    expect(await whole).toBe('complete')
    expect(bytes).toBe(MANY)
  })

  test('a reader that stands still loses nothing that was there when the upstream dies', async () => {
    const { to } = await upstream((socket) => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 9999999\r\n\r\na')
      setTimeout(() => socket.write(Buffer.alloc(50_000)), 30)
      setTimeout(() => socket.resetAndDestroy(), 80)
    })
    const head = await client().send(get(to), TIMEOUTS).head
    if (!head.ok) throw new Error(head.kind)
    let bytes = 0
    const how = new Promise((resolve) => {
      head.body.listen({
        onData(chunk) {
          bytes += chunk.byteLength
          head.body.pause()
        },
        onEnd: resolve,
      })
    })
    await sleep(150)
    head.body.resume()
    expect(await how).toBe('broken')
    expect(bytes).toBe(50_001)
  })

  test('an upstream that does not read stops the upload, and gets its time', async () => {
    const { to, sockets } = await upstream((socket) => socket.pause())
    let taken = 0
    async function* chunks() {
      for (; taken < MANY; taken += 65_536) yield new Uint8Array(65_536)
    }
    const post: UpstreamRequest = {
      method: 'POST',
      to,
      headers: {},
      body: { chunks: chunks(), length: undefined },
    }
    const flight = client().send(post, { connectMs: 1000, headersMs: 200, bodyMs: 60_000 })
    expect(await flight.head).toMatchObject({ kind: 'headers_timeout' })
    expect(taken).toBeLessThan(MOST)
    expect(sockets).toHaveLength(1)
  })

  test('a body whose source stands still has a time of its own', async () => {
    const { to } = await upstream((socket) => socket.resume())
    async function* chunks(): AsyncGenerator<Uint8Array> {
      yield new Uint8Array(10)
      await new Promise(() => {})
    }
    const post: UpstreamRequest = {
      method: 'POST',
      to,
      headers: {},
      body: { chunks: chunks(), length: undefined },
    }
    const flight = client().send(post, { connectMs: 1000, headersMs: 60_000, bodyMs: 100 })
    expect(await flight.head).toMatchObject({ kind: 'body_timeout' })
  })
})

// ---- TLS. What a process trusts is read once, when it starts: so the client is one of its own.

const der = (tag: number, ...parts: readonly Uint8Array[]): Buffer => {
  const content = Buffer.concat(parts)
  const { length } = content
  const size =
    length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255]
  return Buffer.concat([Buffer.from([tag, ...size]), content])
}
const SEQUENCE = 0x30
const ECDSA_SHA256 = der(SEQUENCE, Buffer.from('06082a8648ce3d040302', 'hex'))
const SUBJECT_ALT_NAME = Buffer.from('0603551d11', 'hex')

const time = (at: Date): Buffer =>
  der(
    0x17,
    Buffer.from(
      `${at
        .toISOString()
        .replace(/[-:T]|\.\d+/g, '')
        .slice(2)}`,
    ),
  )

interface Identity {
  readonly key: string
  readonly cert: string
}

/** RFC 5280: signed by itself, for one name or IPv4 address. */
function identity(name: string, daysLeft: number): Identity {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const subject = der(
    SEQUENCE,
    der(0x31, der(SEQUENCE, Buffer.from('0603550403', 'hex'), der(0x0c, Buffer.from(name)))),
  )
  const address = net.isIPv4(name) ? Buffer.from(name.split('.').map(Number)) : undefined
  const names = der(SEQUENCE, address ? der(0x87, address) : der(0x82, Buffer.from(name)))
  const dayMs = 86_400_000
  const validity = der(
    SEQUENCE,
    time(new Date(Date.now() - 30 * dayMs)),
    time(new Date(Date.now() + daysLeft * dayMs)),
  )
  const body = der(
    SEQUENCE,
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.from([1 + Math.floor(Math.random() * 100)])),
    ECDSA_SHA256,
    subject,
    validity,
    subject,
    (publicKey as KeyObject).export({ type: 'spki', format: 'der' }),
    der(0xa3, der(SEQUENCE, der(SEQUENCE, SUBJECT_ALT_NAME, der(0x04, names)))),
  )
  const signature = sign('sha256', body, privateKey)
  const whole = der(SEQUENCE, body, ECDSA_SHA256, der(0x03, Buffer.from([0]), signature))
  const base64 = whole.toString('base64').replace(/.{64}/g, '$&\n')
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
    cert: `-----BEGIN CERTIFICATE-----\n${base64.trimEnd()}\n-----END CERTIFICATE-----\n`,
  }
}

const NAME = 'enclave.test'
const TRUSTED = {
  named: identity(NAME, 30),
  other: identity('other.test', 30),
  address: identity('127.0.0.1', 30),
  expired: identity(NAME, -1),
}
const STRANGER = identity(NAME, 30)
const trustFile = join(
  process.env['POSTERN_TEST_FOLDER'] ?? tmpdir(),
  `trust-${process.pid}-${Math.floor(performance.now())}.pem`,
)
afterAll(() => rmSync(trustFile, { force: true }))

interface TlsSeen {
  bytes: number
  connections: number
  servername: string | false | undefined
  protocol: string | false | null | undefined
}

async function tlsUpstream({ key, cert }: Identity) {
  const seen: TlsSeen = { bytes: 0, connections: 0, servername: undefined, protocol: undefined }
  const options = { key, cert, ALPNProtocols: ['h2', 'http/1.1'] }
  const server = tls.createServer(options, (socket) => {
    seen.connections += 1
    seen.servername = (socket as { servername?: string | false }).servername
    seen.protocol = socket.alpnProtocol
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => {
      seen.bytes += chunk.length
      const [id = ''] = /(?<=x-id: )\d+/.exec(chunk.toString('latin1')) ?? []
      socket.write(answer(id))
    })
  })
  server.on('tlsClientError', () => {})
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closers.push(() => server.close())
  return { port: (server.address() as AddressInfo).port, seen }
}

/** To be imported by a program that is a text. */
const source = (file: string): string =>
  JSON.stringify(new URL(`../../src/http1/${file}`, import.meta.url).pathname)

/** What each request comes to, in a process that trusts TRUSTED; `x-id` is its place. */
async function inOwnProcess(
  targets: readonly { readonly url: string; readonly address?: string }[],
  env: Readonly<Record<string, string>> = {},
): Promise<string[]> {
  await Bun.write(
    trustFile,
    Object.values(TRUSTED)
      .map(({ cert }) => cert)
      .join(''),
  )
  const code = `
    import { destinationOf } from ${source('destination.ts')}
    import { transport } from ${source('transport.ts')}
    const wire = transport(undefined, ${JSON.stringify(HANDLES)})
    const outcomes = []
    for (const [id, { url, address }] of JSON.parse(process.env.TARGETS).entries()) {
      const call = {
        method: 'GET', to: destinationOf(new URL(url), address), body: undefined,
        headers: { authorization: 'Bearer secret', 'x-id': String(id) },
      }
      const head = await wire.send(call, { connectMs: 20_000, headersMs: 20_000, bodyMs: 20_000 }).head
      if (!head.ok) { outcomes.push(head.reason); continue }
      let body = ''
      const how = await new Promise((resolve) => head.body.listen({
        onData: (chunk) => { body += chunk }, onEnd: resolve,
      }))
      outcomes.push(how + ' ' + body)
    }
    console.log(JSON.stringify(outcomes))
    wire.close()`
  const child = Bun.spawn([process.execPath, '-e', code], {
    env: {
      ...process.env,
      NODE_EXTRA_CA_CERTS: trustFile,
      TARGETS: JSON.stringify(targets),
      ...env,
    },
    stdout: 'pipe',
    stderr: 'pipe',
    timeout: PATIENCE_MS,
  })
  const said = await new Response(child.stdout).text()
  try {
    return JSON.parse(said) as string[]
  } catch {
    throw new Error(await new Response(child.stderr).text())
  }
}

describe.concurrent('over TLS', () => {
  const at = (host: string, port: number) => `https://${host}:${port}/`

  test('a name is asked for and checked though the address is given, and connections are kept', async () => {
    const { port, seen } = await tlsUpstream(TRUSTED.named)
    const target = { url: at(NAME, port), address: '127.0.0.1' }
    const outcomes = await inOwnProcess(Array.from({ length: 200 }, () => target))
    expect(outcomes).toEqual(Array.from({ length: 200 }, (_, id) => `complete ${id}`))
    expect(seen).toMatchObject({ connections: 1, servername: NAME, protocol: 'http/1.1' })
  })

  test('an address is checked as one, and is no server name', async () => {
    const { port, seen } = await tlsUpstream(TRUSTED.address)
    expect(await inOwnProcess([{ url: at('127.0.0.1', port) }])).toEqual(['complete 0'])
    expect(seen.servername || undefined).toBeUndefined()
    // One that is pinned elsewhere goes where its certificate is checked for.
    const elsewhere = { url: at('127.0.0.1', port), address: '127.9.9.9' }
    expect(await inOwnProcess([elsewhere])).toEqual(['complete 0'])
  })

  for (const env of [{}, { NODE_TLS_REJECT_UNAUTHORIZED: '0' }]) {
    const where = 'NODE_TLS_REJECT_UNAUTHORIZED' in env ? ', whatever the environment says' : ''
    test(`not a byte of the key goes to another host${where}`, async () => {
      const [stranger, other, expired, named] = await Promise.all([
        tlsUpstream(STRANGER),
        tlsUpstream(TRUSTED.other),
        tlsUpstream(TRUSTED.expired),
        tlsUpstream(TRUSTED.named),
      ])
      const address = '127.0.0.1'
      const outcomes = await inOwnProcess(
        [
          { url: at(NAME, stranger.port), address },
          { url: at(NAME, other.port), address },
          { url: at(NAME, expired.port), address },
          { url: at('127.0.0.1', named.port) },
          { url: at(`sub.${NAME}`, named.port), address },
        ],
        env,
      )
      expect(outcomes).toEqual([
        'DEPTH_ZERO_SELF_SIGNED_CERT',
        'ERR_TLS_CERT_ALTNAME_INVALID',
        'CERT_HAS_EXPIRED',
        'ERR_TLS_CERT_ALTNAME_INVALID',
        'ERR_TLS_CERT_ALTNAME_INVALID',
      ])
      for (const { seen } of [stranger, other, expired, named]) expect(seen.bytes).toBe(0)
    })
  }
})

describe.concurrent('an exception of a listener', () => {
  test('ends its own request, and its connection carries no other', async () => {
    const { to, received } = await upstream((socket) => {
      socket.write(answer('ok').slice(0, -1))
      setTimeout(() => socket.write('k'), 150)
    })
    const code = `
      import { transport } from ${source('transport.ts')}
      process.on('uncaughtException', (error) => console.log(error.message))
      const wire = transport(undefined, ${JSON.stringify(HANDLES)})
      const call = { method: 'GET', to: ${JSON.stringify(to)}, headers: {}, body: undefined }
      const ask = async (onData) => {
        const head = await wire.send(call, { connectMs: 20_000, headersMs: 20_000, bodyMs: 20_000 }).head
        console.log(await new Promise((resolve) => head.body.listen({ onData, onEnd: resolve })))
      }
      await ask(() => {})
      await ask((chunk) => { if (String(chunk) === 'k') throw new Error('a bug') })
      await ask(() => {})
      wire.close()`
    const child = Bun.spawn([process.execPath, '-e', code], {
      stdout: 'pipe',
      stderr: 'inherit',
      timeout: PATIENCE_MS,
    })
    const said = (await new Response(child.stdout).text()).trim().split('\n')
    expect(said.toSorted()).toEqual(['a bug', 'broken', 'complete', 'complete'])
    expect(received).toHaveLength(2)
  })
})

// Last, and one after another: their clock is everybody's.
describe('by a clock that is moved', () => {
  test('a kept connection is given up a second before the time that the other side has announced', async () => {
    const { to, received } = await upstream((socket, head) => {
      const seconds = /x-keep: (\d)/.exec(head)?.[1]
      socket.write(answer('ok').replace('\r\n', `\r\nkeep-alive: timeout=${seconds}\r\n`))
    })
    const wire = client()
    await fetched(wire, get(to, { 'x-keep': '1' }))
    await fetched(wire, get(to, { 'x-keep': '2' }))
    await fetched(wire, get(to, { 'x-keep': '2' }))
    expect(received).toHaveLength(2)
    jest.useFakeTimers()
    try {
      jest.advanceTimersByTime(900)
      await fetched(wire, get(to, { 'x-keep': '2' }))
      expect(received).toHaveLength(2)
      jest.advanceTimersByTime(1001)
      await fetched(wire, get(to, { 'x-keep': '2' }))
      expect(received).toHaveLength(3)
    } finally {
      jest.useRealTimers()
    }
  })

  test('a document that does not come is given up', async () => {
    const { port } = await upstream(() => {})
    const url = new URL(`http://127.0.0.1:${port}`)
    const slow = { connectMs: 60_000, headersMs: 60_000, bodyMs: 60_000 }
    jest.useFakeTimers()
    try {
      const asked = documents({
        ask: asking(client(), slow),
        baseUrl: url,
        attestationUrl: url,
      }).hpkeKeys(0)
      jest.advanceTimersByTime(16_000)
      expect(await asked).toMatchObject({ ok: false, code: 'upstream_timeout' })
    } finally {
      jest.useRealTimers()
    }
  })
})
