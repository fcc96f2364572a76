// 50: how it stops. First the load balancer is told, then the door is closed, then what runs may
// finish, and what does not is broken honestly; a second signal ends it at once.

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { connect } from 'node:net'
import { until } from '../support/binary.ts'
import { type Scene, scene } from '../support/gate.ts'
import { chunk, event, LAST_CHUNK, type RawRequest, rawUpstream, SSE_HEAD } from './raw-upstream.ts'
import type { RawUpstream } from './raw-upstream.ts'
import { eventually } from '../support/sink.ts'
import { soon } from '../support/patience.ts'
import { type Wire, wire } from './wire.ts'

/** Long enough for a busy machine to ask three things of a gate that has been told to stop. */
const DRAIN_DELAY_MS = 4000

let upstream: RawUpstream
const asked = new Map<string, RawRequest>()
beforeAll(async () => {
  upstream = await rawUpstream((request) => {
    const { socket, query } = request
    asked.set(query.get('id') ?? '', request)
    socket.write(SSE_HEAD + chunk(event(0)))
    if (query.get('how') === 'short') socket.write(LAST_CHUNK)
  })
})
afterAll(() => upstream.close())

const gate = (env: Readonly<Record<string, string>> = {}): Promise<Scene> =>
  scene({ env: { TINFOIL_BASE_URL: upstream.url, ...env } })

const ask = (of: Scene, id: string, how = '', headers: readonly string[] = []): Wire => {
  const path = `/v1/chat/completions?how=${how}&id=${id}`
  return wire(of.gate.port, { token: of.token, path, body: '{}', headers })
}

async function running(of: Scene, id: string, headers: readonly string[] = []): Promise<Wire> {
  const one = ask(of, id, '', headers)
  await soon(one.head, 'the head')
  return one
}

const refusesConnections = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' })
    socket.once('connect', () => {
      socket.destroy()
      resolve(false)
    })
    socket.once('error', () => resolve(true))
    socket.once('close', () => socket.destroy())
  })

async function statusOf(one: Wire): Promise<number> {
  await soon(one.finished, 'an answer')
  one.socket.destroy()
  return one.status
}

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test.concurrent(
    `50: ${signal} tells the balancer, closes the door, and lets a stream finish`,
    async () => {
      const at = await gate({ DRAIN_DELAY_SECONDS: String(DRAIN_DELAY_MS / 1000) })
      const stream = await running(at, signal)
      const exited = at.gate.stop(signal)
      const started = performance.now()
      await until(() => at.gate.lines().some(({ signal: named }) => named === signal))
      expect(await statusOf(wire(at.gate.port, { path: '/readyz' }))).toBe(503)
      expect(await statusOf(wire(at.gate.port, { path: '/healthz' }))).toBe(200)
      expect(await statusOf(ask(at, `${signal}-new`, 'short'))).toBe(200)

      await eventually(() => refusesConnections(at.gate.port))
      expect(performance.now() - started).toBeGreaterThan(DRAIN_DELAY_MS - 50)
      asked.get(signal)?.socket.write(chunk(event(1)) + LAST_CHUNK)
      await soon(stream.finished, 'the end of the stream')
      expect([stream.body().toString(), stream.whole]).toEqual([event(0) + event(1), true])
      expect(await soon(exited, 'the exit')).toBe(0)
      expect(at.gate.errors()).toBe('')
      await at.close()
    },
  )
}

for (const [kind, headers, end] of [
  ['closed in order', [], 'fin'],
  ['reset for a client that closes', ['Connection: close'], 'reset'],
] as const) {
  test.concurrent(`50: a stream that outlives the drain is broken, ${kind}`, async () => {
    const at = await gate({ DRAIN_TIMEOUT_SECONDS: '1' })
    const stream = await running(at, `drained-${end}`, headers)
    const exited = at.gate.stop('SIGTERM')
    expect(await soon(stream.end, 'the break')).toBe(end)
    expect([stream.body().toString(), stream.whole]).toEqual([event(0), false])
    expect(await soon(exited, 'the exit')).toBe(0)
    const line = await at.gate.logged(stream.headers.get('x-request-id') ?? '')
    expect(line).toMatchObject({ level: 'warn', status: 200, end: 'drained' })
    expect(at.gate.errors()).toBe('')
    await at.close()
  })
}

for (const [signal, code] of [
  ['SIGTERM', 143],
  ['SIGINT', 130],
] as const) {
  test.concurrent(`50: a second signal, ${signal}, ends it at once with ${code}`, async () => {
    const at = await gate()
    const stream = await running(at, `second-${signal}`)
    at.gate.process.kill('SIGTERM')
    await until(() => at.gate.lines().some(({ signal: named }) => named === 'SIGTERM'))
    await Bun.sleep(100)
    expect(await soon(at.gate.stop(signal), 'the exit')).toBe(code)
    await soon(stream.finished, 'the break')
    expect(stream.whole).toBe(false)
    await at.close()
  })
}

test.concurrent('50: connections that stand idle do not hold the exit', async () => {
  const at = await gate()
  const used = await running(at, 'idle-used')
  asked.get('idle-used')?.socket.write(LAST_CHUNK)
  await soon(used.finished, 'the end of the stream')
  const health = wire(at.gate.port, { path: '/healthz' })
  await soon(health.finished, 'an answer')
  const silent = connect({ port: at.gate.port, host: '127.0.0.1' })
  await new Promise((resolve) => silent.once('connect', resolve))
  expect(await soon(at.gate.stop('SIGTERM'), 'the exit')).toBe(0)
  silent.destroy()
  await at.close()
})
