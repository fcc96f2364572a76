// One kept connection to an upstream. Requests go over it one after another, never two at once, and it
// is given up at the first oddity.

import net, { isIP, type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import tls from 'node:tls'
import { isPublic, looksPrivate } from '../hosts.ts'
import type { Egress } from './egress.ts'
import { type NativeSocket, NO_HANDLES, type SocketHandles } from './handles.ts'
import { type ResponseEvents, ResponseReader } from './response.ts'
import { openTunnel, type Tunnel } from './tunnel.ts'

/** What a connection tells the request that it carries. */
export interface Carried extends ResponseEvents {
  onConnected(): void
  onDrain(): void
  /** `code` is an errno or the like; undefined where the other side closed in order. */
  onGone(code: string | undefined): void
}

export interface Origin {
  /** All of the others in one, to tell origins apart. */
  readonly name: string
  readonly tls: boolean
  readonly hostname: string
  readonly port: number
  /** Connect here instead of resolving `hostname` again; the certificate is still the name's. */
  readonly address: string | undefined
}

export function originAt(
  secure: boolean,
  hostname: string,
  port: number,
  address: string | undefined,
): Origin {
  const name = `${secure ? 'https' : 'http'} ${hostname} ${port} ${address ?? ''}`
  return { name, tls: secure, hostname, port, address }
}

/** Shorter than the idle time of the servers that matter, so that few requests meet a closed one. */
const IDLE_CONNECTION_MS = 15_000
/** How much earlier than it has announced the other side is taken to close. */
const IDLE_MARGIN_MS = 1000
/** Of a larger request, a copy costs more than a send of its own for the head. */
export const MAX_JOINED_BYTES = 16_384
/** Where requests are put together; each has left, or is copied, when the next one comes. */
const JOINED = Buffer.allocUnsafeSlow(MAX_JOINED_BYTES)
/**
 * Dead peers are found by the kernel, since an answer may be silent for ten minutes: after so much
 * silence it probes, and Bun has it give up after ten probes, a second apart.
 */
const PROBE_AFTER_MS = 30_000

export class Connection {
  readonly origin: string
  /** Undefined until a proxy has let it through. */
  #socket: OwnedSocket | undefined
  /** What it goes through, and ends with it. */
  #tunnel: Tunnel | undefined
  #reader: ResponseReader | undefined
  #carried: Carried | undefined
  #connected = false
  #paused = false
  #gone = false
  /** Monotonic milliseconds. */
  idleUntil = 0
  /** Its last request asked for its end. */
  saidClose = false

  readonly handles: SocketHandles

  constructor(origin: string, handles: SocketHandles = NO_HANDLES) {
    this.origin = origin
    this.handles = handles
  }

  /** `ready`: the event that says so; undefined where it is connected already. */
  own(
    socket: Socket,
    ready: 'connect' | 'secureConnect' | undefined,
    onReady: typeof onConnect = onConnect,
  ): void {
    if (this.#gone) {
      socket.destroy()
      return
    }
    const owned: OwnedSocket = Object.assign(socket, { owner: this })
    this.#socket = owned
    if (this.handles.push) owned.push = push
    else owned.on('data', onData)
    owned.on('drain', onDrain).on('end', onEnd).on('error', onError).on('close', onClose)
    if (ready) owned.once(ready, onReady)
    else this.connect()
    owned.resume()
  }

  await(tunnel: Tunnel): void {
    this.#tunnel = tunnel
  }

  get connected(): boolean {
    return this.#connected
  }

  get usable(): boolean {
    return this.#connected && !this.#gone
  }

  /** Nothing of what was written waits here: the kernel has it all. */
  get flushed(): boolean {
    return (this.#socket?.writableLength ?? 0) === 0
  }

  connect(): void {
    this.#connected = true
    this.#carried?.onConnected()
  }

  /** False where it should be the last for now. */
  read(chunk: Buffer): boolean {
    if (this.#reader) this.#push(this.#reader, chunk)
    // Nobody has asked for anything.
    else this.destroy()
    return !this.#paused
  }

  drain(): void {
    this.#carried?.onDrain()
  }

  carry(carried: Carried): void {
    this.#carried = carried
    this.#reader = new ResponseReader(carried)
  }

  /** The answer has been read; false where the connection can carry no other. */
  release(): boolean {
    const reader = this.#reader
    // With a rest of its request still to be sent, the next would wait behind that.
    const reusable = reader?.reusable === true && this.usable && this.flushed && !this.saidClose
    const keptMs = (reader?.idleSeconds ?? Number.POSITIVE_INFINITY) * 1000 - IDLE_MARGIN_MS
    this.#carried = undefined
    this.#reader = undefined
    if (!reusable) {
      this.destroy()
      return false
    }
    this.idleUntil = performance.now() + Math.min(IDLE_CONNECTION_MS, keptMs)
    // A reader that was slower than the answer's last bytes has left it standing.
    if (this.#paused) this.resume()
    return true
  }

  /** False where the caller should wait for `onDrain`. */
  write(bytes: Uint8Array): boolean {
    return this.#socket?.write(bytes) ?? false
  }

  /** The whole of a request, in one send; up to `MAX_JOINED_BYTES` of it. */
  send(head: string, body: Uint8Array | undefined): void {
    JOINED.write(head, 'latin1')
    if (body) JOINED.set(body, head.length)
    const bytes = head.length + (body?.byteLength ?? 0)
    const taken = this.#take(bytes)
    if (taken < bytes) this.#socket?.write(Buffer.from(JOINED.subarray(taken, bytes)))
  }

  /** How many of those bytes the kernel takes at once; none where others wait for it already. */
  #take(bytes: number): number {
    if (!this.#socket || !this.handles.write) return 0
    const { _handle: handle, writableLength } = this.#socket
    if (!handle || writableLength > 0) return 0
    return Math.max(0, handle.write(JOINED, 0, bytes))
  }

  /** From the next chunk on, or from this one where one is being read. */
  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    this.#socket?.resume()
  }

  destroy(): void {
    this.#gone = true
    this.#reader?.stop()
    this.#carried = undefined
    this.#reader = undefined
    this.#tunnel?.destroy()
    this.#socket?.destroy()
  }

  lose(code: string | undefined): void {
    this.#gone = true
    const carried = this.#carried
    if (!carried) {
      this.#socket?.destroy()
      return
    }
    if (code === undefined) this.#reader?.close()
    if (this.#carried !== carried) return
    this.destroy()
    carried.onGone(code)
  }

  /** What a listener throws must not leave the reader between two bytes. */
  #push(reader: ResponseReader, chunk: Buffer): void {
    try {
      reader.push(chunk)
    } catch (error) {
      const carried = this.#carried
      this.destroy()
      carried?.onGone('failed')
      throw error
    }
  }
}

/** Told by `this`, for closures of each socket's own would be a fifth of what a connection weighs. */
type OwnedSocket = Socket & { readonly owner: Connection; readonly _handle?: NativeSocket | null }

function onConnect(this: OwnedSocket): void {
  this.owner.connect()
}
/** PLAIN_HTTP_HOSTS is for one's own network: what leads out of it gets nothing in clear. */
function onPlainConnect(this: OwnedSocket): void {
  const address = (this.remoteAddress ?? '').replace(/^::ffff:/i, '')
  if (isPublic(address)) this.owner.lose('public address')
  else this.owner.connect()
}
function onData(this: OwnedSocket, chunk: Buffer): void {
  if (!this.owner.read(chunk)) this.pause()
}
function onDrain(this: OwnedSocket): void {
  this.owner.drain()
}
function onEnd(this: OwnedSocket): void {
  this.owner.lose(undefined)
}
function onError(this: OwnedSocket, error: NodeJS.ErrnoException): void {
  this.owner.lose(error.code ?? 'error')
}
function onClose(this: OwnedSocket): void {
  this.owner.lose('closed')
}

/** What node:stream does with a chunk, to keep it and tell of it, costs more than reading it. */
function push(this: OwnedSocket, chunk: Buffer | null): boolean {
  return chunk === null ? Duplex.prototype.push.call(this, chunk) : this.owner.read(chunk)
}

/** On its way. */
export function connect(
  origin: Origin,
  { trust, proxyTo }: Egress,
  handles: SocketHandles,
): Connection {
  const { hostname, port, address } = origin
  const connection = new Connection(origin.name, handles)
  const proxy = proxyTo(hostname, port)
  if (!proxy) {
    const socket = open(origin, trust)
    if (origin.tls) connection.own(socket, 'secureConnect')
    // Clusters give public addresses of IPv6 to names that nobody outside can resolve.
    else connection.own(socket, 'connect', mayBePublic(hostname) ? onPlainConnect : onConnect)
    return connection
  }
  const to = { host: isIP(hostname) === 0 ? (address ?? hostname) : hostname, port }
  const tunnel = openTunnel(proxy, to, trust, PROBE_AFTER_MS, (outcome) => {
    if (typeof outcome === 'string') return connection.lose(outcome)
    if (!origin.tls) return connection.own(outcome, undefined)
    connection.own(tls.connect({ socket: outcome, ...verified(hostname, trust) }), 'secureConnect')
  })
  connection.await(tunnel)
  return connection
}

const mayBePublic = (hostname: string): boolean => isIP(hostname) !== 0 || !looksPrivate(hostname)

function open({ tls: secure, hostname, port, address }: Origin, trust: Egress['trust']): Socket {
  const options = {
    // An address needs no resolving, and its certificate is checked for where the connection goes.
    host: isIP(hostname) === 0 ? (address ?? hostname) : hostname,
    port,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: PROBE_AFTER_MS,
  }
  if (!secure) return net.connect(options)
  return tls.connect({ ...options, ...verified(hostname, trust) })
}

/** The name is the upstream's, whoever is in between. */
function verified(hostname: string, trust: Egress['trust']): tls.ConnectionOptions {
  return {
    // An address is no server name (RFC 6066 §3).
    ...(isIP(hostname) === 0 && { servername: hostname }),
    ...(trust && { secureContext: trust }),
    ALPNProtocols: ['http/1.1'],
    rejectUnauthorized: true,
  }
}
