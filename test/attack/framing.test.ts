// Attacks 1, 2, 7, 8, 9 and 14: requests whose end, or whose lines, two parsers could read
// differently. Bun's parser answers nearly all of them itself, with an empty 400 and a closed
// connection, before any code of ours runs; what is asserted is that nothing else happens: no
// 2xx, no second answer, no request at the upstream.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { type Scene, scene } from '../support/gate.ts'
import { errorOf, forget, reachedUpstream } from '../support/sink.ts'
import { dial, exchange, head } from '../support/wire.ts'

let at: Scene
beforeAll(async () => {
  at = await scene()
})
afterAll(() => at.close())
beforeEach(() => forget(at))

const CHAT = 'POST /v1/chat/completions HTTP/1.1'
/** A good request up to its framing. */
const post = (...lines: readonly string[]): string =>
  head(CHAT, 'Host: gate.test', `Authorization: Bearer ${at.token}`, ...lines)
/** What a smuggler wants to be taken for a request of its own. */
const hidden = (): string =>
  head('GET /v1/models?smuggled HTTP/1.1', 'Host: gate.test', `Authorization: Bearer ${at.token}`)
const chunked = (...lines: readonly string[]): string =>
  post('Transfer-Encoding: chunked', ...lines)

/** One answer, a refusal of the runtime's, then the end; and the follow-up is never read. */
async function runtimeRefuses(bytes: string, status = 400): Promise<void> {
  const wire = await dial(at.gate.port)
  wire.write(Buffer.from(bytes + hidden(), 'latin1'))
  const answers = await wire.ended()
  expect(answers.map((answer) => answer.status)).toEqual([status])
  expect(answers[0]?.body).toBe('')
  expect(await reachedUpstream(at)).toEqual([])
}

describe('attack 1: Content-Length and Transfer-Encoding, and headers that look like them', () => {
  const cases: Record<string, () => string> = {
    'Content-Length before Transfer-Encoding': () =>
      chunked('Content-Length: 4').replace(/(Transfer.*)\r\n(Content.*)\r\n/, '$2\r\n$1\r\n'),
    'Transfer-Encoding before Content-Length': () => chunked('Content-Length: 4'),
    'two Transfer-Encoding headers': () => chunked('Transfer-Encoding: chunked'),
    'chunked, then identity': () => chunked('Transfer-Encoding: identity'),
    'a space before the colon': () => post('Transfer-Encoding : chunked'),
    'a tab before the colon': () => post('Transfer-Encoding\t: chunked'),
    'a folded value': () => post('Transfer-Encoding:\r\n chunked'),
    'a line that begins with a space': () => post(' Transfer-Encoding: chunked'),
    'a NUL after the value': () => post('Transfer-Encoding: chunked\0'),
    'HTTP/1.0': () => chunked().replace('HTTP/1.1', 'HTTP/1.0'),
  }
  for (const value of [
    'xchunked',
    'identity',
    'gzip, chunked',
    'chunked, identity',
    'chunked, chunked',
    '"chunked"',
    'chunked;x=y',
    'chun ked',
    '\x0bchunked',
    'chunked\x0b',
    '',
  ]) {
    cases[`Transfer-Encoding: ${JSON.stringify(value)}`] = () => post(`Transfer-Encoding: ${value}`)
  }
  for (const [name, bytes] of Object.entries(cases)) {
    test(`${name} is 400 and the end`, () => runtimeRefuses(`${bytes()}0\r\n\r\n`))
  }

  test('Transfer_Encoding is a header like any other, and goes nowhere', async () => {
    const [answer] = await exchange(
      at.gate.port,
      `${post('Transfer_Encoding: chunked', 'Content-Length: 2')}{}`,
    )
    expect(answer?.status).toBe(200)
    const [seen] = await reachedUpstream(at)
    expect(seen?.body.toString()).toBe('{}')
    expect(Object.keys(seen?.headers ?? {})).not.toContain('transfer_encoding')
  })
})

describe('attack 1: invalid chunks', () => {
  for (const size of ['G', '0x2', '-2', '+2', '2 ;x', '2\t', '2_0', 'f'.repeat(18), '']) {
    test(`the size ${JSON.stringify(size)} is 400 and the end`, () =>
      runtimeRefuses(`${chunked()}${size}\r\n{}\r\n0\r\n\r\n`))
  }
  const cases = {
    'bare line feeds': '2\n{}\n0\n\n',
    'a bare line feed in an extension': '2;a\nb\r\n{}\r\n0\r\n\r\n',
    'a chunk longer than its size': '1\r\n{}\r\n0\r\n\r\n',
    'a chunk with another end': '2\r\n{}XX0\r\n\r\n',
  }
  for (const [name, body] of Object.entries(cases)) {
    test(`${name}: 400 and the end`, () => runtimeRefuses(chunked() + body))
  }

  test('a chunk extension is dropped: only the data goes on', async () => {
    const [answer] = await exchange(at.gate.port, `${chunked()}2;a=b\r\n{}\r\n0\r\n\r\n`)
    expect(answer?.status).toBe(200)
    expect((await reachedUpstream(at)).map(({ body }) => body.toString())).toEqual(['{}'])
  })
})

