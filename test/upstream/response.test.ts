// What a reader of answers makes of bytes: what RFC 9112 allows, and what an upstream, or whatever
// stands before it, could send so that one answer becomes two, or the next caller's.

import { cpuMs } from '../support/cost.ts'
import { describe, expect, test } from 'bun:test'
import type { AnswerHeaders } from '../../src/http1/fields.ts'
import { ResponseReader } from '../../src/http1/response.ts'
import { type Random, random, seeded } from '../support/random.ts'
import { piecesOf } from './pieces.ts'

interface Told {
  status?: number
  headers?: AnswerHeaders
  body: string
  end?: AnswerHeaders | 'invalid'
  /** When the end was told: that is when the connection is given back. */
  reusable?: boolean | undefined
}

const bytesOf = (text: string): Buffer => Buffer.from(text, 'latin1')

/** Everything that is told, and in which order; `fin`: the connection is closed after the pieces. */
function read(pieces: readonly Uint8Array[], fin = false): Told {
  const told: Told = { body: '' }
  const late = (): void => {
    if (told.end !== undefined) throw new Error('told after the end')
  }
  const reader = new ResponseReader({
    onHead({ status, headers }) {
      late()
      if (told.status !== undefined) throw new Error('two heads')
      told.status = status
      told.headers = headers
    },
    onData(chunk) {
      late()
      if (told.status === undefined || chunk.length === 0) throw new Error('no data to tell of')
      told.body += chunk.toString('latin1')
    },
    onEnd(trailers) {
      late()
      told.end = trailers
      told.reusable = reader.reusable
    },
    onInvalid() {
      late()
      told.end = 'invalid'
      told.reusable = reader.reusable
    },
  })
  // A socket's buffers are never written to again by their reader, and here they can't be.
  for (const piece of pieces) reader.push(Buffer.from(piece))
  if (fin) reader.close()
  return told
}

const whole = (text: string, fin = false): Told => read([bytesOf(text)], fin)

const OK = 'HTTP/1.1 200 OK\r\n'
const CHUNKED = `${OK}transfer-encoding: chunked\r\n\r\n`

interface Fact {
  readonly bytes: string
  readonly status?: number
  readonly body?: string
  readonly trailers?: AnswerHeaders
  readonly reusable?: boolean
  readonly fin?: boolean
}

const FACTS: Readonly<Record<string, Fact>> = {
  'a body of known length': { bytes: `${OK}Content-Length: 5\r\n\r\nhello`, body: 'hello' },
  'a body of no length': { bytes: `${OK}content-length: 0\r\n\r\n` },
  'a body in chunks': { bytes: `${CHUNKED}5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n`, body: 'hello!' },
  'sizes in either case, with zeros': {
    bytes: `${CHUNKED}00A\r\n0123456789\r\n00b\r\n0123456789a\r\n000\r\n\r\n`,
    body: '01234567890123456789a',
  },
  'chunk extensions': { bytes: `${CHUNKED}2;a=b;c="d e"\r\nok\r\n0;x\r\n\r\n`, body: 'ok' },
  'a coding in capitals': {
    bytes: `${OK}Transfer-Encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n`,
    body: 'ok',
  },
  'CRLF in chunks': { bytes: `${CHUNKED}6\r\n\r\n\r\n\r\n\r\n0\r\n\r\n`, body: '\r\n\r\n\r\n' },
  'trailers, which are no headers': {
    bytes: `${CHUNKED}2\r\nok\r\n0\r\nX-Usage: 1\r\nContent-Length: 9\r\n\r\n`,
    body: 'ok',
    trailers: { 'x-usage': '1', 'content-length': '9' },
  },
  'interim answers before it': {
    bytes: `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n${OK}content-length: 2\r\n\r\nok`,
    body: 'ok',
  },
  'no reason': { bytes: 'HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok', body: 'ok' },
  'no headers, to the end of the connection': {
    bytes: `${OK}\r\nok`,
    body: 'ok',
    fin: true,
    reusable: false,
  },
  'HTTP/1.0, to the end of the connection': {
    bytes: 'HTTP/1.0 200 OK\r\n\r\nok',
    body: 'ok',
    fin: true,
    reusable: false,
  },
  'HTTP/1.0 of known length': {
    bytes: 'HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok',
    body: 'ok',
    reusable: false,
  },
  '204 without anything': { bytes: 'HTTP/1.1 204 No Content\r\n\r\n', status: 204 },
  '304 with the length of what it has not': {
    bytes: 'HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n',
    status: 304,
    reusable: false,
  },
  '204 that speaks of chunks': {
    bytes: 'HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n',
    status: 204,
    reusable: false,
  },
  'that the connection closes': {
    bytes: `${OK}connection: x, Close\r\ncontent-length: 2\r\n\r\nok`,
    body: 'ok',
    reusable: false,
  },
  'that it closes, in a second field': {
    bytes: `${OK}connection: x\r\nConnection:\tclose \r\ncontent-length: 2\r\n\r\nok`,
    body: 'ok',
    reusable: false,
  },
}

