// A connection between two requests: it stays longer than the balancer in front lets it, whatever was
// answered on it, and it does not stay for ever.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { admittedIdleSeconds, idleSeconds } from '../../src/accept/keep-alive.ts'
import { type Scene, scene } from '../support/gate.ts'
import { start } from '../support/binary.ts'
import { HASH_KEY, devicesOf } from '../support/settings.ts'
import { dial, head, type Wire } from '../support/wire.ts'

const request = new Request('http://gate.test/')
const peer = (address: string) => ({ requestIP: () => ({ address }) })
/** Bun's timer: so many ticks of four seconds from now, of which the first may be nearly over. */
const surelyOpenFor = (seconds: number): number => (Math.ceil(seconds / 4) - 1) * 4

describe('the timeout that Bun gets', () => {
  test('keeps a connection for the whole time, from any moment of a tick', () => {
    for (let asked = 1; asked <= 252; asked += 1) {
      const seconds = idleSeconds(asked, undefined)(request, null)
      expect(seconds).toBeWithin(1, 256)
      expect(surelyOpenFor(seconds)).toBeGreaterThanOrEqual(asked)
    }
  })
  test("beyond the runtime's maximum, connections of a proxy are never closed, and others after 252 s", () => {
    const idle = idleSeconds(600, (address) => address === '10.0.0.1')
    expect(idle(request, peer('10.0.0.1'))).toBe(0)
    expect(surelyOpenFor(idle(request, peer('10.0.0.2')))).toBe(252)
    expect(surelyOpenFor(idle(request, null))).toBe(252)
  })
  test('without a configured proxy, no connection is closed', () => {
    expect(idleSeconds(600, undefined)(request, peer('10.0.0.2'))).toBe(0)
  })
  test('an admitted reader has two minutes at least', () => {
    expect([5, 79, 200, 0].map(admittedIdleSeconds)).toEqual([120, 120, 200, 0])
  })
})

const CONNECTIONS = 600
const KEPT_SECONDS = 2

describe('through the compiled binary', () => {
  let at: Scene
  beforeAll(async () => {
    at = await scene({ env: { KEEP_ALIVE_SECONDS: String(KEPT_SECONDS) } })
  })
  afterAll(() => at.close())

  test('600 connections, whatever was answered on them, are all answered again at the last moment, and closed at last', async () => {
    const asked = [
      head('GET /v1/models HTTP/1.1', 'Host: gate.test'),
      head('GET /v1/models HTTP/1.1', 'Host: gate.test', 'Authorization: Bearer x'),
      head('GET /nowhere HTTP/1.1', 'Host: gate.test'),
      head('GET /healthz HTTP/1.1', 'Host: gate.test'),
      head('DELETE /v1/models HTTP/1.1', 'Host: gate.test'),
      head('GET /v1/models HTTP/1.1', 'Host: gate.test', `Authorization: Bearer ${at.token}`),
    ]
    at.upstream.respond((_, response) => void response.end('{}'))
    const wires: Wire[] = []
    const again: Promise<unknown>[] = []
    for (let each = 0; each < CONNECTIONS; each += 1) {
      const wire = await dial(at.gate.port)
      wires.push(wire)
      wire.write(asked[each % asked.length] ?? '')
      again.push(
        wire
          .settled()
          .then(() => Bun.sleep(KEPT_SECONDS * 1000 - 100))
          .then(() => {
            wire.write(head('GET /healthz HTTP/1.1', 'Host: gate.test'))
            return wire.settled(2)
          }),
      )
    }
    await Promise.all(again)
    const second = wires.map((wire) => wire.answers().map(({ status }) => status)[1])
    expect(second).toEqual(Array<number>(CONNECTIONS).fill(200))
    const last = wires.at(-1)
    await last?.ended()
    for (const wire of wires) wire.destroy()
  })
})

test("a time beyond the runtime's maximum is accepted, with a warning if no proxy is configured", async () => {
  const env = { ...devicesOf('http://127.0.0.1:1'), IDENTITY_HASH_KEY: HASH_KEY }
  const alone = await start({ ...env, KEEP_ALIVE_SECONDS: '600' })
  const warned = alone.lines().some(({ msg }) => String(msg).startsWith('KEEP_ALIVE_SECONDS'))
  await alone.stop()
  const behind = await start({ ...env, KEEP_ALIVE_SECONDS: '620', TRUSTED_PROXIES: '10.0.0.0/8' })
  const quiet = behind.lines().every(({ msg }) => !String(msg).startsWith('KEEP_ALIVE_SECONDS'))
  await behind.stop()
  expect({ warned, quiet }).toEqual({ warned: true, quiet: true })
})
