// The upstream of streams, a process of its own. Prints its port. What a request wants is in its
// body, as what somebody says to the model, for not every gate passes a query on: `?mode=…&dialect=…
// &events=…`. A request that wants nothing gets a short answer in JSON.
//
//   paced   all events, 50 a second, once `go` is on stdin
//   finite  all events at once
//   first   one event at once, the end 2 ms later: for the time to the first byte
//   idle    one event, then silence

import type { Socket } from 'bun'
import { after, before, chunk, type Dialect, DIALECTS, event } from './sse-events.ts'
import { STREAM_END, STREAM_HEAD } from './sse-events.ts'

const EVENTS_A_SECOND = 50
/** Events are spread over the period, as those of strangers are, and not sent in one burst. */
const TICK_MS = 1
const END_DELAY_MS = 2

interface Stream {
  /** Of a request, until it is whole. */
  text: string
  /** What the kernel would not take yet. */
  waiting: Buffer[]
  dialect: Dialect
  events: number
  sent: number
}

const prepared = new Map<Dialect, Buffer[]>()
function chunkOf(dialect: Dialect, number: number): Buffer {
  const all = prepared.get(dialect) ?? []
  prepared.set(dialect, all)
  return (all[number] ??= chunk(event(dialect, number)))
}

function send(socket: Socket<Stream>, bytes: Buffer): void {
  const { waiting } = socket.data
  if (waiting.length > 0) {
    waiting.push(bytes)
    return
  }
  const written = Math.max(0, socket.write(bytes))
  if (written < bytes.byteLength) waiting.push(bytes.subarray(written))
}

function flush(socket: Socket<Stream>): void {
  const { waiting } = socket.data
  for (let first = waiting.shift(); first; first = waiting.shift()) {
    const written = Math.max(0, socket.write(first))
    if (written === first.byteLength) continue
    waiting.unshift(first.subarray(written))
    return
  }
}

const start = (dialect: Dialect, ...events: readonly Buffer[]): Buffer =>
  Buffer.concat([STREAM_HEAD, ...(before(dialect) ? [chunk(before(dialect))] : []), ...events])
const finish = (dialect: Dialect): Buffer => Buffer.concat([chunk(after(dialect)), STREAM_END])

const JSON_BODY = '{"id":"chatcmpl-1","object":"chat.completion","choices":[]}'
const SHORT = Buffer.from(
  `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${JSON_BODY.length}\r\n\r\n${JSON_BODY}`,
)

const paced: Socket<Stream>[] = []

function answer(socket: Socket<Stream>, query: URLSearchParams): void {
  const { data } = socket
  data.dialect = DIALECTS.find((each) => each === query.get('dialect')) ?? 'openai'
  data.events = Number(query.get('events'))
  data.sent = 0
  const { dialect, events } = data
  switch (query.get('mode')) {
    case 'paced':
      paced.push(socket)
      // Its first event at once: a gate may hold a head back until there is a body.
      data.sent = 1
      return send(socket, start(dialect, chunkOf(dialect, 0)))
    case 'finite': {
      const all = Array.from({ length: events }, (_, number) => chunkOf(dialect, number))
      return send(socket, Buffer.concat([start(dialect, ...all), finish(dialect)]))
    }
    case 'first':
      send(socket, start(dialect, chunkOf(dialect, 0)))
      setTimeout(() => send(socket, finish(dialect)), END_DELAY_MS)
      return
    case 'idle':
      return send(socket, start(dialect, chunkOf(dialect, 0)))
    default:
      return send(socket, SHORT)
  }
}

const LENGTH = /^content-length: *(\d+)\r$/im
const WANTED = /\?(mode=[^"]*)"/
const HEAD_END = '\r\n\r\n'

const server = Bun.listen<Stream>({
  hostname: '127.0.0.1',
  port: 0,
  socket: {
    open(socket) {
      socket.data = { text: '', waiting: [], dialect: 'openai', events: 0, sent: 0 }
      socket.setNoDelay(true)
    },
    data(socket, bytes) {
      const { data } = socket
      data.text += bytes.toString('latin1')
      const head = data.text.indexOf(HEAD_END)
      if (head === -1) return
      const body = head + HEAD_END.length
      const length = LENGTH.exec(data.text.slice(0, head + 1))?.[1]
      if (data.text.length < body + Number(length ?? 0)) return
      const wanted = WANTED.exec(data.text.slice(body))?.[1]
      data.text = ''
      answer(socket, new URLSearchParams(wanted))
    },
    drain: flush,
    error() {},
    close(socket) {
      const place = paced.indexOf(socket)
      if (place !== -1) paced.splice(place, 1)
    },
  },
})

/** From here on all streams that are there go on, each in its own part of the period. */
function go(): void {
  const began = performance.now()
  const streams = paced.splice(0)
  const perMs = (streams.length * EVENTS_A_SECOND) / 1000
  let turn = 0
  let ended = 0
  const timer = setInterval(() => {
    const due = Math.floor((performance.now() - began) * perMs)
    for (; turn < due && ended < streams.length; turn++) {
      const socket = streams[turn % streams.length] as Socket<Stream>
      const { data } = socket
      if (data.sent < data.events) {
        send(socket, chunkOf(data.dialect, data.sent))
        data.sent += 1
      } else if (data.sent === data.events) {
        send(socket, finish(data.dialect))
        data.sent = Infinity
        ended += 1
      }
    }
    if (ended === streams.length) clearInterval(timer)
  }, TICK_MS)
}

console.log(server.port)
for await (const line of console) if (line === 'go') go()
process.exit(0)
