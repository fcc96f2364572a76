// The reader of server-sent events: what the standard says, whatever the chunks are, in bounded
// memory.

import { cpuMs } from '../support/cost.ts'
import { describe, expect, test } from 'bun:test'

import { EventReader, MAX_EVENT_BYTES } from '../../src/upstream/reading/sse.ts'
import { seeded } from '../support/random.ts'
import { piecesOf } from './pieces.ts'

type Seen = readonly [name: string, data: string]
const WANTED = ['a', 'message', 'error']
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)

function read(chunks: Iterable<Uint8Array>, wanted = WANTED, maxEventBytes = MAX_EVENT_BYTES) {
  const events: Seen[] = []
  const lost: string[] = []
  const reader = new EventReader(
    { names: wanted, maxEventBytes },
    {
      onEvent: (name, data) => events.push([name, data]),
      onLost: (name) => lost.push(name),
    },
  )
  for (const chunk of chunks) reader.push(chunk)
  return { events, lost }
}

/** WHATWG HTML §9.2.6, written as it reads, over whole text. */
function byTheStandard(text: string, wanted: readonly string[]): Seen[] {
  const events: Seen[] = []
  const lines = text.replace(/^\ufeff/, '').split(/\r\n|\r|\n/)
  lines.pop()
  let [name, data] = ['', '']
  for (const line of lines) {
    if (line === '') {
      const type = name === '' ? 'message' : name
      if (data !== '' && wanted.includes(type)) events.push([type, data.slice(0, -1)])
      name = ''
      data = ''
      continue
    }
    const [, field, value] = /^([^:]*)(?:: ?([^]*))?$/.exec(line) ?? []
    if (field === 'event') name = value ?? ''
    if (field === 'data') data += `${value ?? ''}\n`
  }
  return events
}

describe('follows the standard', () => {
  const cases: [name: string, stream: string, events: Seen[]][] = [
    ['one event', 'event: a\ndata: 1\n\n', [['a', '1']]],
    ['CRLF', 'event: a\r\ndata: 1\r\n\r\n', [['a', '1']]],
    ['CR alone', 'event: a\rdata: 1\r\r', [['a', '1']]],
    [
      'all three mixed',
      'event: a\rdata: 1\n\r\nevent: a\r\ndata: 2\r\r',
      [
        ['a', '1'],
        ['a', '2'],
      ],
    ],
    ['several lines of data', 'event: a\ndata: 1\ndata\ndata:2\n\n', [['a', '1\n\n2']]],
    ['one space after the colon goes', 'event:a\ndata:  1\n\n', [['a', ' 1']]],
    [
      'comments and unknown fields',
      ':x\n\nevent: a\n: y\nid: 7\ndata: 1\nretry: 9\n\n',
      [['a', '1']],
    ],
    ['a byte order mark in front', '\ufeffevent: a\ndata: 1\n\n', [['a', '1']]],
    [
      'a second byte order mark is part of a field',
      '\ufeff\ufeffevent: a\ndata: 1\n\n',
      [['message', '1']],
    ],
    ['a byte order mark in data stays', 'event: a\ndata: \ufeff1\n\n', [['a', '\ufeff1']]],
    ['data before the name', 'data: 1\nevent: a\n\n', [['a', '1']]],
    ['the last name counts', 'event: x\nevent: a\ndata: 1\n\n', [['a', '1']]],
    ['no name is "message"', 'data: 1\n\n', [['message', '1']]],
    ['an empty name is "message"', 'event: a\nevent:\ndata: 1\n\n', [['message', '1']]],
    [
      'a name does not outlive its event',
      'event: a\ndata: 1\n\ndata: 2\n\n',
      [
        ['a', '1'],
        ['message', '2'],
      ],
    ],
    ['no data, no event', 'event: a\n\nevent: a\ndata\n\n', [['a', '']]],
    [
      'fields that begin like ours',
      'event: a\ndatabase: 2\neventful: b\ndat: 3\ndata: 1\n\n',
      [['a', '1']],
    ],
    ['no blank line, no event', 'event: a\ndata: 1\n', []],
    ['names that begin like ours', 'event: aa\ndata: 1\n\nevent:  a\ndata: 2\n\n', []],
    ['text of several bytes', 'event: a\ndata: é日🐤\n\n', [['a', 'é日🐤']]],
  ]
  for (const [name, stream, expected] of cases) {
    test(name, () => {
      const bytes = bytesOf(stream)
      expect(byTheStandard(stream, WANTED)).toEqual(expected)
      expect(read([bytes]).events).toEqual(expected)
      for (let at = 0; at <= bytes.length; at += 1) {
        const halves = [bytes.subarray(0, at), new Uint8Array(0), bytes.subarray(at)]
        expect(read(halves)).toEqual({ events: expected, lost: [] })
      }
      const single = Array.from(bytes, (byte) => Uint8Array.of(byte))
      expect(read(single).events).toEqual(expected)
    })
  }

  test(
    `any stream in any chunks reads the same`,
    seeded((random) => {
      const words = [
        'event: a',
        'event: b',
        'event:',
        'event',
        'data: x',
        'data:é🐤',
        'data',
        ': c',
      ]
      words.push('data: {"type":"a"}', 'event: message', 'event: error', 'id: 1', '', '', '', 'dat')
      for (let round = 0; round < 2000; round += 1) {
        let stream = random.next() < 0.2 ? '\ufeff' : ''
        const lines = random.int(20)
        for (let i = 0; i < lines; i += 1) {
          stream += words[random.int(words.length)]
          stream += ['\n', '\r\n', '\r'][random.int(3)]
        }
        const { events, lost } = read(piecesOf(bytesOf(stream), random))
        const expected = byTheStandard(stream, WANTED)
        if (lost.length === 0) {
          expect([stream, events]).toEqual([stream, expected])
          continue
        }
        // Two names in one event, the first unwanted: its data may be gone, and then that is said.
        expect(events.length + lost.length).toBeGreaterThanOrEqual(expected.length)
        let at = -1
        for (const seen of events) {
          at = expected.findIndex((each, i) => i > at && Bun.deepEquals(each, seen))
          expect(at).not.toBe(-1)
        }
      }
    }),
  )
})