describe('attack 2: lengths', () => {
  const wrong = ['+3', '0x3', '-3', '3 3', '3,3', '3, 4', '3.0', '1e1', 'a', '', '9'.repeat(23)]
  for (const length of wrong) {
    test(`Content-Length: ${JSON.stringify(length)} is 400 and the end`, () =>
      runtimeRefuses(`${post(`Content-Length: ${length}`)}{}x`))
  }

  test('a length beyond the range of a number is 413 and the end', () =>
    runtimeRefuses(`${post('Content-Length: 9007199254740993')}{}x`, 413))

  test('two that differ are 400 and the end', () =>
    runtimeRefuses(`${post('Content-Length: 2', 'Content-Length: 3')}{}x`))

  test('two that are the same are 400 in our words', async () => {
    const bytes = `${post('Content-Length: 2', 'Content-Length: 2')}{}`
    const [answer] = await exchange(at.gate.port, bytes)
    expect(answer?.status).toBe(400)
    expect(errorOf(answer?.body ?? '')).toMatchObject({ code: 'bad_request' })
    expect(await reachedUpstream(at)).toEqual([])
  })
})

describe('attack 14: lines that are not lines', () => {
  const length = 'Content-Length: 2'
  const cases: Readonly<Record<string, () => string>> = {
    'a bare line feed between headers': () => post('X-A: b\nX-C: d', length),
    'a bare carriage return in a value': () => post('X-A: b\rX-C: d', length),
    'a NUL in a value': () => post('X-A: b\0c', length),
    'a NUL in a name': () => post('X-A\0: b', length),
    'a folded header': () => post('X-A: b\r\n c', length),
    'a space before the colon': () => post('X-A : b', length),
    'a header without a colon': () => post('X-A', length),
    'a header without a name': () => post(': x', length),
  }
  for (const [name, bytes] of Object.entries(cases)) {
    test(`${name} is 400 and the end`, () => runtimeRefuses(`${bytes()}{}`))
  }

  test('bare line feeds throughout are no HTTP/1.1 at all: 505', () =>
    runtimeRefuses(`${post(length).replaceAll('\r\n', '\n')}{}`, 505))

  test('the preface of HTTP/2 is 400 and the end', () =>
    runtimeRefuses('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'))

  test('an encoded line break in the path is one more unknown path', async () => {
    const bytes = head('GET /v1/models%0d%0aX-Evil:%20yes HTTP/1.1', 'Host: gate.test')
    const [answer] = await exchange(at.gate.port, bytes)
    expect(answer?.status).toBe(404)
    expect(await reachedUpstream(at)).toEqual([])
  })
})

