// 46: who does not read, waits; and the gate holds no more for them than a window's worth, in
// either direction.

import { afterAll, beforeAll, expect, test } from 'bun:test'
import type { Socket } from 'node:net'
import { drained } from '../support/drained.ts'
import { until } from '../support/binary.ts'
import { type Scene, scene } from '../support/gate.ts'
import { rawUpstream, type RawUpstream } from '../stream/raw-upstream.ts'
import { soon } from '../support/patience.ts'
import { type Wire, wire } from '../stream/wire.ts'
import { howMany } from '../support/long.ts'

const BYTES = howMany(100_000_000, 500_000_000)
const MB = 1_048_576
const READERS = howMany(20, 100)
/** What a stream may hold, and what a busy process has grown by anyway. */
const PER_STREAM_BYTES = 8 * MB
const BASE_BYTES = 48 * MB

const block = Buffer.alloc(1_000_000)
for (let at = 0; at < block.byteLength; at++) block[at] = (at * 31 + (at >> 8) * 17) & 255

let at: Scene
let upstream: RawUpstream
let sent = 0
let held: Socket | undefined
beforeAll(async () => {
  upstream = await rawUpstream(
    ({ query, socket }) => {
      const size = Number(query.get('size'))
      if (query.get('how') === 'deaf') {
        held = socket
        return
      }
      socket.resume()
      const head = `Content-Type: audio/mpeg\r\nContent-Length: ${size}\r\nConnection: close`
      socket.write(`HTTP/1.1 200 OK\r\n${head}\r\n\r\n`)
      void pour(socket, size, (bytes) => {
        sent += bytes
      })
    },
    { early: true },
  )
  const env = { TINFOIL_BASE_URL: upstream.url, MAX_REQUEST_BODY_BYTES: '1000000000' }
  at = await scene({ env })
})
afterAll(async () => {
  await at.close()
  await upstream.close()
})

/** Writes as fast as it is taken. */
async function pour(to: Socket, size: number, count: (bytes: number) => void): Promise<void> {
  for (let done = 0; done < size && !to.destroyed; done += block.byteLength) {
    const piece = block.subarray(0, Math.min(block.byteLength, size - done))
    count(piece.byteLength)
    if (!to.write(piece)) await drained(to)
  }
}

/** Until `look` gives the same twice in a row. */
async function settled(look: () => number): Promise<number> {
  for (let tries = 0; tries < 40; tries++) {
    const before = look()
    await Bun.sleep(250)
    if (look() === before) return before
  }
  throw new Error('never came to rest')
}

function ask(size: number, onBody: (bytes: Buffer) => void): Wire {
  const path = `/v1/chat/completions?size=${size}`
  return wire(at.gate.port, { token: at.token, path, body: '{}', onBody })
}

function expectedHash(size: number): string {
  const hasher = new Bun.CryptoHasher('sha256')
  for (let done = 0; done < size; done += block.byteLength) {
    hasher.update(block.subarray(0, Math.min(block.byteLength, size - done)))
  }
  return hasher.digest('hex')
}

test('46: more to a reader that stops than it takes: held, not hoarded, and all there when it goes on', async () => {
  const before = at.gate.rssBytes()
  const hasher = new Bun.CryptoHasher('sha256')
  const one = ask(BYTES, (bytes) => hasher.update(bytes))
  await soon(one.head, 'the head')
  one.socket.pause()
  sent = 0
  const stopped = await settled(() => sent)
  const grown = at.gate.rssBytes() - before
  console.log(`46: upstream stopped ${mb(stopped)} MB on, RSS grew by ${mb(grown)} MB`)
  expect(stopped).toBeLessThan(BYTES / 4)
  expect(grown).toBeLessThan(PER_STREAM_BYTES + BASE_BYTES)

  const started = performance.now()
  one.socket.resume()
  await soon(one.finished, 'the rest')
  const seconds = (performance.now() - started) / 1000
  const peak = at.gate.rssBytes() - before
  console.log(`46: the rest in ${seconds.toFixed(1)} s, RSS then ${mb(peak)} MB more`)
  expect([one.whole, one.bodyBytes]).toEqual([true, BYTES])
  expect(hasher.digest('hex')).toBe(expectedHash(BYTES))
  one.socket.destroy()
})

test(`46: ${READERS} readers that stop`, async () => {
  const before = at.gate.rssBytes()
  sent = 0
  const readers = Array.from({ length: READERS }, () => {
    const one = ask(BYTES, () => {})
    void one.head.then(() => one.socket.pause())
    return one
  })
  await soon(Promise.all(readers.map(({ head }) => head)), 'the heads')
  const stopped = await settled(() => sent)
  const grown = at.gate.rssBytes() - before
  console.log(
    `46: ${READERS} stalled readers: upstream stopped ${mb(stopped / READERS)} MB on each, ` +
      `RSS grew by ${mb(grown)} MB, ${(grown / READERS / MB).toFixed(2)} MB each`,
  )
  expect(grown).toBeLessThan(READERS * (PER_STREAM_BYTES / 2) + BASE_BYTES)
  for (const { socket } of readers) socket.destroy()
})

test('46: more to an upstream that does not read than it takes', async () => {
  const before = at.gate.rssBytes()
  let uploaded = 0
  const one = wire(at.gate.port, {
    token: at.token,
    path: '/v1/chat/completions?how=deaf',
    headers: [`Content-Length: ${BYTES}`],
  })
  void pour(one.socket, BYTES, (bytes) => {
    uploaded += bytes
  })
  await Bun.sleep(300)
  const stopped = await settled(() => uploaded)
  const grown = at.gate.rssBytes() - before
  console.log(`46: client stopped ${mb(stopped)} MB on, RSS grew by ${mb(grown)} MB`)
  expect(stopped).toBeLessThan(BYTES / 4)
  expect(grown).toBeLessThan(PER_STREAM_BYTES + BASE_BYTES)

  // And it goes on when the upstream does.
  held?.resume()
  const mark = uploaded
  await until(() => uploaded > mark)
  one.socket.destroy()
})

const mb = (bytes: number): string => (bytes / MB).toFixed(0)
