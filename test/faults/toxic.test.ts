// The fault injector itself: each toxic does what it says, in the direction it was set for, and
// whatever passes is what was sent.

import { afterAll, describe, expect, test } from 'bun:test'
import net, { type AddressInfo, type Socket } from 'node:net'
import { random } from '../support/random.ts'
import { soon } from '../support/patience.ts'
import { type Direction, type Toxic, type ToxicProxy, toxicProxy } from './toxic.ts'

/** For whatever should have happened at once. */
/** Timers may be early by a tick. */
const TICK_MS = 2

const noise = (bytes: number, seed = 7): Buffer => {
  const { int } = random(seed)
  // Repeated, not drawn for each byte: that would keep the tests beside it waiting.
  const period = Buffer.from(Array.from({ length: Math.min(bytes, 4099) }, () => int(256)))
  return Buffer.alloc(bytes, period)
}

/** One end of a connection, and all that it saw. */
interface End {
  readonly socket: Socket
  readonly bytes: () => Buffer
  readonly ended: Promise<'fin' | 'reset'>
  /** Arrival of the first byte, and how many pieces there were. */
  readonly firstAt: () => number
  readonly pieces: () => number
  /** Until so many bytes have come. */
  got(bytes: number): Promise<void>
}

function watch(socket: Socket): End {
  const chunks: Buffer[] = []
  let first = 0
  let look = (): void => {}
  const total = (): number => chunks.reduce((sum, { byteLength }) => sum + byteLength, 0)
  socket.on('data', (chunk: Buffer) => {
    first ||= performance.now()
    chunks.push(chunk)
    look()
  })
  const { promise: ended, resolve } = Promise.withResolvers<'fin' | 'reset'>()
  socket.on('end', () => resolve('fin'))
  socket.on('error', () => resolve('reset'))
  socket.on('close', () => resolve('reset'))
  return {
    socket,
    bytes: () => Buffer.concat(chunks),
    ended,
    firstAt: () => first,
    pieces: () => chunks.length,
    got: (bytes) =>
      new Promise((done) => {
        look = () => {
          if (total() >= bytes) done()
        }
        look()
      }),
  }
}

const servers: net.Server[] = []
const proxies: ToxicProxy[] = []
afterAll(async () => {
  for (const each of proxies) await each.close()
  for (const each of servers) each.close()
})

/** A server of one test, which gives each end that it accepts to `take`. */
async function listen(take: (end: End) => void, seed = 11): Promise<ToxicProxy> {
  const server = net.createServer({ allowHalfOpen: true }, (socket) => take(watch(socket)))
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const proxy = await toxicProxy((server.address() as AddressInfo).port, seed)
  proxies.push(proxy)
  return proxy
}

interface Pair {
  readonly proxy: ToxicProxy
  readonly sender: End
  readonly receiver: End
  /** What is done with the server's next. */
  accepts(take: (end: End) => void): void
}

/** Two ends through a proxy of their own; the sender is the one whose direction is ailing. */
async function pair(direction: Direction, ...toxics: readonly Toxic[]): Promise<Pair> {
  const { promise: accepted, resolve } = Promise.withResolvers<End>()
  let take: (end: End) => void = resolve
  const proxy = await listen((end) => take(end))
  proxy.set(direction, ...toxics)
  const accepts = (next: (end: End) => void): void => {
    take = next
  }
  const client = watch(net.connect({ port: proxy.port, host: '127.0.0.1', allowHalfOpen: true }))
  const server = await soon(accepted, 'a connection')
  return direction === 'upstream'
    ? { proxy, accepts, sender: client, receiver: server }
    : { proxy, accepts, sender: server, receiver: client }
}

async function all(from: End, to: End, bytes: Buffer): Promise<number> {
  const started = performance.now()
  from.socket.write(bytes)
  await soon(to.got(bytes.byteLength), `${bytes.byteLength} bytes`)
  expect(to.bytes().equals(bytes)).toBe(true)
  return performance.now() - started
}

