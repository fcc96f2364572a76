// A tunnel through a proxy (RFC 9110 §9.3.6). The proxy sees a host, a port and its own credentials, and
// nothing of the TLS connection inside.

import net, { type Socket } from 'node:net'
import tls from 'node:tls'
import type { Secret } from '../secret.ts'

export interface ProxyAddress {
  readonly tls: boolean
  readonly hostname: string
  readonly port: number
  /** The value of `Proxy-Authorization`. */
  readonly authorization: Secret | undefined
}

export interface Tunnel {
  destroy(): void
}

const MAX_HEAD_BYTES = 16_384
const STATUS = /^HTTP\/1\.[01] (\d{3})[ \r]/

/**
 * `done` is called once: with a socket on which nothing was sent yet, or with the reason why there
 * is none.
 */
export function openTunnel(
  proxy: ProxyAddress,
  to: { readonly host: string; readonly port: number },
  trust: tls.SecureContext | undefined,
  probeAfterMs: number,
  done: (outcome: Socket | string) => void,
): Tunnel {
  const socket = dial(proxy, trust, probeAfterMs)
  let head = ''
  const settle = (outcome: Socket | string): void => {
    socket.off('data', onData).off('end', onGone).off('close', onGone).off('error', onError)
    // A socket error without a listener ends the process.
    socket.on('error', () => {})
    if (typeof outcome === 'string') socket.destroy()
    done(outcome)
  }
  const onData = (chunk: Buffer): void => {
    head += chunk.toString('latin1')
    const end = head.indexOf('\r\n\r\n')
    if (end === -1) {
      if (head.length > MAX_HEAD_BYTES) settle('proxy gave no HTTP answer')
      return
    }
    const status = STATUS.exec(head)?.[1]
    if (status === undefined) return settle('proxy gave no HTTP answer')
    if (!status.startsWith('2')) return settle(`proxy status ${status}`)
    // Nothing was sent to the other side yet.
    if (end + 4 < head.length) return settle('proxy answered for the other side')
    socket.pause()
    settle(socket)
  }
  const onGone = (): void => settle('proxy closed')
  const onError = (error: NodeJS.ErrnoException): void => settle(`proxy ${error.code ?? 'error'}`)
  socket.once(proxy.tls ? 'secureConnect' : 'connect', () => socket.write(connectHead(proxy, to)))
  socket.on('data', onData).on('end', onGone).on('close', onGone).on('error', onError)
  return { destroy: () => socket.destroy() }
}

function dial(
  { tls: secure, hostname, port }: ProxyAddress,
  trust: tls.SecureContext | undefined,
  probeAfterMs: number,
) {
  const options = {
    host: hostname,
    port,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: probeAfterMs,
  }
  if (!secure) return net.connect(options)
  return tls.connect({
    ...options,
    ...(net.isIP(hostname) === 0 && { servername: hostname }),
    ...(trust && { secureContext: trust }),
    ALPNProtocols: ['http/1.1'],
    rejectUnauthorized: true,
  })
}

function connectHead(
  { authorization }: ProxyAddress,
  { host, port }: { readonly host: string; readonly port: number },
): string {
  const target = `${net.isIP(host) === 6 ? `[${host}]` : host}:${port}`
  const credentials = authorization ? `proxy-authorization: ${authorization.reveal()}\r\n` : ''
  return `CONNECT ${target} HTTP/1.1\r\nhost: ${target}\r\n${credentials}\r\n`
}