describe('reads', () => {
  for (const [name, { bytes, status = 200, body = '', trailers = {}, ...rest }] of Object.entries(
    FACTS,
  )) {
    test(name, () => {
      const told = whole(bytes, rest.fin)
      expect(told).toMatchObject({ status, body, reusable: rest.reusable ?? true })
      expect({ ...(told.end as AnswerHeaders) }).toEqual({ ...trailers })
    })
  }

  test('names in lower case, values without blanks around them', () => {
    const { headers } = whole(
      `${OK}X-A: \t b  c\t\r\nX-Empty:\r\nx-a:d\r\ncontent-length: 0\r\n\r\n`,
    )
    expect({ ...headers }).toEqual({ 'x-a': 'b  c, d', 'x-empty': '', 'content-length': '0' })
  })

  test('the first of what can only be one, and the bytes of obs-text', () => {
    const { headers } = whole(
      `${OK}content-type: text/plain\r\ncontent-type: text/html\r\nx: \xa0\xe9\r\ncontent-length: 0\r\n\r\n`,
    )
    expect(headers).toMatchObject({ 'content-type': 'text/plain', x: '\xa0\xe9' })
  })

  test('names that mean something to JavaScript', () => {
    const { headers } = whole(`${OK}__proto__: a\r\nconstructor: b\r\ncontent-length: 0\r\n\r\n`)
    expect(Object.entries(headers ?? {})).toEqual([
      ['__proto__', 'a'],
      ['constructor', 'b'],
      ['content-length', '0'],
    ])
    expect(headers?.['toString']).toBeUndefined()
  })

  test('names of one length are distinguished, however many there are and however often they come', () => {
    const names = Array.from({ length: 40 }, (_, n) => `X-Name-${String.fromCharCode(97 + n / 2)}`)
    names.push('a'.repeat(64), 'b'.repeat(64), 'a'.repeat(65), 'a'.repeat(300))
    const lines = names.map((name, n) => `${n % 2 ? name : name.toUpperCase()}: ${n}\r\n`).join('')
    const expected: Record<string, string> = { 'content-length': '0' }
    names.forEach((name, n) => {
      const key = name.toLowerCase()
      expected[key] = expected[key] === undefined ? `${n}` : `${expected[key]}, ${n}`
    })
    for (let round = 0; round < 3; round++) {
      const { headers } = whole(`${OK}${lines}content-length: 0\r\n\r\n`)
      expect({ ...headers }).toEqual(expected)
    }
  })

  test('how long the connection is kept', () => {
    const kept = (value: string): number | undefined => {
      const reader = new ResponseReader({ onHead() {}, onData() {}, onEnd() {}, onInvalid() {} })
      reader.push(bytesOf(`${OK}keep-alive: ${value}\r\ncontent-length: 0\r\n\r\n`))
      return reader.idleSeconds
    }
    expect(
      ['timeout=5', 'max=9, Timeout=60', 'max=9', 'xtimeout=4', 'timeout=-1'].map(kept),
    ).toEqual([5, 60, undefined, undefined, undefined])
  })
})

