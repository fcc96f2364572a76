// A connection that asks one thing after another, as fast as a process can: bytes in, a status and
// its time out. Bun's own sockets, so that the one who measures costs little itself.

import type { Socket } from 'bun'

export interface Lane {
  /** One at a time; 0 where the connection is gone. */
  ask(bytes: Uint8Array | string): Promise<number>
  readonly open: boolean
  close(): void
}

export async function lane(port: number): Promise<Lane> {
  let waiting: ((status: number) => void) | undefined
  let text = ''
  let open = true
  let unsent: Buffer | undefined
  const over = (): void => {
    open = false
    waiting?.(0)
    waiting = undefined
  }
  const send = (to: Socket, bytes: Buffer): void => {
    const sent = to.write(bytes)
    unsent = sent < bytes.byteLength ? bytes.subarray(Math.max(0, sent)) : undefined
  }
  const socket: Socket = await Bun.connect({
    hostname: '127.0.0.1',
    port,
    socket: {
      data(_socket, bytes) {
        text += bytes.toString('latin1')
        const end = text.indexOf('\r\n\r\n')
        if (end === -1 || text.length < end + 4 + bodyBytes(text.slice(0, end))) return
        const status = Number(text.slice(9, 12))
        text = ''
        const answer = waiting
        waiting = undefined
        answer?.(status)
      },
      drain(socket) {
        if (unsent) send(socket, unsent)
      },
      close: over,
      error: over,
    },
  })
  return {
    ask(bytes) {
      const { promise, resolve } = Promise.withResolvers<number>()
      waiting = resolve
      if (!open) over()
      else send(socket, Buffer.from(bytes as string))
      return promise
    },
    get open() {
      return open
    },
    close: () => socket.end(),
  }
}

/** Answers without a length have no body here. */
function bodyBytes(head: string): number {
  return Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0)
}
