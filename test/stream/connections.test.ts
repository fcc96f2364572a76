// Connections are used again, on both sides, and none of them longer than is good.

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { type Scene, scene } from '../support/gate.ts'
import { type RawRequest, rawUpstream, type RawUpstream } from './raw-upstream.ts'
import { soon } from '../support/patience.ts'
import { within, type Wire, type WireRequest, wire } from './wire.ts'
import { LONG } from '../support/long.ts'

let at: Scene
let upstream: RawUpstream
/** The upstream's ends of what it has answered on. */
const answered = new Set<RawRequest['socket']>()
beforeAll(async () => {
  upstream = await rawUpstream(({ socket }) => {
    answered.add(socket)
    socket.write('HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok')
  })
  at = await scene({ env: { TINFOIL_BASE_URL: upstream.url } })
})
afterAll(async () => {
  await at.close()
  await upstream.close()
})

async function ask(how: string, socket?: WireRequest['socket']): Promise<Wire> {
  const path = `/v1/chat/completions?how=${how}`
  const more = socket ? { socket } : {}
  const one = wire(at.gate.port, { token: at.token, path, body: '{}', ...more })
  await soon(one.finished, 'an answer')
  return one
}

test('100 requests one after another go over one connection, on either side', async () => {
  const { socket } = await ask('patient')
  const before = upstream.connections.opened
  for (let number = 1; number < 100; number++) {
    expect((await ask('patient', socket)).status).toBe(200)
  }
  socket.destroy()
  // Once more while the gate is new: what it opened before it tried http1/handles.ts is not kept.
  expect(upstream.connections.opened - before).toBeLessThanOrEqual(1)
})

/** Nothing is asked while it does, for a request may cross with an end, and is then lost with it. */
async function closeIdle(): Promise<void> {
  const ended = [...answered].map(
    (socket) => new Promise<void>((resolve) => void socket.end(() => resolve())),
  )
  answered.clear()
  await Promise.all(ended)
}

test('a connection that the upstream has closed is not used: 200 tries, none is 502', async () => {
  const statuses: number[] = []
  const before = upstream.connections.opened
  for (let round = 0; round < 10; round++) {
    const asked = await Promise.all(Array.from({ length: 20 }, () => ask('any')))
    for (const one of asked) {
      one.socket.destroy()
      statuses.push(one.status)
    }
    // Every other time they are all there for the next.
    if (round % 2 === 0) {
      await closeIdle()
      await Bun.sleep(5 + 5 * round)
    }
  }
  expect(statuses.filter((status) => status !== 200)).toEqual([])
  expect(statuses).toHaveLength(200)
  const opened = upstream.connections.opened - before
  expect(opened).toBeGreaterThanOrEqual(6)
  expect(opened).toBeLessThan(200)
})

test.if(LONG)(
  'a connection that carried an admitted request may stand idle for 120 s, and no longer',
  async () => {
    const one = await ask('patient')
    const started = performance.now()
    await within(one.end, 135_000, 'the close')
    const seconds = (performance.now() - started) / 1000
    expect(seconds).toBeGreaterThan(115)
    expect(seconds).toBeLessThan(130)
  },
  140_000,
)
