// A TCP proxy that is bad on purpose, with the eight toxics of toxiproxy
// (github.com/Shopify/toxiproxy). It reads and writes only as fast as the other side takes, holds a
// bounded number of bytes, and takes every chance from its seed.
//
// It never makes a network that cannot exist: bytes arrive in order and unchanged, or not at all.
// For that `timeout` holds bytes back where toxiproxy drops them.

import net, { type Server, type Socket } from 'node:net'
import { type Random, random } from '../support/random.ts'
import { type Lane, lane } from './lane.ts'

/** As in toxiproxy: `upstream` is from the client to the server, `downstream` the way back. */
export type Direction = 'upstream' | 'downstream'

export type Toxic =
  /** Each byte comes this much later, give or take. */
  | { readonly kind: 'latency'; readonly latencyMs: number; readonly jitterMs?: number }
  | { readonly kind: 'bandwidth'; readonly bytesPerSecond: number }
  /** The end of this direction is passed on so much later. */
  | { readonly kind: 'slow_close'; readonly delayMs: number }
  /** Nothing passes; the connection is closed after that, where it is more than 0. */
  | { readonly kind: 'timeout'; readonly timeoutMs: number }
  /** Both sides are reset so long after the toxic met the connection; at 0 nothing passes any more. */
  | { readonly kind: 'reset_peer'; readonly timeoutMs: number }
  /** Pieces of this size, give or take, with a pause after each. */
  | {
      readonly kind: 'slicer'
      readonly averageBytes: number
      readonly variationBytes: number
      readonly delayMs: number
    }
  /** Closed, in order, once so many bytes of the connection have passed, and up to so many more. */
  | { readonly kind: 'limit_data'; readonly bytes: number; readonly variationBytes?: number }

export type Kind = Toxic['kind'] | 'down'

/** One connection through the proxy. */
export interface Link {
  /** By which the server knows it. */
  readonly localPort: number
  /** Bytes handed to the other side's kernel. */
  readonly passed: Readonly<Record<Direction, number>>
  readonly open: boolean
}

export interface ToxicProxy {
  readonly port: number
  readonly url: string
  /** Every connection that reached the server; forgotten by `forget()`. */
  readonly links: readonly Link[]
  readonly open: number
  /** Replaces what ails one direction, on open connections too. */
  set(direction: Direction, ...toxics: readonly Toxic[]): void
  /** The eighth toxic: nobody listens, and whoever was connected is cut. */
  down(): Promise<void>
  /** Listens again, where it did not, and takes every toxic away. */
  heal(): Promise<void>
  /** New connections go there. */
  target(port: number): void
  forget(): void
  close(): Promise<void>
}

export async function toxicProxy(targetPort: number, seed = 1): Promise<ToxicProxy> {
  const chance = random(seed)
  const toxics: Record<Direction, readonly Toxic[]> = { upstream: [], downstream: [] }
  const links: Link[] = []
  const joints = new Set<Joint>()
  let to = targetPort
  let server: Server | undefined

  const accept = (client: Socket): void => {
    const joint = join(client, net.connect({ port: to, host: '127.0.0.1', allowHalfOpen: true }), {
      toxics,
      chance,
      onConnect: (link) => links.push(link),
      onGone: () => joints.delete(joint),
    })
    joints.add(joint)
  }
  const listen = (port: number): Promise<void> =>
    new Promise((resolve, reject) => {
      const next = net.createServer({ allowHalfOpen: true }, accept)
      next.once('error', reject)
      next.listen(port, '127.0.0.1', () => {
        server = next
        resolve()
      })
    })
  const deafen = (): Promise<void> =>
    new Promise((resolve) => {
      if (!server) return resolve()
      server.close(() => resolve())
      server = undefined
      for (const joint of joints) joint.cut('close')
    })
  const changed = (): void => {
    for (const joint of joints) joint.changed()
  }

  const port = await anyPort(listen)
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    links,
    get open() {
      return joints.size
    },
    set(direction, ...next) {
      toxics[direction] = next
      changed()
    },
    down: deafen,
    async heal() {
      toxics.upstream = []
      toxics.downstream = []
      changed()
      if (!server) await listen(port)
    },
    target(next) {
      to = next
    },
    forget() {
      links.length = 0
    },
    close: deafen,
  }
}

/**
 * Below the range out of which kernels choose: a port that is let go while the proxy is down must
 * not be somebody else's by the time it is back. Not of the seed, which other processes share.
 */
async function anyPort(listen: (port: number) => Promise<void>): Promise<number> {
  for (let tries = 0; ; tries += 1) {
    const port = LOWEST_PORT + Math.floor(Math.random() * PORTS)
    const taken = await listen(port).then(
      () => undefined,
      (error: unknown) => error,
    )
    if (taken === undefined) return port
    if (tries === MAX_TRIES) throw taken
  }
}

const LOWEST_PORT = 15_000
const PORTS = 15_000
const MAX_TRIES = 100

interface Joint {
  changed(): void
  cut(how: 'close' | 'reset'): void
}

interface JointOptions {
  readonly toxics: Readonly<Record<Direction, readonly Toxic[]>>
  readonly chance: Random
  readonly onConnect: (link: Link) => void
  readonly onGone: () => void
}

/** Two sockets and a lane between them each way. */
function join(client: Socket, server: Socket, options: JointOptions): Joint {
  const { toxics, chance, onConnect, onGone } = options
  const passed = { upstream: 0, downstream: 0 }
  const sockets = [client, server]
  const timers: NodeJS.Timeout[] = []
  let over = false

  const cut = (how: 'close' | 'reset'): void => {
    if (over) return
    over = true
    for (const timer of timers) clearTimeout(timer)
    for (const lane of lanes) lane.changed()
    for (const socket of sockets) {
      if (how === 'reset') socket.resetAndDestroy()
      else socket.destroySoon()
    }
    onGone()
  }
  const arm = (): void => {
    for (const timer of timers.splice(0)) clearTimeout(timer)
    for (const { kind, ...rest } of [...toxics.upstream, ...toxics.downstream]) {
      if (!('timeoutMs' in rest)) continue
      if (kind === 'reset_peer') timers.push(setTimeout(cut, rest.timeoutMs, 'reset'))
      else if (rest.timeoutMs > 0) timers.push(setTimeout(cut, rest.timeoutMs, 'close'))
    }
  }
  const laneOf = (from: Socket, into: Socket, direction: Direction): Lane =>
    lane(from, into, {
      toxics: () => toxics[direction],
      chance,
      passed: (bytes) => (passed[direction] += bytes),
      over: () => over,
      onLimit: () => cut('close'),
    })
  const lanes = [laneOf(client, server, 'upstream'), laneOf(server, client, 'downstream')] as const

  for (const socket of sockets) {
    socket.setNoDelay(true)
    socket.on('error', () => cut('reset'))
    socket.on('close', () => {
      if (sockets.every((each) => each.destroyed)) cut('close')
    })
  }
  server.once('connect', () => {
    onConnect({
      localPort: server.localPort ?? 0,
      passed,
      get open() {
        return !over
      },
    })
  })
  arm()
  return {
    cut,
    changed() {
      arm()
      for (const each of lanes) each.changed()
    },
  }
}