const HEADER_ATTACKS: Readonly<Record<string, string>> = {
  'both a length and chunks': 'content-length: 2\r\ntransfer-encoding: chunked',
  'chunks and a length': 'transfer-encoding: chunked\r\nContent-Length: 2',
  'two lengths': 'content-length: 2\r\ncontent-length: 3',
  'the same length twice': 'content-length: 2\r\nContent-Length: 2',
  'a list of lengths': 'content-length: 2, 2',
  'a signed length': 'content-length: +2',
  'a negative length': 'content-length: -2',
  'a hexadecimal length': 'content-length: 0x2',
  'a length with a point': 'content-length: 2.0',
  'an exponent': 'content-length: 2e0',
  'an empty length': 'content-length:',
  'a length beyond counting': 'content-length: 9007199254740993',
  'a length between control characters': 'content-length: \x0b2',
  'a length behind a no-break space': 'content-length: \xa02',
  'a coding twice': 'transfer-encoding: chunked\r\ntransfer-encoding: chunked',
  'a list of codings': 'transfer-encoding: gzip, chunked',
  'chunked before another': 'transfer-encoding: chunked, identity',
  identity: 'transfer-encoding: identity',
  'an unknown coding': 'transfer-encoding: xchunked',
  'a coding with parameters': 'transfer-encoding: chunked;q=1',
  'an empty coding': 'transfer-encoding:',
  'a coding behind a vertical tab': 'transfer-encoding: \x0bchunked',
  'a coding before a form feed': 'transfer-encoding: chunked\x0c',
  'a coding behind a no-break space': 'transfer-encoding: \xa0chunked',
  'a blank before the colon': 'content-length : 2',
  'a tab before the colon': 'transfer-encoding\t: chunked',
  'a blank before the first name': ' x: y\r\ncontent-length: 2',
  'a folded line': 'x: a\r\n b: c\r\ncontent-length: 2',
  'a line folded with a tab': 'x: a\r\n\tb\r\ncontent-length: 2',
  'a line without a colon': 'x\r\ncontent-length: 2',
  'no name': ': x\r\ncontent-length: 2',
  'a name with a slash': 'a/b: x\r\ncontent-length: 2',
  'a name beyond ASCII': 'a\xe9: x\r\ncontent-length: 2',
  'a line that ends in LF': 'x: y\ncontent-length: 2',
  'a line that ends in CR': 'x: y\rcontent-length: 2',
  'a line that ends in CR CR LF': 'x: y\r\r\ncontent-length: 2',
  'a line that ends in LF CR LF': 'x: y\n\r\ncontent-length: 2',
  NUL: 'x: a\0b\r\ncontent-length: 2',
  DEL: 'x: a\x7fb\r\ncontent-length: 2',
  'an escape': 'x: \x1b[2J\r\ncontent-length: 2',
}

