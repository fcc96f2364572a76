// One keep-alive connection to an upstream. It carries one request at a time, without pipelining, and is
// closed at the first protocol violation.

import net, { isIP, type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import tls from 'node:tls'
import { isPublic, looksPrivate } from '../hosts.ts'
import type { Egress } from './egress.ts'
import { type NativeSocket, NO_HANDLES, type SocketHandles } from './handles.ts'
import { type ResponseEvents, ResponseReader } from './response.ts'
import { openTunnel, type Tunnel } from './tunnel.ts'

/** The events that a connection reports to its request. */
export interface Carried extends ResponseEvents {
  onConnected(): void
  /** Everything that was read at a time has been reported, and the response goes on. */
  onRead(): void
  onDrain(): void
  /** `code` is an errno or the like; undefined if the other side closed in order. */
  onGone(code: string | undefined): void
}

export interface Origin {
  /** The key of the pool: all other members in one text. */
  readonly name: string
  readonly tls: boolean
  readonly hostname: string
  readonly port: number
  /** Connect to this address instead of resolving `hostname`; the certificate must match the name. */
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

/** Shorter than the idle timeouts of common servers, so that few requests meet a closed connection. */
const IDLE_CONNECTION_MS = 15_000
/** Subtracted from the idle time that the server announces. */
const IDLE_MARGIN_MS = 1000
/** Above this size, copying the body costs more than a separate send for the head. */
export const MAX_JOINED_BYTES = 16_384
/** Scratch space for one request: it is sent, or its rest copied, before the next one is written. */
const JOINED = Buffer.allocUnsafeSlow(MAX_JOINED_BYTES)
/**
 * TCP keep-alive finds dead peers, because a response may be silent for ten minutes. The kernel probes
 * after this time; Bun has it give up after ten probes, a second apart.
 */
const PROBE_AFTER_MS = 30_000

export class Connection {
  readonly origin: string
  /** Undefined until the proxy has accepted the tunnel. */
  #socket: OwnedSocket | undefined
  /** Closed together with the connection. */
  #tunnel: Tunnel | undefined
  #reader: ResponseReader | undefined
  #carried: Carried | undefined
  #connected = false
  #paused = false
  #gone = false
  /** Monotonic milliseconds. */
  idleUntil = 0
  /** The last request said `connection: close`. */
  saidClose = false

  readonly handles: SocketHandles

  constructor(origin: string, handles: SocketHandles = NO_HANDLES) {
    this.origin = origin
    this.handles = handles
  }

  /** `ready`: the event that reports the connection; undefined if it is already connected. */
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

  /** Whether the kernel has taken everything that was written. */
  get flushed(): boolean {
    return (this.#socket?.writableLength ?? 0) === 0
  }

  connect(): void {
    this.#connected = true
    this.#carried?.onConnected()
  }

  /** False if the caller should stop reading for now. */
  read(chunk: Buffer): boolean {
    if (this.#reader) this.#push(this.#reader, chunk)
    // Bytes that no request asked for.
    else this.destroy()
    return !this.#paused
  }

  drain(): void {
    this.#carried?.onDrain()
  }

  carry(carried: Carried, upgrades = false): void {
    this.#carried = carried
    this.#reader = new ResponseReader(carried, upgrades)
  }

  /** After a response has been read. False if the connection cannot be reused. */
  release(): boolean {
    const reader = this.#reader
    // If part of its request is still unsent, the next request would wait behind it.
    const reusable = reader?.reusable === true && this.usable && this.flushed && !this.saidClose
    const keptMs = (reader?.idleSeconds ?? Number.POSITIVE_INFINITY) * 1000 - IDLE_MARGIN_MS
    this.#carried = undefined
    this.#reader = undefined
    if (!reusable) {
      this.destroy()
      return false
    }
    this.idleUntil = performance.now() + Math.min(IDLE_CONNECTION_MS, keptMs)
    // A slow reader may have left it paused.
    if (this.#paused) this.resume()
    return true
  }

  /** False if the caller should wait for `onDrain`. */
  write(bytes: Uint8Array): boolean {
    return this.#socket?.write(bytes) ?? false
  }

  /** Sends a whole request of up to `MAX_JOINED_BYTES` in one write. */
  send(head: string, body: Uint8Array | undefined): void {
    JOINED.write(head, 'latin1')
    if (body) JOINED.set(body, head.length)
    const bytes = head.length + (body?.byteLength ?? 0)
    const taken = this.#take(bytes)
    if (taken < bytes) this.#socket?.write(Buffer.from(JOINED.subarray(taken, bytes)))
  }

  /** How many bytes the kernel takes now; 0 if earlier bytes are still waiting. */
  #take(bytes: number): number {
    if (!this.#socket || !this.handles.write) return 0
    const { _handle: handle, writableLength } = this.#socket
    if (!handle || writableLength > 0) return 0
    return Math.max(0, handle.write(JOINED, 0, bytes))
  }

  /** Takes effect after the chunk that is being read. */
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
      this.#carried?.onRead()
    } catch (error) {
      const carried = this.#carried
      this.destroy()
      carried?.onGone('failed')
      throw error
    }
  }
}

/** Handlers find the connection through `this`: per-socket closures would add 20 % to its memory. */
type OwnedSocket = Socket & { readonly owner: Connection; readonly _handle?: NativeSocket | null }

function onConnect(this: OwnedSocket): void {
  this.owner.connect()
}
/** PLAIN_HTTP_HOSTS is for private networks: nothing is sent in clear to a public address. */
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

/** Bypasses node:stream's buffering and events, which cost more than reading the chunk. */
function push(this: OwnedSocket, chunk: Buffer | null): boolean {
  return chunk === null ? Duplex.prototype.push.call(this, chunk) : this.owner.read(chunk)
}

/** Returns at once; the connection is still being made. */
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
    // An address needs no resolving, and its certificate is checked for it.
    host: isIP(hostname) === 0 ? (address ?? hostname) : hostname,
    port,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: PROBE_AFTER_MS,
  }
  if (!secure) return net.connect(options)
  return tls.connect({ ...options, ...verified(hostname, trust) })
}

/** Verifies the upstream's name, whatever proxy is in between. */
function verified(hostname: string, trust: Egress['trust']): tls.ConnectionOptions {
  return {
    // An address is not a server name (RFC 6066 §3).
    ...(isIP(hostname) === 0 && { servername: hostname }),
    ...(trust && { secureContext: trust }),
    ALPNProtocols: ['http/1.1'],
    rejectUnauthorized: true,
  }
}
