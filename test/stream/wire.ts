// A client of bytes: writes a request as it stands, takes the answer's framing apart itself, and
// knows how the connection ended. Where a test is about ends, no HTTP library may be in between.

import net, { type Socket } from 'node:net'

export type WireEnd = 'fin' | 'reset'

export interface Wire {
  readonly socket: Socket
  readonly status: number
  readonly headers: ReadonlyMap<string, string>
  /** The body without its framing; empty where `onBody` takes it. */
  body(): Buffer
  readonly bodyBytes: number
  /** Did the answer say that it was whole: a last chunk, or all of its Content-Length? */
  readonly whole: boolean
  readonly head: Promise<void>
  readonly finished: Promise<void>
  /** How the connection ended, once it has. */
  readonly end: Promise<WireEnd>
}

export interface WireRequest {
  readonly token?: string
  readonly method?: 'GET' | 'POST' | 'HEAD'
  readonly path?: string
  readonly headers?: readonly string[]
  /** With its Content-Length, unless `headers` frame it. */
  readonly body?: string | Uint8Array
  readonly onBody?: (bytes: Buffer) => void
  /** For one more request on a connection that is open. */
  readonly socket?: Socket
}

export function wire(port: number, request: WireRequest): Wire {
  const socket = request.socket ?? net.connect({ port, host: '127.0.0.1' })
  const headers = new Map<string, string>()
  const parts: Buffer[] = []
  const head = Promise.withResolvers<void>()
  const finished = Promise.withResolvers<void>()
  const ended = Promise.withResolvers<WireEnd>()
  let status = 0
  let bodyBytes = 0
  let whole = false
  let pending = Buffer.alloc(0)
  let decode: (bytes: Buffer) => void = readHead

  const take = (bytes: Buffer): void => {
    bodyBytes += bytes.byteLength
    if (request.onBody) request.onBody(bytes)
    else parts.push(bytes)
  }
  const finish = (): void => {
    whole = true
    decode = () => {}
    finished.resolve()
  }

  function readHead(bytes: Buffer): void {
    pending = Buffer.concat([pending, bytes])
    const end = pending.indexOf('\r\n\r\n')
    if (end === -1) return
    const [first = '', ...lines] = pending.toString('latin1', 0, end).split('\r\n')
    status = Number(first.split(' ')[1])
    for (const line of lines) {
      const colon = line.indexOf(':')
      headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim())
    }
    const rest = pending.subarray(end + 4)
    pending = Buffer.alloc(0)
    const length = headers.get('content-length')
    const bodyless = request.method === 'HEAD' || status === 204 || status === 304
    head.resolve()
    if (bodyless || length === '0') return finish()
    if (headers.get('transfer-encoding') === 'chunked') decode = chunks()
    else if (length === undefined) decode = take
    else decode = counted(Number(length))
    if (rest.byteLength > 0) decode(rest)
  }
  const counted = (length: number) => (bytes: Buffer) => {
    take(bytes)
    if (bodyBytes >= length) finish()
  }
  /** RFC 9112 §7.1, without extensions and trailers. */
  const chunks = (): ((bytes: Buffer) => void) => {
    let line = ''
    let left = 0
    return (bytes) => {
      let at = 0
      while (at < bytes.byteLength) {
        if (left > 2) {
          const until = Math.min(bytes.byteLength, at + left - 2)
          take(bytes.subarray(at, until))
          left -= until - at
          at = until
        } else if (left > 0) {
          left -= 1
          at += 1
        } else {
          const lf = bytes.indexOf(10, at)
          line += bytes.toString('latin1', at, lf === -1 ? undefined : lf + 1)
          at = lf === -1 ? bytes.byteLength : lf + 1
          if (lf === -1) return
          const size = Number.parseInt(line, 16)
          line = ''
          if (size === 0) return finish()
          left = size + 2
        }
      }
    }
  }

  // One set of listeners for each request that the connection carries.
  socket.setMaxListeners(0)
  socket.on('data', (bytes: Buffer) => decode(bytes))
  socket.once('end', () => ended.resolve('fin'))
  socket.on('error', () => ended.resolve('reset'))
  socket.once('close', (failed) => {
    ended.resolve(failed ? 'reset' : 'fin')
    head.resolve()
    finished.resolve()
  })
  socket.write(requestHead(request))
  if (request.body !== undefined) socket.write(request.body)

  return {
    socket,
    headers,
    body: () => Buffer.concat(parts),
    head: head.promise,
    finished: finished.promise,
    end: ended.promise,
    get status() {
      return status
    },
    get bodyBytes() {
      return bodyBytes
    },
    get whole() {
      return whole
    },
  }
}

function requestHead({ token, method, path, headers = [], body }: WireRequest): string {
  const framed = headers.some((each) => /^(?:content-length|transfer-encoding):/i.test(each))
  const lines = [
    `${method ?? (body === undefined && !framed ? 'GET' : 'POST')} ${path ?? '/v1/models'} HTTP/1.1`,
    'Host: gate.test',
    ...(token === undefined ? [] : [`Authorization: Bearer ${token}`]),
    ...(body === undefined || framed ? [] : [`Content-Length: ${Buffer.byteLength(body)}`]),
    ...headers,
  ]
  return `${lines.join('\r\n')}\r\n\r\n`
}

/** Fails where `promise` takes longer. */
export async function within<T>(promise: Promise<T>, ms: number, what: string): Promise<T> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => late.reject(new Error(`${what}: not within ${ms} ms`)), ms)
  try {
    return await Promise.race([promise, late.promise])
  } finally {
    clearTimeout(timer)
  }
}
