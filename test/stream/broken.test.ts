// What a client's connection did not take is known, however small the pieces were that it came in: a
// break waits for it. Bun does not tell of writes up to 16 KB, and 130 KB of them were thrown away.

import net from 'node:net'
import { expect, test } from 'bun:test'
import { type PassageEvents, passage } from '../../src/relay/passage.ts'
import type { Listener } from '../../src/http1/transport.ts'
import { soon } from '../support/patience.ts'
import { type Random, seeded } from '../support/random.ts'

const PIECE = Buffer.alloc(10_008, 0xff)
const MAX_PIECES_A_TURN = 12
/** A turn's last write: nothing says whether it has left. */
const UNKNOWN_BYTES = 16_384

interface Broken {
  /** Handed over when the connection took no more, or at the break where it took it all. */
  readonly handed: number
  readonly isFull: boolean
  /** Of what was handed over, what a client did not get that reads nothing before the end. */
  readonly lost: number
}

/** An answer that breaks after so many bytes, or where the connection takes no more. */
async function breakAfter(bytes: number, chance: Random): Promise<Broken> {
  const ended = Promise.withResolvers<void>()
  const answered = Promise.withResolvers<void>()
  let upstream: Listener | undefined
  const incoming = {
    listen: (to: Listener) => {
      upstream = to
    },
    pause() {},
    resume() {},
  }
  const events: PassageEvents = { onEnd: () => ended.resolve(), onCancel() {} }
  const passing = passage(incoming, events, {}, performance.now())
  const server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    fetch() {
      setImmediate(answered.resolve)
      return new Response(passing.stream())
    },
  })
  const client = net.connect(Number(server.port), '127.0.0.1')
  const closed = new Promise((resolve) => client.once('close', resolve))
  client.pause()
  let read = 0
  client.on('data', (chunk) => {
    // An iterator would take seconds for what is read here in all.
    for (let at = 0; at < chunk.length; at += 1) if (chunk[at] === 0xff) read += 1
  })
  client.write('GET / HTTP/1.1\r\nHost: gate.test\r\n\r\n')
  await soon(answered.promise, 'the request')

  const handOver = (pieces: number): void => {
    for (let piece = 0; piece < pieces; piece++) upstream?.onData(PIECE)
  }
  while (passing.bytes < bytes && !passing.stalled) {
    handOver(1 + chance.int(MAX_PIECES_A_TURN))
    await new Promise(setImmediate)
  }
  const isFull = passing.stalled
  upstream?.onEnd('broken', {})
  if (isFull) client.resume()
  await soon(ended.promise, 'the break')
  await new Promise(setImmediate)
  await server.stop(true)
  client.resume()
  await soon(closed, 'the end')
  return { handed: passing.bytes, isFull, lost: passing.bytes - read }
}

test(
  'a break loses at most the last write on a nearly full connection',
  seeded(async (chance) => {
    let capacity = Number.POSITIVE_INFINITY
    for (let run = 0; run < 40; run++) {
      const { handed, isFull, lost } = await breakAfter(capacity - chance.int(300_000), chance)
      expect(lost).toBeLessThanOrEqual(UNKNOWN_BYTES)
      if (isFull) capacity = handed
    }
  }),
)
