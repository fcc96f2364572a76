// Both upstreams in one, keeping accounts of its own: what it was asked, how much of the request had
// come, what it would bill, and whether it could say all of its answer.

import type { Socket } from 'node:net'
import { type RawRequest, type RawUpstream, rawUpstream } from '../stream/raw-upstream.ts'
import { type Asking, answerOf, askingOf, requestBody, type Used, usedBy } from './shapes.ts'

export interface Counted {
  readonly asking: Asking
  readonly used: Used
  /** Was the request's body, to the byte, the one that was asked with? */
  readonly bodyIsRight: boolean
  /** The other end of its connection. */
  readonly remotePort: number
  /** All of the answer was handed to the kernel. */
  sent: boolean
  /** It is done with this request, one way or the other. */
  over: boolean
}

export interface CountingUpstream {
  readonly url: string
  readonly port: number
  readonly connections: RawUpstream['connections']
  /** By request id; one that came twice is in `doubled` too. */
  readonly counted: Map<string, Counted>
  readonly doubled: string[]
  close(): Promise<void>
}

export interface CountingOptions {
  /** One request on each connection. */
  readonly closing?: boolean
  /** Accounts that outlive a restart. */
  readonly counted?: Map<string, Counted>
  readonly doubled?: string[]
}

export async function countingUpstream({
  closing = false,
  counted = new Map(),
  doubled = [],
}: CountingOptions = {}): Promise<CountingUpstream> {
  const answer = ({ query, body, socket }: RawRequest): void => {
    const asking = askingOf(query)
    const entry: Counted = {
      asking,
      used: usedBy(asking),
      bodyIsRight: body.equals(requestBody(asking)),
      remotePort: socket.remotePort ?? 0,
      sent: false,
      over: false,
    }
    // The gate's own question, whether anybody is there, is nobody's request.
    if (asking.id !== '') {
      if (counted.has(asking.id)) doubled.push(asking.id)
      counted.set(asking.id, entry)
    }
    void send(asking, socket, closing).then((sent) => {
      entry.sent = sent
      entry.over = true
    })
  }
  const raw = await rawUpstream(answer)
  return {
    url: raw.url,
    port: raw.port,
    connections: raw.connections,
    counted,
    doubled,
    close: raw.close,
  }
}

async function send(asking: Asking, socket: Socket, closing: boolean): Promise<boolean> {
  const pieces = answerOf(asking, closing)
  for (const [index, { raw }] of pieces.entries()) {
    if (index > 1 && asking.gapMs > 0) await Bun.sleep(asking.gapMs)
    if (!(await write(socket, raw))) return false
  }
  if (closing) socket.end()
  return true
}

/** False where the connection is gone. */
function write(socket: Socket, bytes: Buffer): Promise<boolean> {
  return new Promise((resolve) => {
    if (socket.destroyed || !socket.writable) return resolve(false)
    const gone = (): void => resolve(false)
    socket.once('close', gone)
    socket.write(bytes, (error) => {
      socket.off('close', gone)
      resolve(!error)
    })
  })
}
