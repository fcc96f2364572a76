// How realtime sessions end with their gate or by its settings, and that neither side can flood the other.

import { afterAll, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { put, told } from '../process/reload-scene.ts'
import { until } from '../support/binary.ts'
import { howMany } from '../support/long.ts'
import { soon } from '../support/patience.ts'
import { realtimeScene } from '../support/realtime-scene.ts'
import { startRealtimeUpstream } from '../support/realtime-upstream.ts'

const scene = await realtimeScene()
const upstream = startRealtimeUpstream()
afterAll(async () => {
  await scene.close()
  await upstream.stop()
})
const startGate = (more = '', routes = '[models, realtime]', env = {}) =>
  scene.startGate(upstream.url, { more, routes, env })

test('an upstream that comes to serve the route by a reload is reached at once, and sessions go on', async () => {
  const { gate, path, open } = await startGate('', '[models]')
  const answer = await fetch(`${gate.url}/v1/realtime?model=gpt-realtime`)
  expect(answer.status).toBe(404)
  const before = readFileSync(path, 'utf8')
  const after = before.replace('routes: [models] }', 'routes: [models, realtime] }')
  await told(gate, 'settings reloaded', () => put(path, after))
  const client = await open('reloaded')
  await client.event('session.created')
  await told(gate, 'settings reloaded', () =>
    put(path, after.replace('talk,', 'talk, models: [gpt-*],')),
  )
  // It passes whether the list is in force here already or not.
  const event = '{"type":"input_audio_buffer.clear"}'
  client.socket.send(event)
  await until(() => upstream.messages.includes(event))
  await told(gate, 'settings reloaded', () => put(path, before))
  expect(await soon(client.closed, 'a close')).toEqual([1008, 'upstream_not_allowed'])
})

test('at SIGTERM those that are silent end with 1012, and one that answers when it is done', async () => {
  const { gate, open, ended } = await startGate('', undefined, { DRAIN_DELAY_SECONDS: '0' })
  const silent = await open('silent')
  const busy = await open('busy')
  await busy.event('session.created')
  upstream.hangs = true
  busy.socket.send('{"type":"response.create"}')
  await busy.event('response.output_text.delta')
  upstream.hangs = false
  gate.process.kill('SIGTERM')
  expect(await soon(silent.closed, 'a close')).toEqual([1012, 'the gate restarts'])
  expect(busy.socket.readyState).toBe(WebSocket.OPEN)
  const done = { type: 'response.done', response: { id: 'resp_1', status: 'completed', usage: {} } }
  for (const socket of upstream.sockets) socket.send(JSON.stringify(done))
  await busy.event('response.done')
  expect(await soon(busy.closed, 'a close')).toEqual([1012, 'the gate restarts'])
  expect(await ended('busy')).toMatchObject({ end: 'drained' })
  expect(await soon(gate.process.exited, 'the exit')).toBe(0)
})

test('at the end of the drain time the rest ends, and its response is estimated', async () => {
  const env = { DRAIN_DELAY_SECONDS: '0', DRAIN_TIMEOUT_SECONDS: '1' }
  const { gate, open } = await startGate('', undefined, env)
  const client = await open('broken')
  upstream.hangs = true
  client.socket.send('{"type":"response.create"}')
  await client.event('response.output_text.delta')
  upstream.hangs = false
  gate.process.kill('SIGTERM')
  expect(await soon(client.closed, 'a close')).toEqual([1012, 'the gate restarts'])
  expect(await soon(gate.process.exited, 'the exit')).toBe(0)
  const lines = gate.lines().filter((line) => line['request_id'] === 'broken')
  expect(lines.map(({ end }) => end)).toEqual(['drained', 'drained'])
  expect(Number(lines[0]?.['estimated_cost_micro_usd'])).toBeGreaterThan(0)
})

test('a slow reader gets all that was sent before the close, however long that takes', async () => {
  const { open } = await startGate()
  const client = (await open('late')) as Awaited<ReturnType<typeof open>> & {
    socket: { pause(): void; resume(): void }
  }
  await client.event('session.created')
  const [socket] = upstream.sockets
  client.socket.pause()
  const piece = 'p'.repeat(1_000_000)
  for (let at = 0; at < 40; at += 1) socket?.send(`${at} ${piece}`)
  // The upstream waits for the gate, and the gate for its reader.
  await until(() => (socket?.getBufferedAmount() ?? 0) > 0)
  socket?.close(4002, 'that was all')
  client.socket.resume()
  expect(await soon(client.closed, 'a close')).toEqual([4002, 'that was all'])
  expect(client.messages.length).toBe(41)
})

test('idle, or too old: 1001', async () => {
  const limits = 'limits: { realtime_idle_seconds: 1, realtime_max_seconds: 2 }'
  const { open, ended } = await startGate(limits)
  const idle = await open('idle')
  const old = await open('old')
  const speaking = setInterval(() => old.socket.send('on'), 200)
  expect(await soon(idle.closed, 'a close')).toEqual([1001, 'the session was idle'])
  expect(old.socket.readyState).toBe(WebSocket.OPEN)
  expect(await soon(old.closed, 'a close')).toEqual([1001, 'the session has lasted its time'])
  clearInterval(speaking)
  expect(await ended('old')).toMatchObject({ status: 101, end: 'timeout' })
})

test('a side that does not read stops the other, in bounded memory, and nothing is lost', async () => {
  const { gate, open } = await startGate()
  const client = (await open('slow')) as Awaited<ReturnType<typeof open>> & {
    socket: { pause(): void; resume(): void }
  }
  await client.event('session.created')
  const [socket] = upstream.sockets
  if (!socket) throw new Error('no upstream socket')
  client.socket.pause()
  const before = gate.rssBytes()
  const piece = 'p'.repeat(1_000_000)
  const pieces = howMany(40, 400)
  for (let at = 0; at < pieces; at += 1) socket.send(`${at} ${piece}`)
  // Until the upstream's own connection takes no more, twice in a row.
  let waiting = -1
  await until(() => {
    const now = socket.getBufferedAmount()
    const stands = now > 0 && now === waiting
    waiting = now
    return stands
  })
  expect(waiting).toBeGreaterThan(pieces * 200_000)
  expect(gate.rssBytes() - before).toBeLessThan(60_000_000)
  client.socket.resume()
  for (let at = 0; at < pieces; at += 1) {
    expect(String(await client.next()).startsWith(`${at} ppp`)).toBe(true)
  }

  // And the other way: the client sends more than the upstream reads.
  upstream.messages.length = 0
  socket.pause()
  for (let at = 0; at < pieces; at += 1) client.socket.send(`${at} ${piece}`)
  let held = -1
  await until(() => {
    const now = client.socket.bufferedAmount
    const stands = now > 0 && now === held
    held = now
    return stands
  })
  expect(held).toBeGreaterThan(pieces * 200_000)
  expect(gate.rssBytes() - before).toBeLessThan(90_000_000)
  socket.resume()
  await until(() => upstream.messages.length === pieces)
  expect(upstream.messages.every((each, at) => String(each).startsWith(`${at} ppp`))).toBe(true)
  client.socket.close()
})

test('a message of 15 MiB of sound passes, and one that is larger than 24 MiB ends its connection', async () => {
  const { open, ended } = await startGate()
  const client = await open('large')
  await client.event('session.created')
  upstream.messages.length = 0
  const audio = Buffer.alloc(15 * 1024 * 1024).toString('base64')
  const event = JSON.stringify({ type: 'input_audio_buffer.append', audio })
  client.socket.send(event)
  await until(() => upstream.messages.length === 1)
  expect(upstream.messages[0] === event).toBe(true)
  client.socket.send('x'.repeat(24 * 1024 * 1024 + 1))
  expect((await soon(client.closed, 'a close'))[0]).toBe(1009)
  expect(await ended('large')).toMatchObject({ status: 101, end: 'client_gone' })
  await until(() => upstream.sockets.size === 0)
})

test('many sessions at once, each with its own messages', async () => {
  const { gate, open } = await startGate()
  const count = howMany(100, 1000)
  // What the first ones load and warm up is not theirs alone.
  for (let at = 0; at < 20; at += 1) (await open(`first-${at}`)).socket.close()
  const before = gate.rssBytes()
  const clients = await Promise.all(Array.from({ length: count }, (_, at) => open(`many-${at}`)))
  await Promise.all(
    clients.map(async (client, at) => {
      await client.event('session.created')
      for (let each = 0; each < 5; each += 1) client.socket.send(`${at}:${each}`)
      for (let each = 0; each < 5; each += 1) expect(await client.next()).toBe(`${at}:${each}`)
    }),
  )
  expect((gate.rssBytes() - before) / count).toBeLessThan(120_000)
  for (const client of clients) client.socket.close()
  await Promise.all(clients.map((client) => soon(client.closed, 'a close')))
  await until(() => upstream.sockets.size === 0)
}, 60_000)
