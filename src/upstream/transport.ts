// The one way out: HTTP/1.1 to an upstream through node:http(s). Bun's `fetch` would drop trailers
// (streams carry their usage there), queue silently behind 256 requests in flight, and lose most of
// what it holds when an upstream dies; this client does none of that. It follows no redirect, reads
// no proxy from the environment, and decodes no body.

import http, { type ClientRequest, type IncomingMessage } from 'node:http'
import https from 'node:https'

export interface Timeouts {
  /** Until the connection stands, its TLS included. */
  readonly connectMs: number
  /** From the request's last byte to the answer's headers; also between two bytes of the request. */
  readonly headersMs: number
}

export interface Call {
  readonly method: string
  readonly url: URL
  /** Connect here instead of resolving `url.hostname` again; the certificate is still the name's. */
  readonly address?: string
  readonly headers: Readonly<Record<string, string>>
  /** Held whole, or passed on as it comes; `length` where it is known beforehand. */
  readonly body: Uint8Array | BodyStream | undefined
}

export interface BodyStream {
  readonly chunks: AsyncIterable<Uint8Array>
  readonly length: number | undefined
}

export type FailureKind =
  | 'unreachable'
  | 'connect_timeout'
  | 'headers_timeout'
  | 'body_timeout'
  | 'body_failed'
  | 'cancelled'

/** `reason` is an errno or the like: no address, no URL. `cause` is what the body's source threw. */
export interface Failure {
  readonly ok: false
  readonly kind: FailureKind
  readonly reason: string
  readonly cause?: unknown
}

export interface Answer {
  readonly ok: true
  readonly status: number
  readonly message: IncomingMessage
}

export interface Flight {
  /** Never rejects. */
  readonly head: Promise<Answer | Failure>
  /** Closes the connection, whatever state it is in. */
  cancel(): void
}

export interface Transport {
  send(call: Call, timeouts: Timeouts): Flight
  close(): void
}

/** Shorter than the idle time of the servers that matter, so that few requests meet a closed one. */
const IDLE_CONNECTION_MS = 15_000
const MAX_IDLE_CONNECTIONS = 256

export function transport(): Transport {
  const options = {
    keepAlive: true,
    timeout: IDLE_CONNECTION_MS,
    maxFreeSockets: MAX_IDLE_CONNECTIONS,
    maxSockets: Number.POSITIVE_INFINITY,
    scheduling: 'lifo',
  } as const
  const plain = new http.Agent(options)
  const secure = new https.Agent(options)

  return {
    send(call, timeouts) {
      const { url, address } = call
      const tls = url.protocol === 'https:'
      const request = (tls ? https : http).request({
        agent: tls ? secure : plain,
        method: call.method,
        host: address ?? url.hostname.replace(/^\[|\]$/g, ''),
        port: url.port === '' ? (tls ? 443 : 80) : Number(url.port),
        path: url.pathname + url.search,
        headers: { ...call.headers, host: url.host, ...framing(call.body) },
        ...(tls ? { servername: url.hostname } : {}),
      })
      return fly(request, call.body, timeouts, tls)
    },
    close() {
      plain.destroy()
      secure.destroy()
    },
  }
}

function framing(body: Call['body']): Record<string, string> {
  if (body === undefined) return {}
  const length = body instanceof Uint8Array ? body.byteLength : body.length
  return length === undefined
    ? { 'transfer-encoding': 'chunked' }
    : { 'content-length': String(length) }
}

function fly(
  request: ClientRequest,
  body: Call['body'],
  { connectMs, headersMs }: Timeouts,
  tls: boolean,
): Flight {
  const { promise: head, resolve } = Promise.withResolvers<Answer | Failure>()
  let settled = false
  /** The connection belongs to the next request by then. */
  let over = false
  let timer: NodeJS.Timeout | undefined

  const settle = (outcome: Answer | Failure): void => {
    settled = true
    clearTimeout(timer)
    resolve(outcome)
  }
  const fail = (kind: FailureKind, reason: string, cause?: unknown): void => {
    if (!settled) settle({ ok: false, kind, reason, cause })
    if (!over) request.destroy()
  }
  const wait = (kind: FailureKind, ms: number): void => {
    if (settled) return
    clearTimeout(timer)
    timer = setTimeout(fail, ms, kind, kind)
  }
  const connected = (): void => {
    if (body === undefined || body instanceof Uint8Array) return wait('headers_timeout', headersMs)
    const moved = (): void => wait('body_timeout', headersMs)
    moved()
    pump(body.chunks, request, moved).then(
      () => wait('headers_timeout', headersMs),
      (cause: unknown) => fail('body_failed', 'request body', cause),
    )
  }

  request.once('socket', (socket) => {
    if (!socket.connecting) return connected()
    wait('connect_timeout', connectMs)
    socket.once(tls ? 'secureConnect' : 'connect', connected)
  })
  request.once('response', (message) => {
    // An answer that is over before its question: that connection is of no further use.
    message.once('end', () => {
      if (!request.writableEnded) request.destroy()
      over = true
    })
    settle({ ok: true, status: message.statusCode ?? 0, message })
  })
  // Stays for the whole life: an error after the head is the body's affair, and must not be thrown.
  request.on('error', (error: NodeJS.ErrnoException) => {
    fail('unreachable', error.code ?? 'error')
  })
  request.once('close', () => fail('unreachable', 'closed'))

  if (body === undefined) request.end()
  else if (body instanceof Uint8Array) request.end(body)
  return {
    head,
    cancel: () => fail('cancelled', 'cancelled'),
  }
}

/** Ends early and quietly where the upstream has closed: its answer, or its error, says why. */
async function pump(
  chunks: AsyncIterable<Uint8Array>,
  request: ClientRequest,
  moved: () => void,
): Promise<void> {
  for await (const chunk of chunks) {
    if (request.destroyed) return
    moved()
    if (!request.write(chunk)) await drained(request)
  }
  request.end()
}

function drained(request: ClientRequest): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      request.off('drain', done)
      request.off('close', done)
      resolve()
    }
    request.on('drain', done)
    request.on('close', done)
  })
}
