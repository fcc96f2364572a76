// A client that is a bare socket: it sends exactly the bytes it is given, and keeps exactly those
// that come back. Honest clients cannot say what the attacks say.

import net from 'node:net'
import { until } from './binary.ts'

export interface WireAnswer {
  readonly status: number
  /** As they came: name and value, in order, the names in lower case. */
  readonly headers: readonly (readonly [name: string, value: string])[]
  readonly body: string
  header(name: string): string | undefined
}

export interface Wire {
  readonly socket: net.Socket
  write(bytes: string | Uint8Array): void
  /** Everything received so far, byte for byte in latin1. */
  received(): string
  /** The complete answers so far. */
  answers(): WireAnswer[]
  closed(): boolean
  /** Waits for that many answers, or for the connection's end. */
  settled(count?: number): Promise<WireAnswer[]>
  /** Waits until the other side has closed. */
  ended(): Promise<WireAnswer[]>
  destroy(): void
}

export async function dial(port: number, host = '127.0.0.1'): Promise<Wire> {
  const chunks: Buffer[] = []
  let over = false
  const socket = net.connect({ host, port })
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  socket.on('error', () => {})
  socket.on('close', () => {
    over = true
  })
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve)
    socket.once('error', reject)
  })
  const received = (): string => Buffer.concat(chunks).toString('latin1')
  const answers = (): WireAnswer[] => parseAnswers(received())
  return {
    socket,
    write: (bytes) => void socket.write(bytes),
    received,
    answers,
    closed: () => over,
    settled: (count = 1) =>
      until(() => {
        const found = answers()
        return found.length >= count || over ? found : undefined
      }),
    ended: () => until(() => (over ? answers() : undefined)),
    destroy: () => void socket.destroy(),
  }
}

/** One connection: the bytes, then what came back once it was answered or closed. */
export async function exchange(
  port: number,
  bytes: string | Uint8Array,
  count = 1,
): Promise<WireAnswer[]> {
  const wire = await dial(port)
  try {
    wire.write(bytes)
    return await wire.settled(count)
  } finally {
    wire.destroy()
  }
}

/** Lines joined as HTTP wants them, with the empty line at the end. */
export function head(...lines: readonly string[]): string {
  return `${lines.join('\r\n')}\r\n\r\n`
}

/** As many whole answers as `text` begins with; interim ones (1xx) count, for they were sent. */
export function parseAnswers(text: string): WireAnswer[] {
  const answers: WireAnswer[] = []
  for (let rest = text; rest !== '';) {
    const end = rest.indexOf('\r\n\r\n')
    if (end === -1) return answers
    const [statusLine = '', ...lines] = rest.slice(0, end).split('\r\n')
    const headers = lines.map((line) => {
      const colon = line.indexOf(':')
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const
    })
    const status = Number(statusLine.split(' ')[1])
    const header = (name: string): string | undefined =>
      headers.find(([each]) => each === name)?.[1]
    const body = takeBody(rest.slice(end + 4), status, header)
    if (!body) return answers
    answers.push({ status, headers, header, body: body.text })
    rest = body.rest
  }
  return answers
}

function takeBody(
  text: string,
  status: number,
  header: (name: string) => string | undefined,
): { text: string; rest: string } | undefined {
  if (status < 200 || status === 204 || status === 304) return { text: '', rest: text }
  if (header('transfer-encoding') === 'chunked') return takeChunks(text)
  const length = Number(header('content-length') ?? 0)
  if (text.length < length) return undefined
  return { text: text.slice(0, length), rest: text.slice(length) }
}

function takeChunks(text: string): { text: string; rest: string } | undefined {
  let body = ''
  for (let at = 0; at < text.length;) {
    const line = text.indexOf('\r\n', at)
    if (line === -1) return undefined
    const size = Number.parseInt(text.slice(at, line), 16)
    if (size === 0) {
      return text.startsWith('\r\n', line + 2)
        ? { text: body, rest: text.slice(line + 4) }
        : undefined
    }
    body += text.slice(line + 2, line + 2 + size)
    at = line + 2 + size + 2
  }
  return undefined
}
