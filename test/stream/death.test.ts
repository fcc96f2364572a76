// 43: an upstream that dies in the middle of a stream. Every event that it sent arrives, and then
// the connection breaks, visibly: no last chunk, whatever way it died and however slowly one reads.

import { readByPeer } from '../support/read-by-peer.ts'
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { type Scene, scene } from '../support/gate.ts'
import {
  chunk,
  event,
  eventNumbers,
  numbersTo,
  type RawRequest,
  rawUpstream,
  type RawUpstream,
  SSE_HEAD,
} from './raw-upstream.ts'
import { howMany } from '../support/long.ts'
import { soon } from '../support/patience.ts'
import { type Wire, wire } from './wire.ts'

const EVENTS = 2000
/** 20 MB in all: more than the kernel holds, so that the gate has to. */
const LARGE = 10_000

let at: Scene
let upstream: RawUpstream
beforeAll(async () => {
  upstream = await rawUpstream(die)
  // The last test takes all the places there are.
  at = await scene({ env: { TINFOIL_BASE_URL: upstream.url, MAX_UPSTREAM_CONCURRENCY: '100' } })
})
afterAll(async () => {
  await at.close()
  await upstream.close()
})

function die({ query, socket }: RawRequest): void {
  const how = query.get('how')
  const size = Number(query.get('size') ?? 60)
  const events = numbersTo(EVENTS).map((number) => event(number, size))
  if (how === 'all-well') {
    socket.write(`${SSE_HEAD}${chunk('x')}0\r\n\r\n`)
  } else if (how === 'stillborn') {
    socket.end(SSE_HEAD)
  } else if (how === 'short-length') {
    const declared = EVENTS * size + 1
    socket.write(`HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n`)
    socket.write(`Content-Length: ${declared}\r\n\r\n${events.join('')}`)
    socket.end()
  } else {
    socket.write(SSE_HEAD)
    socket.write(Buffer.concat(events.map((each) => chunk(each))), () => {
      if (how === 'reset') void readByPeer(socket).then(() => socket.resetAndDestroy())
    })
    if (how === 'fin') socket.end()
    else if (how === 'mid-chunk') socket.end('400\r\ndata: half an ev')
  }
}

const ask = (how: string, size: number, headers: readonly string[] = []): Wire =>
  wire(at.gate.port, {
    token: at.token,
    path: `/v1/chat/completions?how=${how}&size=${size}`,
    headers,
    body: '{}',
  })

/** Waits for the break, and checks what must hold after any death. */
async function broken(of: Wire): Promise<void> {
  expect(of.status).toBe(200)
  expect(eventNumbers(of.body())).toEqual(numbersTo(EVENTS))
  expect(of.whole).toBe(false)
  const line = await at.gate.logged(of.headers.get('x-request-id') ?? '')
  expect(line).toMatchObject({ level: 'warn', status: 200, end: 'upstream_error' })
  expect(line['bytes_out']).toBe(of.bodyBytes)
}

/** Reads `bytes`, stands still for `pauseMs`, and so on. */
function readSlowly(of: Wire, bytes: number, pauseMs: number): void {
  let next = bytes
  of.socket.on('data', () => {
    if (of.bodyBytes < next) return
    next += bytes
    of.socket.pause()
    setTimeout(() => of.socket.resume(), pauseMs)
  })
}

const TIMES = howMany(8, 20)
const DEATHS = ['fin', 'reset', 'short-length', 'mid-chunk'] as const

describe.each(DEATHS)('43: an upstream that dies by %s', (how) => {
  test.concurrent(`loses no event of a fast reader, ${TIMES} times`, async () => {
    const runs = Array.from({ length: TIMES }, async () => {
      const one = ask(how, 60)
      await soon(one.end, 'the break')
      await broken(one)
    })
    await Promise.all(runs)
  })

  test.concurrent('loses no event of a reader that pauses 2 s', async () => {
    const one = ask(how, how === 'reset' ? 60 : LARGE)
    await one.head
    one.socket.pause()
    await Bun.sleep(2000)
    one.socket.resume()
    await soon(one.end, 'the break')
    await broken(one)
  })

  test.concurrent('is reset, not closed, for a client that closes', async () => {
    const one = ask(how, 60, ['Connection: close'])
    expect(await soon(one.end, 'the break')).toBe('reset')
    await broken(one)
  })
})

describe.each(['fin', 'short-length', 'mid-chunk'])('43: a death by %s', (how) => {
  test.concurrent('loses no event of a reader that takes seconds for them', async () => {
    const one = ask(how, LARGE)
    readSlowly(one, (EVENTS * LARGE) / 60, 100)
    await soon(one.end, 'the break')
    await broken(one)
  })

  test.concurrent(
    'loses no event of a reader that pauses longer than the break waits',
    async () => {
      const one = ask(how, LARGE)
      readSlowly(one, EVENTS * LARGE * 0.7, 5000)
      await soon(one.end, 'the break')
      await broken(one)
    },
  )
})

test.concurrent(
  '43: an upstream that dies before its first byte is 502, for nothing was sent yet',
  async () => {
    const one = ask('stillborn', 60)
    await soon(one.finished, 'an answer')
    expect([one.status, one.headers.get('content-type')]).toEqual([502, 'application/json'])
    expect(JSON.parse(one.body().toString()).error.code).toBe('upstream_unavailable')
    one.socket.destroy()
  },
)

test('43: all places are free again, and nothing was written to stderr', async () => {
  const after = Array.from({ length: 100 }, async () => {
    const one = ask('all-well', 60, ['Connection: close'])
    await soon(one.end, 'the end')
    expect([one.status, one.whole]).toEqual([200, true])
  })
  await Promise.all(after)
  expect(at.gate.errors()).toBe('')
})