test('part of a byte order mark begins an unknown field', () => {
  for (const mark of [[0xef], [0xef, 0xbb], [0xef, 0xbb, 0xef]]) {
    const bytes = Uint8Array.of(...mark, ...bytesOf('event: a\ndata: 1\n\n'))
    expect(read([bytes]).events).toEqual([['message', '1']])
    const single = Array.from(bytes, (byte) => Uint8Array.of(byte))
    expect(read(single).events).toEqual([['message', '1']])
  }
})

describe('a chunk that could be one unwanted event, between two wanted ones', () => {
  const before = 'event: a\ndata: 1\n\n'
  const after = 'event: a\ndata: 2\n\n'
  const seen = (between: readonly Seen[]): ReturnType<typeof read> => ({
    events: [['a', '1'], ...between, ['a', '2']],
    lost: [],
  })
  for (const [what, chunk, expected] of [
    ['is one', 'event: b\ndata: x\n\n', seen([])],
    ['is wanted', 'event: a\ndata: x\n\n', seen([['a', 'x']])],
    ['has a name that goes on', 'event: aa\ndata: x\n\n', seen([])],
    ['has an empty name', 'event: \ndata: x\n\n', seen([['message', 'x']])],
    ['has no name', 'eventx: b\ndata: x\n\n', seen([['message', 'x']])],
    ['has another field', 'other: b\ndata: x\n\n', seen([['message', 'x']])],
    ['is renamed', 'event: b\nevent: a\n\n', seen([])],
    ['is renamed and has data', 'event: b\nevent: a\ndata: x\n\n', seen([['a', 'x']])],
    ['is two', 'event: b\n\nevent: a\ndata: x\n\n', seen([['a', 'x']])],
    ['is two by CR', 'event: b\r\revent: a\ndata: x\n\n', seen([['a', 'x']])],
    ['is two by CR in data', 'event: b\ndata: x\r\rdata: y\n\n', seen([['message', 'y']])],
    ['ends late', 'event: b\n\n\n', seen([])],
  ] as const) {
    test(what, () => {
      expect(read([before, chunk, after].map(bytesOf))).toEqual(expected)
    })
  }

  test('follows a line that has not ended', () => {
    const chunks = [before, 'event: a\ndata: 1', 'event: b\ndata: 2\n\n', after]
    expect(read(chunks.map(bytesOf))).toEqual(seen([['a', '1event: b\n2']]))
  })

  test('follows an event that has not ended', () => {
    const chunks = [before, 'event: a\ndata: 1\n', 'event: b\ndata: 2\n\n', after]
    expect(read(chunks.map(bytesOf))).toEqual(seen([]))
  })
})

test('an event that is renamed to a wanted one after its data was let go is reported as lost', () => {
  for (const size of [1, 3, 100]) {
    const bytes = bytesOf('event: x\ndata: 1\nevent: a\ndata: 2\n\n')
    const chunks: Uint8Array[] = []
    for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.subarray(at, at + size))
    expect(read(chunks)).toEqual({ events: [], lost: ['a'] })
  }
})

