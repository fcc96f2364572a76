// 47: a stream keeps its upstream's time. Silence is no end, nothing is gathered up, and comments
// and pings are bytes like any others.

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { until } from '../support/binary.ts'
import { type Scene, scene } from '../support/gate.ts'
import { chunk, event, LAST_CHUNK, type RawRequest, rawUpstream, SSE_HEAD } from './raw-upstream.ts'
import type { RawUpstream } from './raw-upstream.ts'
import { soon } from '../support/patience.ts'
import { within, type Wire, wire } from './wire.ts'
import { LONG } from '../support/long.ts'

let at: Scene
let upstream: RawUpstream
const asked = new Map<string, RawRequest>()
beforeAll(async () => {
  upstream = await rawUpstream((request) => {
    asked.set(request.query.get('id') ?? '', request)
    request.socket.write(SSE_HEAD)
  })
  at = await scene({ env: { TINFOIL_BASE_URL: upstream.url, IDLE_TIMEOUT_SECONDS: '3600' } })
})
afterAll(async () => {
  await at.close()
  await upstream.close()
})

interface Stream {
  readonly client: Wire
  send(text: string): void
  end(): void
}

/** A stream whose head the upstream has sent, and no byte of its body. */
async function stream(id: string, onBody?: (bytes: Buffer) => void): Promise<Stream> {
  const path = `/v1/chat/completions?id=${id}`
  const more = onBody ? { onBody } : {}
  const client = wire(at.gate.port, { token: at.token, path, body: '{}', ...more })
  const { socket } = await until(() => asked.get(id))
  return {
    client,
    send: (text) => socket.write(chunk(text)),
    end: () => socket.write(LAST_CHUNK),
  }
}

async function silent(id: string, seconds: number): Promise<void> {
  const { client, send, end } = await stream(id)
  send(event(0))
  await Bun.sleep(seconds * 1000)
  send(event(1))
  end()
  await soon(client.finished, 'the end')
  expect(client.body().toString()).toBe(event(0) + event(1))
  expect(client.whole).toBe(true)
  client.socket.destroy()
}

test.concurrent('47: a stream that is silent for 13 s survives', () => silent('13', 13))

test.concurrent('47: silent for 13 s before its first event, it survives too', async () => {
  const { client, send, end } = await stream('13-first')
  await Bun.sleep(13_000)
  send(event(0))
  end()
  await soon(client.finished, 'the end')
  expect([client.body().toString(), client.whole]).toEqual([event(0), true])
  client.socket.destroy()
})

test.concurrent.if(LONG)(
  '47: a stream that is silent for 310 s survives',
  () => silent('310', 310),
  330_000,
)

test.concurrent(
  '47: a second request on the connection may be silent for 13 s as well',
  async () => {
    const first = await stream('reused-1')
    first.send(event(0))
    first.end()
    await soon(first.client.finished, 'the end')
    const path = '/v1/chat/completions?id=reused-2'
    const request = { token: at.token, path, body: '{}', socket: first.client.socket }
    const second = wire(at.gate.port, request)
    const upstreams = await until(() => asked.get('reused-2'))
    await Bun.sleep(13_000)
    upstreams.socket.write(chunk(event(0)) + LAST_CHUNK)
    await soon(second.finished, 'the end')
    expect([second.body().toString(), second.whole]).toEqual([event(0), true])
    second.socket.destroy()
  },
)

test.concurrent('47: comments, pings and odd line ends arrive byte for byte', async () => {
  const text =
    ': comment\n\n:\n\n: keep-alive \r\n\r\nevent: ping\ndata: {"type": "ping"}\n\n' +
    'id: 1\nretry: 10\ndata\n\ndata: [DONE]\r\r\ufeffdata: \u00e9\u{1f600}\n\ndata: no end'
  const { client, send, end } = await stream('odd')
  for (const each of text.match(/.{1,7}/gsu) ?? []) send(each)
  end()
  await soon(client.finished, 'the end')
  expect(client.body().toString()).toBe(text)
  client.socket.destroy()
})

test.concurrent(
  '47: an event is handed on when it comes: 200 events, none waits for the next',
  async () => {
    let arrived = Promise.withResolvers<number>()
    const { client, send, end } = await stream('paced', () => arrived.resolve(performance.now()))
    for (let number = 0; number < 200; number++) {
      await Bun.sleep(number % 10)
      arrived = Promise.withResolvers<number>()
      send(event(number))
      // The next one is not sent before this one has arrived.
      await soon(arrived.promise, `event ${number}`)
    }
    end()
    await soon(client.finished, 'the end')
    expect(client.bodyBytes).toBe(200 * event(0).length)
    client.socket.destroy()
  },
)

test.concurrent.failing(
  '47: the head arrives before any event (oven-sh/bun#33660: it waits for one)',
  async () => {
    const { client, end } = await stream('head')
    try {
      await within(client.head, 500, 'the head')
    } finally {
      end()
      client.socket.destroy()
    }
  },
)