const ATTACKS: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    Object.entries(HEADER_ATTACKS).map(([name, headers]) => [
      name,
      `${OK}${headers}\r\n\r\n2\r\nok\r\n0\r\n\r\n`,
    ]),
  ),
  'another protocol': 'SSH-2.0-x\r\n',
  'another version': 'HTTP/2.0 200 OK\r\n\r\n',
  'a later version': 'HTTP/1.2 200 OK\r\n\r\n',
  'small letters': 'http/1.1 200 OK\r\n\r\n',
  'no status': 'HTTP/1.1 OK\r\n\r\n',
  'a status of four digits': 'HTTP/1.1 2000 OK\r\n\r\n',
  'a status of two digits': 'HTTP/1.1 20 OK\r\n\r\n',
  'a status below 100': 'HTTP/1.1 099 OK\r\n\r\n',
  'two blanks': 'HTTP/1.1  200 OK\r\n\r\n',
  'an empty line first': `\r\n${OK}\r\n`,
  'a control character in the reason': 'HTTP/1.1 200 O\x0bK\r\n\r\n',
  'a CR in the reason': 'HTTP/1.1 200 O\rK\r\n\r\n',
  'lines that end in LF alone': 'HTTP/1.1 200 OK\ncontent-length: 2\n\nok',
  'a protocol that was not asked for': 'HTTP/1.1 101 Switching Protocols\r\n\r\n',
  'interim answers without end': 'HTTP/1.1 100 Continue\r\n\r\n'.repeat(9),
  'a head without end': `${OK}x: ${'y'.repeat(65_536)}`,
  'a head that is too long': `${OK}x: ${'y'.repeat(65_536)}\r\n\r\n`,
  'an empty size': `${CHUNKED}\r\nok`,
  'a signed size': `${CHUNKED}+2\r\nok\r\n0\r\n\r\n`,
  'a negative size': `${CHUNKED}-2\r\nok\r\n0\r\n\r\n`,
  'a size with 0x': `${CHUNKED}0x2\r\nok\r\n0\r\n\r\n`,
  'a blank before a size': `${CHUNKED} 2\r\nok\r\n0\r\n\r\n`,
  'a blank after a size': `${CHUNKED}2 \r\nok\r\n0\r\n\r\n`,
  'a size beyond 32 bits that wraps to 2': `${CHUNKED}1000000000000000002\r\nok\r\n0\r\n\r\n`,
  'a size of zeros without end': `${CHUNKED}${'0'.repeat(13)}2\r\nok\r\n0\r\n\r\n`,
  'a size that ends in LF': `${CHUNKED}2\nok\r\n0\r\n\r\n`,
  'a size that ends in CR': `${CHUNKED}2\rok\r\n0\r\n\r\n`,
  'a size of other digits': `${CHUNKED}g\r\nok\r\n0\r\n\r\n`,
  'an LF in an extension': `${CHUNKED}2;a\n0\r\nok\r\n0\r\n\r\n`,
  'a CR in an extension': `${CHUNKED}2;a\rb\r\nok\r\n0\r\n\r\n`,
  'an extension without end': `${CHUNKED}2;${'a'.repeat(1024)}`,
  'a chunk longer than its size': `${CHUNKED}2\r\noks\r\n0\r\n\r\n`,
  'a chunk that ends in LF': `${CHUNKED}2\r\nok\n0\r\n\r\n`,
  'a trailer that is none': `${CHUNKED}0\r\nx y: z\r\n\r\n`,
  'a trailer with an LF first': `${CHUNKED}0\r\n\nx: z\r\n\r\n`,
  'a trailer with NUL': `${CHUNKED}0\r\nx: \0\r\n\r\n`,
  'trailers without end': `${CHUNKED}0\r\nx: ${'y'.repeat(16_384)}`,
}

describe('takes for no answer', () => {
  for (const [name, bytes] of Object.entries(ATTACKS)) {
    test(name, () => {
      const { end, reusable } = whole(bytes)
      expect(end).toBe('invalid')
      expect(reusable).toBe(false)
    })
  }
})

