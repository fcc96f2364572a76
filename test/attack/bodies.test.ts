// Attack 9, the bodies: what is too large is refused before it is held, and a stranger's body is
// never held at all.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { type Scene, scene } from '../support/gate.ts'
import { bearer, errorOf, forget, reachedUpstream } from '../support/sink.ts'
import { dial, exchange, head, type Wire } from '../support/wire.ts'

/** Above MAX_HELD_BYTES, so that bodies of both kinds, held and passed on, are within it. */
const MAX = 400_000

let at: Scene
beforeAll(async () => {
  at = await scene({ env: { MAX_REQUEST_BODY_BYTES: String(MAX) } })
})
afterAll(() => at.close())
beforeEach(() => forget(at))

const start = (...lines: readonly string[]): string =>
  head('POST /v1/chat/completions HTTP/1.1', 'Host: gate.test', ...lines)
const authorization = (): string => `Authorization: Bearer ${at.token}`
const chunk = (bytes: number): string => `${bytes.toString(16)}\r\n${'x'.repeat(bytes)}\r\n`
const declared = (bytes: number, body = 'x'.repeat(bytes)): string =>
  start(authorization(), `Content-Length: ${bytes}`) + body
const chunked = (...sizes: readonly number[]): string =>
  `${start(authorization(), 'Transfer-Encoding: chunked')}${sizes.map(chunk).join('')}0\r\n\r\n`

describe('attack 9: the limit of a body', () => {
  for (const bytes of [0, 1, 262_143, 262_144, 262_145, MAX]) {
    test(`${bytes} bytes pass, with their length declared`, async () => {
      const [answer] = await exchange(at.gate.port, declared(bytes))
      expect(answer?.status).toBe(200)
      const [seen] = await reachedUpstream(at)
      expect(seen?.body.length).toBe(bytes)
      expect(seen?.headers['content-length']).toBe(String(bytes))
      expect(seen?.headers['transfer-encoding']).toBeUndefined()
    })
  }

  test('exactly the limit passes in chunks', async () => {
    const [answer] = await exchange(at.gate.port, chunked(MAX - 7, 7))
    expect(answer?.status).toBe(200)
    expect((await reachedUpstream(at))[0]?.body.length).toBe(MAX)
  })

  test('one byte more, declared, is 413 before a byte of it was sent, and no connection', async () => {
    const [answer] = await exchange(at.gate.port, declared(MAX + 1, ''))
    expect(answer?.status).toBe(413)
    expect(errorOf(answer?.body ?? '')).toEqual({
      message: `request body exceeds ${MAX} bytes`,
      type: 'invalid_request_error',
      code: 'request_too_large',
      param: null,
    })
    expect(await reachedUpstream(at)).toEqual([])
  })

  test('one byte more in chunks is 413, and the upstream never gets a whole request', async () => {
    const [answer] = await exchange(at.gate.port, chunked(MAX, 1))
    expect(answer?.status).toBe(413)
    expect(errorOf(answer?.body ?? '')['code']).toBe('request_too_large')
    expect(await reachedUpstream(at)).toEqual([])
  })

  test('a body that ends early is no request', async () => {
    const wire = await dial(at.gate.port)
    wire.write(declared(100, 'half'))
    wire.socket.end()
    await wire.ended()
    expect(wire.answers().every(({ status }) => status >= 400)).toBe(true)
    expect(await reachedUpstream(at)).toEqual([])
  })
})

/** Sends until it is done or the other side has had enough; returns how much went out. */
async function pour(wire: Wire, piece: Buffer, pieces: number): Promise<number> {
  let sent = 0
  for (let count = 0; count < pieces && !wire.closed(); count += 1) {
    sent += piece.length
    if (wire.socket.write(piece)) continue
    await Promise.race([
      new Promise((resolve) => wire.socket.once('drain', resolve)),
      new Promise((resolve) => wire.socket.once('close', resolve)),
    ])
  }
  return sent
}

describe('attack 9: 200 MB from somebody without access', () => {
  const MEGABYTE = 1_048_576
  const PIECES = 200

  const cases: Readonly<Record<string, [string, Buffer, () => string | undefined, number]>> = {
    'a stranger, declared': [
      `Content-Length: ${PIECES * MEGABYTE}`,
      Buffer.alloc(MEGABYTE, 'x'),
      () => undefined,
      401,
    ],
    'a stranger, in chunks': [
      'Transfer-Encoding: chunked',
      Buffer.from(chunk(MEGABYTE)),
      () => undefined,
      401,
    ],
    'somebody known, in chunks': [
      'Transfer-Encoding: chunked',
      Buffer.from(chunk(MEGABYTE)),
      authorization,
      413,
    ],
  }
  for (const [name, [framing, piece, credential, status]] of Object.entries(cases)) {
    test(`${name}: ${status}, and none of it is kept in memory`, async () => {
      const before = at.gate.rssBytes()
      let peak = before
      const watch = setInterval(() => {
        peak = Math.max(peak, at.gate.rssBytes())
      }, 5)
      const wire = await dial(at.gate.port)
      wire.write(start(framing, ...[credential()].filter((line) => line !== undefined)))
      await pour(wire, piece, PIECES)
      const [answer] = await wire.settled()
      wire.destroy()
      clearInterval(watch)
      // A stranger who still sends chunks is cut off; the reset may overtake the answer.
      const mayBeCut = status === 401 && framing.startsWith('Transfer')
      expect(answer?.status).toBeOneOf(mayBeCut ? [status, undefined] : [status])
      expect(peak - before).toBeLessThan(48 * MEGABYTE)
      expect((await fetch(`${at.gate.url}/health`)).status).toBe(200)
      expect(await reachedUpstream(at)).toEqual([])
    })
  }
})

test('attack 9: a body of an unknown route and of a probe is not read either', async () => {
  for (const line of ['POST /v1/unknown HTTP/1.1', 'POST /health HTTP/1.1']) {
    const wire = await dial(at.gate.port)
    wire.write(head(line, 'Host: gate.test', 'Content-Length: 1000000000'))
    expect((await wire.settled())[0]?.status).toBeOneOf([404, 405])
    wire.destroy()
  }
  expect((await fetch(`${at.gate.url}/v1/models`, { headers: bearer(at.token) })).status).toBe(200)
})
