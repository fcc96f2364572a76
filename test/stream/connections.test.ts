// Connections are used again, on both sides, and none of them longer than is good.

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { type Scene, scene } from '../support/gate.ts'
import { rawUpstream, type RawUpstream } from './raw-upstream.ts'
import { within, type Wire, type WireRequest, wire } from './wire.ts'

/** How long the upstream keeps a connection that is idle. */
const UPSTREAM_IDLE_MS = 100

let at: Scene
let upstream: RawUpstream
beforeAll(async () => {
  const idle = new WeakMap<object, ReturnType<typeof setTimeout>>()
  upstream = await rawUpstream(({ query, socket }) => {
    clearTimeout(idle.get(socket))
    socket.write('HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok')
    if (query.get('how') === 'impatient') {
      idle.set(
        socket,
        setTimeout(() => socket.end(), UPSTREAM_IDLE_MS),
      )
    }
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
  await within(one.finished, 3000, 'an answer')
  return one
}

test('100 requests one after another go over one connection, on either side', async () => {
  const before = upstream.connections.opened
  const { socket } = await ask('patient')
  for (let number = 1; number < 100; number++) {
    expect((await ask('patient', socket)).status).toBe(200)
  }
  socket.destroy()
  expect(upstream.connections.opened - before).toBe(1)
})

test('a connection that the upstream has closed is not used: 200 tries, none is 502', async () => {
  const lanes = Array.from({ length: 20 }, async (_, lane) => {
    const statuses: number[] = []
    for (let number = 0; number < 10; number++) {
      const one = await ask('impatient')
      one.socket.destroy()
      statuses.push(one.status)
      // Past the upstream's patience by 30 to 68 ms, or short of it by as much.
      const off = 30 + 2 * lane
      await Bun.sleep(UPSTREAM_IDLE_MS + (number % 2 === 0 ? off : -off))
    }
    return statuses
  })
  const statuses = (await Promise.all(lanes)).flat()
  expect(statuses.filter((status) => status !== 200)).toEqual([])
  expect(statuses).toHaveLength(200)
}, 20_000)

test.if(process.env['POSTERN_LONG'] === '1')(
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