describe('of an answer that is not over', () => {
  const UNFINISHED = {
    nothing: '',
    'half a head': `${OK}content-le`,
    'a body that is short': `${OK}content-length: 3\r\n\r\nok`,
    'a chunk that is short': `${CHUNKED}3\r\nok`,
    'no last chunk': `${CHUNKED}2\r\nok\r\n`,
    'half a last chunk': `${CHUNKED}2\r\nok\r\n0\r\n`,
    'trailers without their end': `${CHUNKED}2\r\nok\r\n0\r\nx: y\r\n`,
  }
  for (const [name, bytes] of Object.entries(UNFINISHED)) {
    test(`no end is reported: ${name}`, () => {
      expect(whole(bytes, true).end).toBeUndefined()
    })
  }

  test('nothing more is reported after a stop at the head', () => {
    const told: string[] = []
    const reader = new ResponseReader({
      onHead() {
        told.push('head')
        reader.stop()
      },
      onData: () => void told.push('data'),
      onEnd: () => void told.push('end'),
      onInvalid: () => void told.push('invalid'),
    })
    reader.push(bytesOf(`${OK}content-length: 0\r\n\r\n`))
    expect(told).toEqual(['head'])
  })

  test('nothing more is reported after a stop in the middle of a piece', () => {
    const told: string[] = []
    const reader = new ResponseReader({
      onHead: () => void told.push('head'),
      onData() {
        told.push('data')
        reader.stop()
      },
      onEnd: () => void told.push('end'),
      onInvalid: () => void told.push('invalid'),
    })
    reader.push(bytesOf(`${CHUNKED}1\r\na\r\n1\r\nb\r\n0\r\n\r\n`))
    reader.push(bytesOf('more'))
    reader.close()
    expect(told).toEqual(['head', 'data'])
    expect(reader.reusable).toBe(false)
  })
})

describe('of a connection that sends more than an answer', () => {
  const OVER = [
    `${OK}content-length: 2\r\n\r\nok`,
    `${OK}content-length: 0\r\n\r\n`,
    `${CHUNKED}2\r\nok\r\n0\r\n\r\n`,
    `${CHUNKED}0\r\nx: y\r\n\r\n`,
    'HTTP/1.1 204 No Content\r\n\r\n',
  ]
  for (const extra of ['x', '\r\n', `${OK}content-length: 4\r\n\r\nevil`]) {
    test(`nothing is carried any more after ${JSON.stringify(extra)}`, () => {
      for (const bytes of OVER) {
        const told = whole(bytes + extra)
        expect(told).toMatchObject({ reusable: false })
        expect(told.end).not.toBe('invalid')
        expect(told.body).toBe(whole(bytes).body)
      }
    })
  }
})

const EVERY = [
  ...Object.values(FACTS),
  ...Object.values(ATTACKS)
    .filter((bytes) => bytes.length < 2000)
    .map((bytes): Fact => ({ bytes })),
]

describe('however it is cut', () => {
  test('in two, at each byte', () => {
    for (const { bytes: text, fin } of EVERY) {
      const bytes = bytesOf(text)
      const expected = read([bytes], fin)
      for (let at = 1; at < bytes.length; at++) {
        expect(relevant(read([bytes.subarray(0, at), bytes.subarray(at)], fin))).toEqual(
          relevant(expected),
        )
      }
    }
  })

  test('byte by byte', () => {
    for (const { bytes: text, fin } of EVERY) {
      const bytes = bytesOf(text)
      const single = Array.from(bytes, (_, at) => bytes.subarray(at, at + 1))
      expect(relevant(read(single, fin))).toEqual(relevant(read([bytes], fin)))
    }
  })

  test('a head of 60 KiB that drips in costs no more than its length', async () => {
    const bytes = bytesOf(`${OK}x: ${'y'.repeat(61_000)}\r\ncontent-length: 2\r\n\r\nok`)
    const single = Array.from(bytes, (_, at) => bytes.subarray(at, at + 1))
    const took: number[] = []
    for (let round = 0; round < 3; round++) {
      took.push(await cpuMs(() => expect(read(single).body).toBe('ok')))
    }
    // Some 20; copied or searched all over with each byte, several hundred.
    expect(Math.min(...took)).toBeLessThan(150)
  })
})

/** What was told before an answer turned out to be none depends on how it came, and that alone. */
function relevant(told: Told): unknown {
  return told.end === 'invalid' ? 'invalid' : { ...told, headers: { ...told.headers } }
}

