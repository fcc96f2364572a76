// One stranger's connection that pipelines has its share of a turn, and the others have theirs.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { type Connections, pipelining } from '../../src/accept/pipelining.ts'
import { start, type Running } from '../support/binary.ts'
import { HASH_KEY, devicesOf } from '../support/settings.ts'
import { dial, head } from '../support/wire.ts'

const request = new Request('http://gate.test/')
const from = (port: number | undefined): Connections => ({
  requestIP: () => (port === undefined ? null : { address: '192.0.2.1', port }),
})
const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('within a turn', () => {
  test('a connection that pipelines gets sixteen answers at most', () => {
    for (let before = 0; before < 20; before += 1) {
      const isLast = pipelining()
      for (let each = 0; each < before; each += 1) isLast(request, from(each))
      const last = Array.from({ length: 40 }, () => isLast(request, from(9999))).indexOf(true)
      expect(last).toBeWithin(8, 16)
    }
  })
  test('a thousand connections with a request each are no such thing', () => {
    const isLast = pipelining()
    expect(
      Array.from({ length: 1000 }, (_, port) => isLast(request, from(port))).includes(true),
    ).toBe(false)
  })
  test('a connection whose requests come in separate turns is not bounded', async () => {
    const isLast = pipelining()
    for (let each = 0; each < 100; each += 1) {
      expect(isLast(request, from(7))).toBe(false)
      await nextTurn()
    }
  })
  test('a connection that is gone gets nothing more', () => {
    const isLast = pipelining()
    const last = Array.from({ length: 8 }, () => isLast(request, from(undefined))).indexOf(true)
    expect(last).toBe(7)
  })
})

const OPERATOR = 'operator-key-canary-operator-key-000'
const ROUTES = [
  'GET /healthz',
  'GET /readyz',
  'HEAD /',
  'GET /nowhere',
  'GET /v1/messages',
  'GET /v1/models',
  'GET /admin/stats',
  'OPTIONS /v1/messages',
]

describe('through the compiled binary', () => {
  let gate: Running
  let adminPort: number
  beforeAll(async () => {
    gate = await start({
      ...devicesOf('http://127.0.0.1:1'),
      IDENTITY_HASH_KEY: HASH_KEY,
      ADMIN_TOKEN: OPERATOR,
      ADMIN_PORT: '0',
    })
    const line = gate.lines().find(({ msg }) => msg === 'listening')
    adminPort = Number(String(line?.['admin']).split(':').at(-1))
  })
  afterAll(() => gate.stop())

  for (const route of ROUTES) {
    test(`${route}: 2,000 pipelined requests get sixteen responses, the last with Connection: close`, () =>
      answeredFew(gate.port, route))
  }
  test("on the operator's listener too", () => answeredFew(adminPort, 'GET /admin/devices'))

  test('a connection that waits for its answers is never closed', async () => {
    const wire = await dial(gate.port)
    for (let count = 1; count <= 200; count += 1) {
      wire.write(head('GET /healthz HTTP/1.1', 'Host: gate.test'))
      await wire.settled(count)
    }
    const answers = wire.answers()
    wire.destroy()
    expect(answers.map(({ status }) => status)).toEqual(Array<number>(200).fill(200))
    expect(answers.some((each) => each.header('connection') === 'close')).toBe(false)
  })

  test.each(['/v1/messages', '/nowhere', '/bootstrap', '/refresh', '/admin/revoke'])(
    'a refused body in chunks ends its connection: %s',
    async (path) => {
      let received = ''
      for (let tries = 0; tries < TRIES && received === ''; tries += 1) {
        const wire = await dial(gate.port)
        wire.write(head(`POST ${path} HTTP/1.1`, 'Host: gate.test', 'Transfer-Encoding: chunked'))
        wire.write('1\r\nx\r\n'.repeat(20_000))
        await wire.ended()
        received = wire.received()
      }
      expect(received).toMatch(/^HTTP\/1\.1 4\d\d /)
      expect(received).toMatch(/^connection: close\r$/im)
    },
  )

  test('ten connections that pipeline at 1 MB/s do not delay others', async () => {
    const alone = await percentile95(gate.port)
    const flood = Bun.spawn(
      [process.execPath, `${import.meta.dir}/../support/flood.ts`, String(gate.port), '10', '/x'],
      { stdout: 'pipe', stderr: 'ignore' },
    )
    try {
      await flood.stdout.getReader().read()
      // Before, none was answered in five seconds. The room is for a machine that has other work.
      expect(await percentile95(gate.port)).toBeLessThan(50 + 20 * alone)
    } finally {
      flood.kill('SIGKILL')
      await flood.exited
    }
  })
})

/** What stays unread ends a connection by a reset, which may overtake the last answer: then again. */
const TRIES = 20

async function answeredFew(port: number, route: string): Promise<void> {
  let closings: readonly string[] = []
  for (let tries = 0; tries < TRIES && closings.length === 0; tries += 1) {
    const wire = await dial(port)
    wire.write(head(`${route} HTTP/1.1`, 'Host: gate.test').repeat(2000))
    await wire.ended()
    const statuses = wire.received().match(/^HTTP\/1\.1 .*/gm) ?? []
    expect(statuses.length).toBeLessThan(17)
    closings = wire.received().match(/^connection: close\r$/gim) ?? []
  }
  expect(closings).toHaveLength(1)
}

/** Milliseconds that a probe takes on a connection of its own, as a load balancer's does. */
async function percentile95(port: number): Promise<number> {
  const took: number[] = []
  for (let each = 0; each < 60; each += 1) {
    const begunAt = performance.now()
    const wire = await dial(port)
    wire.write(head('GET /healthz HTTP/1.1', 'Host: gate.test'))
    await wire.settled()
    wire.destroy()
    took.push(performance.now() - begunAt)
  }
  return took.toSorted((one, other) => one - other)[56] ?? Number.POSITIVE_INFINITY
}
