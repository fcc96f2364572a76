// The readers of streams, a process of its own; its argument is a Plan as JSON. Every byte of every
// stream is compared with what the upstream must have said. Prints "open" when all streams have
// begun, a Mark for each line on stdin, and at the end a Reading.

import type { Socket } from 'bun'
import { readFileSync } from 'node:fs'
import { type AnswerReader, answerReader } from './answer-reader.ts'
import { before, type Dialect, EVENT_BYTES, wholeBody } from './sse-events.ts'

export interface Plan {
  readonly port: number
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly tokensFile: string
  readonly body: string
  readonly dialect: Dialect
  /** Of each stream. */
  readonly events: number
  readonly streams: number
  /** So many answers on each connection, one after another. */
  readonly turns: number
}

export interface Mark {
  readonly events: number
  /** Times that the kernel had something; fewer than events where a gate sends several at once. */
  readonly reads: number
  readonly cpuUs: number
}

export interface Reading {
  readonly complete: number
  /** Streams with a byte wrong, cut off, or not 200. */
  readonly broken: number
  readonly events: number
  /** All bytes that came, heads and chunk sizes included. */
  readonly wireBytes: number
  readonly seconds: number
  /** To the first byte of a body, and to its end, for each answer where a connection has several. */
  readonly firstByteUs: readonly number[]
  readonly wholeUs: readonly number[]
}

interface Stream {
  reader: AnswerReader
  /** Of the body. */
  at: number
  turns: number
  askedAt: number
  over: boolean
}

const OPENING_AT_ONCE = 64

const plan = JSON.parse(Bun.argv[2] ?? '') as Plan
const expected = wholeBody(plan.dialect, plan.events)
const preambleBytes = Buffer.byteLength(before(plan.dialect))
const tokens = readFileSync(plan.tokensFile, 'utf8').trim().split('\n')

let bodyBytes = 0
let wireBytes = 0
let reads = 0
let begun = 0
let complete = 0
let broken = 0
let opened = 0
const firstByteUs: number[] = []
const wholeUs: number[] = []
const allOver = Promise.withResolvers<void>()
const started = performance.now()

const requestOf = (number: number): string => {
  const headers = {
    Host: 'gate.test',
    Authorization: `Bearer ${tokens[number % tokens.length]}`,
    'Content-Type': 'application/json',
    'Content-Length': String(Buffer.byteLength(plan.body)),
    ...plan.headers,
  }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  return `POST ${plan.path} HTTP/1.1\r\n${lines.join('')}\r\n${plan.body}`
}

function over(socket: Socket<Stream>, well: boolean): void {
  if (socket.data.over) return
  socket.data.over = true
  if (well) complete += 1
  else broken += 1
  socket.end()
  if (complete + broken === plan.streams) allOver.resolve()
}

function ask(socket: Socket<Stream>, number: number): void {
  const request = requestOf(number)
  socket.data.at = 0
  socket.data.askedAt = performance.now()
  if (socket.write(request) !== request.length) throw new Error('a request in two writes')
}

function open(number: number): void {
  opened += 1
  const fresh = (socket: Socket<Stream>): Stream => ({
    at: 0,
    turns: plan.turns,
    askedAt: 0,
    over: false,
    reader: answerReader({
      onHead(status) {
        if (status !== 200) over(socket, false)
      },
      onBody(piece) {
        const { data } = socket
        if (data.at === 0) {
          if (plan.turns > 1) firstByteUs.push((performance.now() - data.askedAt) * 1000)
          if (data.turns === plan.turns) begin()
        }
        const end = data.at + piece.byteLength
        if (!piece.equals(expected.subarray(data.at, end))) over(socket, false)
        data.at = end
        bodyBytes += piece.byteLength
      },
      onEnd() {
        const { data } = socket
        if (data.at !== expected.byteLength) return over(socket, false)
        if (plan.turns > 1) wholeUs.push((performance.now() - data.askedAt) * 1000)
        data.turns -= 1
        if (data.turns === 0) over(socket, true)
        else ask(socket, number)
      },
    }),
  })
  void Bun.connect<Stream>({
    hostname: '127.0.0.1',
    port: plan.port,
    socket: {
      open(socket) {
        socket.data = fresh(socket)
        ask(socket, number)
      },
      data(socket, bytes) {
        wireBytes += bytes.byteLength
        reads += 1
        socket.data.reader.push(bytes)
      },
      close: (socket) => over(socket, false),
      error: (socket) => over(socket, false),
    },
  }).catch((error: unknown) => {
    console.error(String(error))
    process.exit(1)
  })
}

/** Each stream that has begun lets the next one be opened. */
function begin(): void {
  begun += 1
  if (begun === plan.streams) console.log('open')
  if (opened < plan.streams) open(opened)
}

const eventsSoFar = (): number => Math.floor((bodyBytes - begun * preambleBytes) / EVENT_BYTES)

async function mark(): Promise<void> {
  for await (const _ of console) {
    const { user, system } = process.cpuUsage()
    const now: Mark = { events: eventsSoFar(), reads, cpuUs: user + system }
    console.log(JSON.stringify(now))
  }
}

void mark()
for (let number = 0; number < Math.min(OPENING_AT_ONCE, plan.streams); number++) open(number)
await allOver.promise
const answers = complete * plan.turns
const reading: Reading = {
  complete,
  broken,
  events: answers * plan.events,
  wireBytes,
  seconds: (performance.now() - started) / 1000,
  firstByteUs,
  wholeUs,
}
console.log(JSON.stringify(reading))
process.exit(0)
