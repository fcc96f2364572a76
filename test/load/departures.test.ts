// 45, in numbers: hundreds of clients (thousands with POSTERN_LONG=1) that leave without a word, at three different moments. The process
// lives, its memory stays, and every place is free again.

import { expect, test } from 'bun:test'
import net from 'node:net'
import { until } from '../support/binary.ts'
import { scene } from '../support/gate.ts'
import { chunk, event, rawUpstream, SSE_HEAD } from '../stream/raw-upstream.ts'
import { soon } from '../support/patience.ts'
import { type Wire, wire } from '../stream/wire.ts'
import { howMany } from '../support/long.ts'

const WARM = howMany(500, 2000)
const DEPARTURES = howMany(1200, 10_000)
const AT_ONCE = 100
/** More than `AT_ONCE`: the gate learns of a departure when its turn comes. */
const PLACES = 500
/** How much resident memory may have grown from the first of them to the last, once at rest. */
const GROWTH_BYTES = 32 * 1024 * 1024

test(`45: ${DEPARTURES} abrupt departures leave nothing behind`, async () => {
  let reached = 0
  const upstream = await rawUpstream(
    ({ query, socket }) => {
      reached += 1
      socket.resume()
      if (query.get('how') === 'stream') socket.write(SSE_HEAD + chunk(event(0)))
    },
    { early: true },
  )
  const at = await scene({
    env: {
      TINFOIL_BASE_URL: upstream.url,
      MAX_UPSTREAM_CONCURRENCY: String(PLACES),
      // A hundred connections at once, on whatever machine.
      CONNECT_TIMEOUT_SECONDS: '60',
    },
  })
  const { gate, token } = at

  const half = 'x'.repeat(300_000)
  const head = (how: string, length: number): string =>
    `POST /v1/chat/completions?how=${how} HTTP/1.1\r\nHost: gate.test\r\n` +
    `Authorization: Bearer ${token}\r\nContent-Length: ${length}\r\n\r\n`
  const requests = [
    `${head('silence', 2)}{}`,
    `${head('stream', 2)}{}`,
    head('upload', 9_000_000) + half,
  ]
  const leave = (number: number): Promise<void> =>
    new Promise((resolve) => {
      const socket = net.connect({ port: gate.port, host: '127.0.0.1' })
      const go = (): void => {
        if (number % 2 === 0) socket.resetAndDestroy()
        else socket.destroy()
      }
      socket.on('error', () => {})
      socket.once('close', () => resolve())
      socket.write(requests[number % 3] ?? '')
      if (number % 3 === 1) socket.once('data', go)
      // At some moment of its life: before, during and after its way to the upstream.
      else setTimeout(go, number % 10)
      setTimeout(() => socket.destroy(), 5000).unref()
    })
  const crowd = async (count: number): Promise<void> => {
    let next = 0
    const lane = async (): Promise<void> => {
      while (next < count) await leave(next++)
    }
    await Promise.all(Array.from({ length: AT_ONCE }, lane))
  }

  const started = performance.now()
  await crowd(WARM)
  await Bun.sleep(500)
  const warm = gate.rssBytes()
  await crowd(DEPARTURES - WARM)
  const seconds = (performance.now() - started) / 1000
  await until(() => upstream.connections.open === 0)
  const busy = gate.rssBytes()
  // Freed memory goes back to the kernel when the process has a moment.
  const rested = until(() => gate.rssBytes() - warm < GROWTH_BYTES)
  await rested.catch(() => {})
  console.log(
    `45: ${DEPARTURES} departures in ${seconds.toFixed(1)} s, ${reached} had reached the upstream; ` +
      `RSS ${mb(warm)} MB after ${WARM}, ${mb(busy)} MB after all, ${mb(gate.rssBytes())} MB at rest`,
  )
  await rested
  expect(gate.process.exitCode).toBeNull()

  const ask = async (): Promise<Wire> => {
    const path = '/v1/chat/completions?how=stream'
    const one = wire(gate.port, { token, path, body: '{}' })
    await soon(one.head, 'a head')
    return one
  }
  const all = await Promise.all(Array.from({ length: PLACES }, ask))
  expect(new Set(all.map(({ status }) => status))).toEqual(new Set([200]))
  const oneMore = await ask()
  expect(oneMore.status).toBe(429)
  for (const { socket } of [...all, oneMore]) socket.destroy()
  await until(() => upstream.connections.open === 0)

  const lines = gate.lines()
  expect(lines.filter(({ level }) => level === 'error')).toEqual([])
  const ends = new Set(lines.flatMap(({ end }) => end ?? []))
  expect([...ends].filter((end) => end !== 'client_gone' && end !== 'refused')).toEqual([])
  expect(gate.errors()).toBe('')
  await at.close()
  await upstream.close()
})

const mb = (bytes: number): string => (bytes / 1_048_576).toFixed(0)
