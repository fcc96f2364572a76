// 45: a client leaves, at whatever moment: the upstream stops working for nobody, and the place is
// free again.

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { type Scene, scene } from '../support/gate.ts'
import { until } from '../support/binary.ts'
import { chunk, event, type RawRequest, rawUpstream, SSE_HEAD } from '../stream/raw-upstream.ts'
import type { RawUpstream } from '../stream/raw-upstream.ts'
import { soon } from '../support/patience.ts'
import { type WireRequest, wire } from '../stream/wire.ts'

const RUNS = 15
/** What the design promises, of the median: this machine is shared. */
const CANCEL_MS = 100

let at: Scene
let upstream: RawUpstream
const asked = new Map<string, RawRequest>()
beforeAll(async () => {
  upstream = await rawUpstream(
    (request) => {
      asked.set(request.query.get('id') ?? '', request)
      const { query, socket } = request
      socket.resume()
      if (query.get('how') === 'stream') socket.write(SSE_HEAD + chunk(event(0)))
      if (query.get('how') === 'well') {
        // It reads one request and no other, so the next must not come this way.
        const head = 'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/plain\r\n'
        socket.write(`${head}Content-Length: 2\r\n\r\nok`)
      }
    },
    { early: true },
  )
  at = await scene({ env: { TINFOIL_BASE_URL: upstream.url, MAX_UPSTREAM_CONCURRENCY: '4' } })
})
afterAll(async () => {
  await at.close()
  await upstream.close()
})

const WAYS: Readonly<Record<string, Partial<WireRequest>>> = {
  'before the headers': { body: '{}' },
  'in the middle of the stream': { body: '{}', path: 'stream' },
  'in the middle of an upload': {
    headers: ['Content-Length: 9000000'],
    body: 'x'.repeat(300_000),
  },
  'in the middle of a chunked upload': {
    headers: ['Transfer-Encoding: chunked'],
    body: chunk('x'.repeat(300_000)),
  },
  'in the middle of an upload, after the head': {
    headers: ['Content-Length: 9000000'],
    body: 'x'.repeat(300_000),
    path: 'stream',
  },
}

for (const [moment, request] of Object.entries(WAYS)) {
  for (const how of ['fin', 'reset'] as const) {
    test(`45: a client that leaves ${moment}, by ${how}, takes its upstream along`, async () => {
      const took: number[] = []
      for (let run = 0; run < RUNS; run++) {
        const id = `${moment}-${how}-${run}`
        const requestId = `${id}`.replaceAll(/[^a-z0-9]/g, '-')
        const one = wire(at.gate.port, {
          ...request,
          token: at.token,
          path: `/v1/chat/completions?how=${request.path ?? ''}&id=${encodeURIComponent(id)}`,
          headers: [...(request.headers ?? []), `X-Request-Id: ${requestId}`],
        })
        const { closed } = await until(() => asked.get(id))
        if (request.path === 'stream') await soon(one.head, 'the head')
        const left = performance.now()
        if (how === 'reset') one.socket.resetAndDestroy()
        else one.socket.destroy()
        await soon(closed, "the upstream's connection")
        took.push(performance.now() - left)
        const line = await at.gate.logged(requestId)
        expect(line).toMatchObject({ level: 'info', end: 'client_gone' })
        expect(line['status']).toBe(request.path === 'stream' ? 200 : 499)
      }
      took.sort((a, b) => a - b)
      expect(took[RUNS >> 1]).toBeLessThan(CANCEL_MS)
    })
  }
}

test('45: a small body that stops half way reaches no upstream', async () => {
  for (let run = 0; run < RUNS; run++) {
    const one = wire(at.gate.port, {
      token: at.token,
      path: `/v1/chat/completions?id=half-${run}`,
      headers: ['Content-Length: 100', `X-Request-Id: half-${run}`],
      body: 'ten bytes.',
    })
    await Bun.sleep(20)
    one.socket.destroy()
    expect(await at.gate.logged(`half-${run}`)).toMatchObject({ status: 499, end: 'client_gone' })
    expect(asked.has(`half-${run}`)).toBe(false)
  }
})

test('45: all four places are free again, each of them, and nothing was written to stderr', async () => {
  const all = await Promise.all(
    Array.from({ length: 4 }, async (_, index) => {
      const path = `/v1/chat/completions?how=well&id=well-${index}`
      const one = wire(at.gate.port, { token: at.token, path, body: '{}' })
      await soon(one.finished, 'an answer')
      one.socket.destroy()
      return one.status
    }),
  )
  expect(all).toEqual([200, 200, 200, 200])
  expect(at.gate.errors()).toBe('')
})