describe('against a reader that has everything before it', () => {
  test(
    'random answers, whole and damaged',
    seeded((chance) => {
      for (let run = 0; run < 4000; run++) {
        const text = randomAnswer(chance)
        const fin = chance.next() < 0.5
        const bytes = bytesOf(text)
        const told = read(piecesOf(bytes, chance), fin)
        const expected = reference(text, fin)
        // A head that can't become one any more may be refused before it is whole.
        if (expected === 'no head') expect(told.status).toBeUndefined()
        // More than the answer came, and with which of its pieces is chance.
        else if (expected !== 'invalid' && expected.reusable === undefined && expected.end) {
          expect(relevant({ ...told, reusable: undefined })).toEqual(expected)
        } else expect(relevant(told)).toEqual(expected)
      }
    }),
  )

  test('the reference itself reads, and refuses', () => {
    const chance = random(1)
    const ends = new Map<string, number>()
    for (let run = 0; run < 2000; run++) {
      const found = reference(randomAnswer(chance), true)
      const kind = typeof found === 'string' ? found : found.end ? 'ended' : 'unfinished'
      ends.set(kind, (ends.get(kind) ?? 0) + 1)
    }
    for (const kind of ['invalid', 'no head', 'ended', 'unfinished']) {
      expect(ends.get(kind) ?? 0).toBeGreaterThan(25)
    }
  })
})

const DAMAGE = ['\r', '\n', '\0', ' ', '\t', ':', ';', ',', '0', '1', 'f', 'x', '\x0b', '-', '\xa0']
const FIELDS = [
  'x-a: b',
  'X-A:c',
  'content-type: a/b',
  'Content-Type: c/d',
  'connection: close',
  'e:',
]

function randomAnswer(chance: Random): string {
  const fields = Array.from({ length: chance.int(4) }, () => chance.pick(FIELDS))
  const body = Array.from({ length: chance.int(40) }, () =>
    chance.pick([...DAMAGE, 'a', 'b']),
  ).join('')
  const framing = chance.int(5)
  let rest = body
  if (framing < 2) {
    fields.push(`content-length: ${body.length + (chance.int(8) === 0 ? chance.int(3) : 0)}`)
  } else if (framing < 4) {
    fields.push('Transfer-Encoding: chunked')
    rest = ''
    for (let at = 0; at < body.length;) {
      const size = 1 + chance.int(Math.min(20, body.length - at))
      rest += `${size.toString(16)}${chance.pick(['', ';a', ';a="b"'])}\r\n${body.slice(at, at + size)}\r\n`
      at += size
    }
    rest += `0\r\n${chance.pick(['', 'x-t: 1\r\n', 'x-t: 1\r\ny: 2\r\n'])}\r\n`
  }
  const status = chance.pick(['200 OK', '200', '404 Not Found', '204 No Content', '304 X', '500 '])
  const version = chance.int(6) === 0 ? '1.0' : '1.1'
  const interim = chance.int(6) === 0 ? 'HTTP/1.1 100 Continue\r\n\r\n' : ''
  const lines = [`HTTP/${version} ${status}`, ...fields]
  let text = `${interim}${lines.join('\r\n')}\r\n\r\n${rest}`
  for (let count = chance.int(3); count > 0; count--) {
    const at = chance.int(text.length)
    const cut = chance.int(2)
    text = text.slice(0, at) + chance.pick([...DAMAGE, '']) + text.slice(at + cut)
  }
  return chance.int(10) === 0 ? text.slice(0, chance.int(text.length)) : text
}

const INVALID = Symbol('invalid')
const SHORT = Symbol('short')

type Read = Told | 'invalid' | 'no head'

/** RFC 9112 on all the bytes at once, in the order of its text; says what `relevant` says. */
function reference(text: string, fin: boolean): Read {
  try {
    return referenceRead(text, fin)
  } catch (thrown) {
    if (thrown === INVALID) return 'invalid'
    throw thrown
  }
}

