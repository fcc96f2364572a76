// An upstream that does what each request's test says: it answers, refuses, breaks or goes away, at any
// byte. It counts the bodies that reach it whole, and those that began.

import net, { type AddressInfo } from 'node:net'

export interface Taken {
  readonly head: string
  readonly body: string
}

/** What is written, and how it ends; `keep`: the connection stays. */
export interface Said {
  readonly bytes: string
  readonly end: 'keep' | 'fin' | 'reset' | 'hang'
  /** Not before. */
  readonly after?: Promise<void>
}

export interface ScriptedUpstream {
  readonly url: string
  /** Requests whose body came whole, in order. */
  readonly taken: Taken[]
  /** What it says from now on. */
  say(said: Said | ((taken: Taken) => Said)): void
  /** Refuses connections until `up`. */
  down(): Promise<void>
  up(): Promise<void>
}

export const OK = answer(
  200,
  '{"id":"one","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5}}',
)

export function answer(status: number, body: string, headers: readonly string[] = []): Said {
  const lines = [
    `HTTP/1.1 ${status} Said`,
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(body)}`,
    ...headers,
  ]
  return { bytes: `${lines.join('\r\n')}\r\n\r\n${body}`, end: 'keep' }
}

/** A stream of events, broken off or whole. */
export function stream(events: number, id = 's'): Said {
  const chunks = Array.from({ length: events }, (_, at) => {
    const text = `data: {"id":"${id}","choices":[{"delta":{"content":"${at}"}}]}\n\n`
    return `${text.length.toString(16)}\r\n${text}\r\n`
  })
  const head =
    'HTTP/1.1 200 Said\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n'
  return { bytes: `${head}${chunks.join('')}0\r\n\r\n`, end: 'keep' }
}

/** The first `bytes` of it, and then no more. */
export const cutAfter = (bytes: number, { bytes: all }: Said, end: 'fin' | 'reset'): Said => ({
  bytes: all.slice(0, bytes),
  end,
})

export const NOTHING: Said = { bytes: '', end: 'fin' }

export async function scriptedUpstream(): Promise<ScriptedUpstream> {
  let said: Said | ((taken: Taken) => Said) = OK
  const taken: Taken[] = []
  const open = new Set<net.Socket>()
  let port = 0

  const serve = (socket: net.Socket): void => {
    open.add(socket)
    let text = ''
    socket.on('error', () => undefined)
    socket.on('close', () => open.delete(socket))
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
      const head = text.indexOf('\r\n\r\n')
      if (head === -1) return
      const [, length = 0] = /content-length: *(\d+)/i.exec(text.slice(0, head)) ?? []
      const isChunked = /transfer-encoding/i.test(text.slice(0, head))
      const isWhole = isChunked
        ? text.endsWith('0\r\n\r\n')
        : text.length >= head + 4 + Number(length)
      if (!isWhole) return
      const one = { head: text.slice(0, head), body: text.slice(head + 4) }
      text = ''
      taken.push(one)
      const next = typeof said === 'function' ? said(one) : said
      if (next.after) void next.after.then(() => write(socket, next))
      else write(socket, next)
    })
  }

  let server: net.Server | undefined
  const up = async (): Promise<void> => {
    const { promise, resolve } = Promise.withResolvers<void>()
    server = net.createServer(serve).listen(port, '127.0.0.1', resolve)
    await promise
    ;({ port } = server.address() as AddressInfo)
  }
  await up()
  return {
    url: `http://127.0.0.1:${port}`,
    taken,
    say(next) {
      said = next
    },
    async down() {
      if (!server) return
      const { promise, resolve } = Promise.withResolvers<void>()
      server.close(() => resolve())
      server = undefined
      for (const socket of open) socket.destroy()
      await promise
    },
    up,
  }
}

function write(socket: net.Socket, { bytes, end }: Said): void {
  if (end === 'fin') socket.end(bytes)
  else if (end !== 'reset') socket.write(bytes)
  else if (bytes === '') socket.resetAndDestroy()
  else socket.write(bytes, () => setImmediate(() => socket.resetAndDestroy()))
}