describe.each(['upstream', 'downstream'] as const)('%s', (direction) => {
  test.concurrent('without a toxic bytes pass as they are, and so do both ends', async () => {
    const { sender, receiver, proxy } = await pair(direction)
    await all(sender, receiver, noise(300_000))
    await all(receiver, sender, noise(1000, 8))
    sender.socket.end()
    expect(await soon(receiver.ended, 'the end')).toBe('fin')
    receiver.socket.write('after')
    await soon(sender.got(1005), 'what comes after half an end')
    receiver.socket.end()
    expect(await soon(sender.ended, 'the end')).toBe('fin')
    expect(proxy.links[0]?.passed[direction]).toBe(300_000)
  })

  test.concurrent('latency delays, both ways of jitter, and keeps the order', async () => {
    const { sender, receiver, proxy } = await pair(direction, {
      kind: 'latency',
      latencyMs: 400,
      jitterMs: 150,
    })
    const started = performance.now()
    const bytes = noise(2000)
    for (let at = 0; at < 2000; at += 100) sender.socket.write(bytes.subarray(at, at + 100))
    await soon(receiver.got(2000), 'the bytes')
    expect(receiver.firstAt() - started).toBeGreaterThan(250 - TICK_MS)
    expect(receiver.bytes().equals(bytes)).toBe(true)
    // The other direction is well: its bytes overtake.
    proxy.set(direction, { kind: 'latency', latencyMs: 2000 })
    sender.socket.write('late')
    await all(receiver, sender, noise(10))
    expect(receiver.bytes().byteLength).toBe(2000)
  })

  test.concurrent('bandwidth is kept to', async () => {
    const toxic = { kind: 'bandwidth', bytesPerSecond: 100_000 } as const
    const { sender, receiver } = await pair(direction, toxic)
    const took = await all(sender, receiver, noise(30_000))
    // The last piece's pause is after it.
    expect(took).toBeGreaterThan(250)
  })

  test.concurrent('slow_close holds the end back, and no byte', async () => {
    const { sender, receiver } = await pair(direction, { kind: 'slow_close', delayMs: 2000 })
    const started = performance.now()
    sender.socket.end('bytes')
    await soon(receiver.got(5), 'the bytes')
    expect(receiver.socket.readableEnded).toBe(false)
    await soon(receiver.ended, 'the end')
    expect(performance.now() - started).toBeGreaterThan(2000 - TICK_MS)
  })

  test.concurrent('timeout holds all, and then closes', async () => {
    // Its time begins with the connection.
    const started = performance.now()
    const { sender, receiver } = await pair(direction, { kind: 'timeout', timeoutMs: 100 })
    sender.socket.write('bytes')
    expect(await soon(receiver.ended, 'the end')).toBe('fin')
    expect(performance.now() - started).toBeGreaterThan(90)
    expect(receiver.bytes().byteLength).toBe(0)
  })

  test.concurrent(
    'timeout 0 holds all until it is taken away, and nothing is missing then',
    async () => {
      const { sender, receiver, proxy } = await pair(direction, { kind: 'timeout', timeoutMs: 0 })
      const bytes = noise(5000)
      sender.socket.write(bytes)
      await Bun.sleep(80)
      expect(receiver.bytes().byteLength).toBe(0)
      await proxy.heal()
      await soon(receiver.got(5000), 'the bytes')
      expect(receiver.bytes().equals(bytes)).toBe(true)
    },
  )

  test.concurrent('reset_peer resets both sides', async () => {
    // Its time begins with the connection.
    const started = performance.now()
    const { sender, receiver } = await pair(direction, { kind: 'reset_peer', timeoutMs: 60 })
    const both = Promise.all([sender.ended, receiver.ended])
    expect(await soon(both, 'the resets')).toEqual(['reset', 'reset'])
    expect(performance.now() - started).toBeGreaterThan(50)
  })

  test.concurrent('slicer sends pieces with pauses, and the same bytes', async () => {
    const { sender, receiver } = await pair(direction, {
      kind: 'slicer',
      averageBytes: 100,
      variationBytes: 60,
      delayMs: 3,
    })
    const took = await all(sender, receiver, noise(3000))
    expect(receiver.pieces()).toBeGreaterThan(12)
    expect(took).toBeGreaterThan(40)
  })

  test.concurrent('limit_data passes exactly so much, and closes', async () => {
    const { sender, receiver, proxy } = await pair(direction, { kind: 'limit_data', bytes: 1234 })
    const bytes = noise(100_000)
    sender.socket.write(bytes)
    expect(await soon(receiver.ended, 'the end')).toBe('fin')
    expect(receiver.bytes().equals(bytes.subarray(0, 1234))).toBe(true)
    expect(proxy.links[0]?.passed[direction]).toBe(1234)
    expect(proxy.open).toBe(0)
  })

  test.concurrent('limit_data of nothing passes nothing', async () => {
    const proxy = await listen(() => {})
    proxy.set(direction, { kind: 'limit_data', bytes: 0 })
    const client = watch(net.connect({ port: proxy.port, host: '127.0.0.1' }))
    client.socket.write('x')
    await soon(client.ended, 'the end')
    expect(client.bytes().byteLength).toBe(0)
    expect(proxy.open).toBe(0)
  })

  test.concurrent(
    'down cuts open connections and refuses new ones, until it is healed',
    async () => {
      const { sender, receiver, proxy, accepts } = await pair(direction)
      await all(sender, receiver, noise(10))
      await proxy.down()
      await soon(Promise.all([sender.ended, receiver.ended]), 'the ends')
      const late = watch(net.connect({ port: proxy.port, host: '127.0.0.1' }))
      expect(await soon(late.ended, 'a refusal')).toBe('reset')
      await proxy.heal()
      accepts((end) => void end.socket.end('well'))
      const again = watch(net.connect({ port: proxy.port, host: '127.0.0.1' }))
      await soon(again.got(4), 'a word')
      again.socket.destroy()
    },
  )

  test.concurrent('a toxic meets connections that are open, and leaves them', async () => {
    const { sender, receiver, proxy } = await pair(direction)
    await all(sender, receiver, noise(10))
    proxy.set(direction, { kind: 'latency', latencyMs: 400 })
    const started = performance.now()
    sender.socket.write('late')
    await soon(receiver.got(14), 'the bytes')
    expect(performance.now() - started).toBeGreaterThan(400 - TICK_MS)
    await proxy.heal()
    await all(receiver, sender, noise(10, 8))
    sender.socket.write('soon')
    await soon(receiver.got(18), 'the bytes')
  })

  test.concurrent('a reset of one side is one for the other', async () => {
    const { sender, receiver } = await pair(direction)
    await all(sender, receiver, noise(10))
    sender.socket.resetAndDestroy()
    expect(await soon(receiver.ended, 'the reset')).toBe('reset')
  })

  test.concurrent('it takes no more than the other side does', async () => {
    const { sender, receiver, proxy } = await pair(direction)
    receiver.socket.pause()
    const block = noise(1_000_000)
    let written = 0
    const more = (): void => {
      while (written < 64) {
        written += 1
        if (!sender.socket.write(block)) return
      }
    }
    sender.socket.on('drain', more)
    more()
    await Bun.sleep(300)
    // What kernels hold is theirs; the proxy's own part is bounded.
    expect(written).toBeLessThan(40)
    receiver.socket.resume()
    await soon(receiver.got(written * block.byteLength), 'the rest')
    sender.socket.off('drain', more)
    await proxy.close()
  })
})

test.concurrent('the same seed takes the same chances', async () => {
  const slices = async (seed: number): Promise<string> => {
    const sizes: number[] = []
    const { promise: done, resolve } = Promise.withResolvers<void>()
    const proxy = await listen(({ socket }) => {
      socket.on('data', (chunk: Buffer) => sizes.push(chunk.byteLength))
      socket.on('end', resolve)
    }, seed)
    const slicer = { kind: 'slicer', averageBytes: 50, variationBytes: 40, delayMs: 8 } as const
    proxy.set('upstream', slicer)
    net.connect({ port: proxy.port, host: '127.0.0.1' }).end(noise(400))
    await soon(done, 'the end')
    return sizes.join()
  }
  const before = new Set<string>()
  let again = false
  // On a busy machine two pieces may arrive as one.
  for (let tries = 0; tries < 6 && !again; tries++) {
    const sizes = await slices(99)
    again = before.has(sizes)
    before.add(sizes)
  }
  expect(again).toBe(true)
  expect(before).not.toContain(await slices(98))
})