describe('attack 7: a body that nobody reads', () => {
  const health = head('GET /health HTTP/1.1', 'Host: gate.test')

  test('behind an early 401 never becomes a request of its own', async () => {
    const body = hidden()
    const unauthorized = head(CHAT, 'Host: gate.test', `Content-Length: ${body.length}`)
    const wire = await dial(at.gate.port)
    wire.write(unauthorized + body)
    expect((await wire.settled(1)).map(({ status }) => status)).toEqual([401])
    // The connection lives, and the next request on it gets the next answer.
    wire.write(health)
    expect((await wire.settled(2)).map(({ status }) => status)).toEqual([401, 200])
    wire.destroy()
    expect(await reachedUpstream(at)).toEqual([])
  })

  test('behind an early 401, in chunks and in pieces, neither', async () => {
    const body = hidden()
    const size = body.length.toString(16)
    const wire = await dial(at.gate.port)
    wire.write(head(CHAT, 'Host: gate.test', 'Transfer-Encoding: chunked'))
    expect((await wire.settled(1)).map(({ status }) => status)).toEqual([401])
    wire.write(`${size}\r\n`)
    wire.write(`${body}\r\n0\r\n\r\n`)
    wire.write(health)
    const answers = await wire.settled(2)
    // The runtime may close instead of reading on; what it must not do is answer what was hidden.
    expect(answers.slice(1).every(({ body: text }) => text.includes('"backend"'))).toBe(true)
    wire.destroy()
    expect(await reachedUpstream(at)).toEqual([])
  })

  test('of a GET is not passed on and hides nothing', async () => {
    const body = hidden()
    const length = `Content-Length: ${body.length}`
    const bytes = hidden()
      .replace('smuggled', 'honest')
      .replace('\r\n\r\n', `\r\n${length}\r\n\r\n`)
    const wire = await dial(at.gate.port)
    wire.write(bytes + body)
    expect((await wire.settled(1)).map(({ status }) => status)).toEqual([200])
    wire.write(health)
    expect((await wire.settled(2))[1]?.body).toContain('"backend"')
    wire.destroy()
    const seen = await reachedUpstream(at)
    expect(seen.map(({ url, body: sent }) => [url, sent.length])).toEqual([
      ['/v1/models?honest', 0],
    ])
  })

  test('of a HEAD hides nothing either', async () => {
    const body = hidden()
    const length = `Content-Length: ${body.length}`
    const wire = await dial(at.gate.port)
    wire.write(head('HEAD /health HTTP/1.1', 'Host: gate.test', 'Connection: close', length) + body)
    await wire.ended()
    expect(wire.received().match(/^HTTP.*/gm)).toHaveLength(1)
    expect(await reachedUpstream(at)).toEqual([])
  })

  // Bun closes a connection with no byte of an answer where a second request comes while the first
  // is still being answered (oven-sh/bun#38128). Neither answer can be taken for the other's.
  test('two requests at once on one connection: no answer is better than a mixed one', async () => {
    at.upstream.respond((request, response) => void response.end(request.url))
    const wire = await dial(at.gate.port)
    const first = hidden().replace('smuggled', 'first')
    wire.write(first + first.replace('first', 'second'))
    const answers = await wire.settled(2)
    wire.destroy()
    const order = ['/v1/models?first', '/v1/models?second']
    expect(answers.map(({ body }) => body)).toEqual(order.slice(0, answers.length))
    await reachedUpstream(at)
  })
})

// Bun knows no request trailers: it hands the body over and then answers 400 where ours would be.
test('attack 8: trailers of a request become no header, and no framing', async () => {
  const trailers = 'Authorization: Bearer evil\r\nContent-Length: 5\r\nX-Tinfoil-Enclave-Url: x'
  const wire = await dial(at.gate.port)
  wire.write(`${chunked()}2\r\n{}\r\n0\r\n${trailers}\r\n\r\n${hidden()}`)
  const answers = await wire.ended()
  expect(answers.every(({ status }) => status === 400)).toBe(true)
  for (const seen of await reachedUpstream(at)) {
    expect(seen.body.toString()).toBe('{}')
    expect(JSON.stringify(seen)).not.toContain('evil')
    expect(seen.trailers).toEqual({})
  }
})

describe('attack 9: too much of it', () => {
  test('a header block beyond 32 KiB is 431 and the end', () =>
    runtimeRefuses(`${post(`X-A: ${'a'.repeat(33_000)}`, 'Content-Length: 2')}{}`, 431))

  test('three hundred headers are 431 and the end', () => {
    const many = Array.from({ length: 300 }, (_, index) => `X-${index}: a`)
    return runtimeRefuses(`${post(...many, 'Content-Length: 2')}{}`, 431)
  })

  test('a URL beyond 8 KiB is 414 and reaches no upstream', async () => {
    const [answer] = await exchange(
      at.gate.port,
      head(`GET /v1/models?${'a'.repeat(8192)} HTTP/1.1`, 'Host: gate.test'),
    )
    expect(answer?.status).toBe(414)
    expect(errorOf(answer?.body ?? '')).toMatchObject({ code: 'uri_too_long' })
    expect(await reachedUpstream(at)).toEqual([])
  })

  // The request line counts into the runtime's 32 KiB.
  test('a URL beyond 32 KiB is 431 and the end', () =>
    runtimeRefuses(head(`GET /v1/models?${'a'.repeat(33_000)} HTTP/1.1`, 'Host: gate.test'), 431))

  // `Expect` is answered by Bun before any handler, so the 100 cannot be kept back; the body that
  // it invites is not read, and the 401 comes without it.
  test('a stranger who expects 100-continue is 401 without having sent the body', async () => {
    const wire = await dial(at.gate.port)
    wire.write(head(CHAT, 'Host: gate.test', 'Content-Length: 2', 'Expect: 100-continue'))
    const answers = await wire.settled(2)
    wire.destroy()
    expect(answers.map(({ status }) => status)).toEqual([100, 401])
    expect(await reachedUpstream(at)).toEqual([])
  })

  test('Expect never goes on', async () => {
    const bytes = `${post('Content-Length: 2', 'Expect: 100-continue')}{}`
    const answers = await exchange(at.gate.port, bytes, 2)
    expect(answers.map(({ status }) => status)).toEqual([100, 200])
    const [seen] = await reachedUpstream(at)
    expect(seen?.headers.expect).toBeUndefined()
  })
})
