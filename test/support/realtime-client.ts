// A client of the realtime API that keeps what it gets.

import { soon } from './patience.ts'

export interface RealtimeClient {
  readonly socket: WebSocket
  readonly messages: (string | Buffer)[]
  readonly pings: string[]
  readonly pongs: string[]
  readonly closed: Promise<readonly [code: number, reason: string]>
  /** The next message, in order; rejects if the connection closes first. */
  next(): Promise<string | Buffer>
  /** The next that is an event of this type. */
  event(type: string): Promise<Record<string, never>>
}

interface ClientOptions {
  readonly headers?: Readonly<Record<string, string>>
  readonly protocols?: readonly string[]
}

/** Resolves when it is open. */
export async function openRealtime(url: string, options: ClientOptions): Promise<RealtimeClient> {
  const socket = new WebSocket(url.replace(/^http/, 'ws'), options as never)
  const messages: (string | Buffer)[] = []
  const pings: string[] = []
  const pongs: string[] = []
  const waiting: (() => void)[] = []
  let read = 0
  let isClosed = false
  const wake = (): void => {
    for (const each of waiting.splice(0)) each()
  }
  const { promise: closed, resolve } = Promise.withResolvers<readonly [number, string]>()
  socket.addEventListener('message', ({ data }) => {
    messages.push(data as string | Buffer)
    wake()
  })
  socket.addEventListener('close', ({ code, reason }) => {
    isClosed = true
    resolve([code, reason])
    wake()
  })
  socket.addEventListener('ping' as never, ({ data }: { data: Buffer }) => pings.push(String(data)))
  socket.addEventListener('pong' as never, ({ data }: { data: Buffer }) => pongs.push(String(data)))
  const opened = Promise.withResolvers<void>()
  socket.addEventListener('open', () => opened.resolve())
  socket.addEventListener('error', () => opened.reject(new Error('not opened')))
  await soon(opened.promise, 'an open WebSocket')

  const next = async (): Promise<string | Buffer> => {
    while (read >= messages.length) {
      if (isClosed) throw new Error('closed')
      await soon(new Promise<void>((resolve) => waiting.push(resolve)), 'a message')
    }
    const message = messages[read]
    read += 1
    return message ?? ''
  }
  return {
    socket,
    messages,
    pings,
    pongs,
    closed,
    next,
    async event(type) {
      for (;;) {
        const message = await next()
        if (typeof message !== 'string' || !message.startsWith('{')) continue
        const event = JSON.parse(message)
        if (event.type === type) return event
      }
    },
  }
}