function referenceRead(text: string, fin: boolean): Read {
  let rest = text
  let lines: string[]
  do {
    const parts = rest.split('\r\n\r\n')
    if (parts.length < 2) return 'no head'
    lines = (parts[0] ?? '').split('\r\n')
    rest = rest.slice((parts[0] ?? '').length + 4)
    if (!/^HTTP\/1\.[01] [1-9]\d\d( [\t\x20-\x7e\x80-\xff]*)?$/.test(lines[0] ?? '')) throw INVALID
    if (lines[0]?.startsWith('101', 9)) throw INVALID
    if (lines[0]?.[9] === '1') referenceFields(lines.slice(1))
  } while (lines[0]?.[9] === '1')
  const status = Number(lines[0]?.slice(9, 12))
  const headers = referenceFields(lines.slice(1))
  const { 'transfer-encoding': coding, 'content-length': length } = headers
  const closing = (headers['connection'] ?? '')
    .split(',')
    .some((each) => /^[ \t]*close[ \t]*$/i.test(each))
  const reusable = lines[0]?.[7] === '1' && !closing
  const told = (body: string, end?: AnswerHeaders, may = false): Told => ({
    status,
    headers,
    body,
    ...(end && { end, reusable: may && reusable }),
  })
  const over = (answer: Told, left: string): Told =>
    left === '' ? answer : { ...answer, reusable: undefined }
  if (coding !== undefined && length !== undefined) throw INVALID
  if (status === 204 || status === 304) {
    return over(told('', {}, coding === undefined && (length ?? '0') === '0'), rest)
  }
  if (coding !== undefined) {
    if (coding.toLowerCase() !== 'chunked') throw INVALID
    let body = ''
    try {
      for (;;) {
        const line = /^([^\r]*)\r\n/.exec(rest)?.[1]
        if (line === undefined) throw unfinishedLine(rest)
        const size = /^([0-9a-f]{1,12})(?:;[\t\x20-\xff]*)?$/i.exec(line)?.[1]
        if (size === undefined) throw INVALID
        rest = rest.slice(line.length + 2)
        const bytes = Number.parseInt(size, 16)
        if (bytes === 0) break
        body += rest.slice(0, bytes)
        const after = rest.slice(bytes, bytes + 2)
        if (after.length === 2 && after !== '\r\n') throw INVALID
        if (after.length < 2) throw SHORT
        rest = rest.slice(bytes + 2)
      }
      if (rest.startsWith('\r\n')) return over(told(body, {}, true), rest.slice(2))
      const end = rest.indexOf('\r\n\r\n')
      if (end === -1) throw SHORT
      return over(
        told(body, referenceFields(rest.slice(0, end).split('\r\n')), true),
        rest.slice(end + 4),
      )
    } catch (thrown) {
      if (thrown === SHORT) return told(body)
      throw thrown
    }
  }
  if (length === undefined) return fin ? told(rest, {}) : told(rest)
  if (!/^\d{1,15}$/.test(length)) throw INVALID
  const body = rest.slice(0, Number(length))
  return rest.length < Number(length)
    ? told(body)
    : over(told(body, {}, true), rest.slice(body.length))
}

/** No CR LF is there: is it one that might still come, or none? */
function unfinishedLine(rest: string): symbol {
  return /\r\n/.test(rest) ? INVALID : SHORT
}

function referenceFields(lines: readonly string[]): Record<string, string> {
  const found: Record<string, string> = {}
  for (const line of lines) {
    const match = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t\x20-\x7e\x80-\xff]*)$/.exec(line)
    if (!match) throw INVALID
    const name = (match[1] ?? '').toLowerCase()
    const value = (match[2] ?? '').replace(/^[ \t]+|[ \t]+$/g, '')
    const before = found[name]
    if (before === undefined) found[name] = value
    else if (name !== 'content-type') found[name] = `${before}, ${value}`
  }
  return found
}