test('keeps nothing of a chunk: it can be overwritten as soon as push returns', () => {
  const bytes = bytesOf('event: a\ndata: first\ndata: second\n\n')
  for (let size = 1; size < bytes.length; size += 1) {
    const chunks = (function* () {
      const chunk = new Uint8Array(size)
      for (let at = 0; at < bytes.length; at += size) {
        const piece = bytes.subarray(at, at + size)
        chunk.set(piece)
        yield chunk.subarray(0, piece.length)
        chunk.fill(0x0a)
      }
    })()
    expect(read(chunks).events).toEqual([['a', 'first\nsecond']])
  }
})

describe('in bounded memory', () => {
  const after = 'event: a\ndata: after\n\n'

  test('a line up to the bound is read, and one byte more is lost, in any chunks', () => {
    for (const size of [1, 7, 1000]) {
      for (const [line, fits] of [
        [`data: ${'x'.repeat(94)}`, true],
        [`data: ${'x'.repeat(95)}`, false],
      ] as const) {
        const bytes = bytesOf(`event: a\n${line}\n\n${after}`)
        const chunks: Uint8Array[] = []
        for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.subarray(at, at + size))
        const { events, lost } = read(chunks, WANTED, 100)
        expect(events.map(([, data]) => data.length)).toEqual(fits ? [94, 5] : [5])
        expect(lost).toEqual(fits ? [] : ['a'])
      }
    }
  })

  test('many lines of data count together', () => {
    const bytes = bytesOf(`event: a\n${'data: 0123456789\n'.repeat(20)}\n${after}`)
    expect(read([bytes], WANTED, 100)).toEqual({ events: [['a', 'after']], lost: ['a'] })
  })

  const hostile: [name: string, start: string, lost: string[]][] = [
    ['data of a wanted event', 'event: a\ndata: ', ['a']],
    ['data of an unwanted event', 'event: b\ndata: ', []],
    ['data without a name', 'data: ', ['message']],
    ['a name', 'event: ', ['message']],
    ['a comment', ': ', []],
    ['an unknown field', 'x', []],
  ]
  for (const [name, start, lost] of hostile) {
    test(`50 MB without a line break: ${name}`, () => {
      const filler = new Uint8Array(65_536).fill(0x78)
      Bun.gc(true)
      const before = process.memoryUsage().rss
      const chunks = (function* () {
        yield bytesOf(start)
        for (let i = 0; i < 800; i += 1) yield filler
        yield bytesOf(`\n\n${after}`)
      })()
      expect(read(chunks)).toEqual({ events: [['a', 'after']], lost })
      expect(process.memoryUsage().rss - before).toBeLessThan(16 * 1024 * 1024)
    })
  }

  test('a million tiny events, and a megabyte of line ends, take no more than their bytes do', async () => {
    const tiny = bytesOf('event:a\ndata:1\n\nevent:b\ndata:1\n\n'.repeat(1000))
    let count = 0
    const reader = new EventReader(
      { names: WANTED },
      { onEvent: () => (count += 1), onLost: () => {} },
    )
    const took = await cpuMs(() => {
      for (let i = 0; i < 500; i += 1) reader.push(tiny)
      for (const end of [0x0a, 0x0d]) reader.push(new Uint8Array(1_000_000).fill(end))
    })
    expect(count).toBe(500_000)
    expect(took).toBeLessThan(3000)
  })
})

describe('events that are only counted', () => {
  const MARK = 'signature_delta'
  const delta = (json: string, end = '\n'): string =>
    `event: content_block_delta${end}data: ${json}${end}${end}`
  const long = `{"delta":{"type":"${MARK}","signature":"${'x'.repeat(300)}"}}`
  const unmarked = `{"delta":{"type":"text_delta","text":"${'y'.repeat(300)} ${MARK}"}}`
  const events = [
    delta('{"text":"a"}'),
    'event: ping\ndata: {}\n\n',
    delta(long),
    delta(unmarked, '\r\n'),
    'event: content_block_stop\ndata: {"type":"content_block_stop"}\n\n',
    delta(''),
  ]
  const expected = [
    ['data: {"text":"a"}'.length, false],
    [`data: ${long}`.length, true],
    [`data: ${unmarked}`.length, false],
    ['data: '.length, false],
  ]

  test(
    'are reported with their bytes and their mark, in any chunks',
    seeded((random) => {
      const bytes = new TextEncoder().encode(events.join(''))
      const alone = events.map((each) => new TextEncoder().encode(each))
      const single = Array.from(bytes, (byte) => Uint8Array.of(byte))
      const chunkings = Array.from({ length: 300 }, () => piecesOf(bytes, random))
      for (const pieces of [[bytes], alone, single, ...chunkings]) {
        const told: unknown[] = []
        const reader = new EventReader(
          { names: ['message_stop'], mark: MARK },
          {
            onDelta: (dataBytes, marked) => told.push([dataBytes, marked]),
            onEvent: () => {},
            onLost: () => {},
          },
        )
        for (const piece of pieces) reader.push(piece)
        expect(told).toEqual(expected)
      }
    }),
  )
})
