// What a server's frames say, however they come in pieces, and which of them no server may send.

import { expect, test } from 'bun:test'
import { closePayload, isCloseCode, maskedFrame, TEXT } from '../../src/websocket/frames.ts'
import { type MessageEvents, MessageReader } from '../../src/websocket/reader.ts'
import { type Message, randomFrames, serverFrame } from '../support/frames.ts'
import { howMany } from '../support/long.ts'
import { seeded } from '../support/random.ts'
import { piecesOf } from '../upstream/pieces.ts'

function read(pieces: readonly Uint8Array[], maxBytes = 1_000_000) {
  const messages: Message[] = []
  const ends: unknown[] = []
  const events: MessageEvents = {
    onText: (text) => void messages.push(['text', Buffer.from(text).toString('latin1')]),
    onBinary: (bytes) => void messages.push(['binary', bytes.toString('latin1')]),
    onPing: (bytes) => void messages.push(['ping', bytes.toString('latin1')]),
    onPong: (bytes) => void messages.push(['pong', bytes.toString('latin1')]),
    onClose: (code, reason) => void ends.push([code, reason]),
    onInvalid: (code) => void ends.push(code),
  }
  const reader = new MessageReader(events, maxBytes)
  for (const piece of pieces) reader.push(Buffer.from(piece))
  return { messages, ends }
}

test(
  'random frames arrive as the messages that they are, in whatever pieces',
  seeded((random) => {
    for (let run = 0; run < howMany(10, 100); run += 1) {
      const { bytes, messages } = randomFrames(random, 100)
      const found = read(piecesOf(bytes, random), 70_000)
      expect(found.messages.length).toBe(messages.length)
      expect(
        found.messages.every(([kind, text], at) => {
          const [wanted, sent] = messages[at] ?? []
          return kind === wanted && text === sent
        }),
      ).toBe(true)
      expect(found.ends).toEqual([])
    }
  }),
)

test('attack: a fragment of one byte among pings does not keep the chunk that it came in', () => {
  const pings = Array.from({ length: 20 }, () => serverFrame(9, Buffer.alloc(125)))
  const messages: string[] = []
  const ignore = (): void => {}
  const events = { onPing: ignore, onPong: ignore, onClose: ignore, onInvalid: ignore }
  const reader = new MessageReader(
    { ...events, onText: (text) => void messages.push(text), onBinary: ignore },
    1000,
  )
  const begin = { isFinal: false }
  for (const fragment of [
    serverFrame(1, Buffer.from('a'), begin),
    serverFrame(0, Buffer.from('b'), begin),
  ]) {
    const chunk = Buffer.concat([fragment, ...pings])
    reader.push(chunk)
    // Only a copy is not changed by it.
    chunk.fill('x')
  }
  reader.push(serverFrame(0, Buffer.from('c')))
  expect(messages).toEqual(['abc'])
})

const bytes = (...all: number[]): Buffer => Buffer.from(all)
const NO_BYTES = Buffer.alloc(0)
const INVALID: Readonly<Record<string, readonly [frames: Buffer[], code: number]>> = {
  'a masked frame': [[serverFrame(1, NO_BYTES, { mask: 7 })], 1002],
  'a reserved bit': [[serverFrame(1, NO_BYTES, { reserved: 0x40 })], 1002],
  'an unknown opcode': [[serverFrame(3, NO_BYTES)], 1002],
  'an unknown control opcode': [[serverFrame(11, NO_BYTES)], 1002],
  'a ping in fragments': [[serverFrame(9, NO_BYTES, { isFinal: false })], 1002],
  'a ping of 126 bytes': [[serverFrame(9, Buffer.alloc(126))], 1002],
  'a continuation of nothing': [[serverFrame(0, NO_BYTES)], 1002],
  'a message within another': [
    [serverFrame(1, NO_BYTES, { isFinal: false }), serverFrame(1, NO_BYTES)],
    1002,
  ],
  'a length that is too long a form': [[bytes(0x82, 126, 0, 3, 1, 2, 3)], 1002],
  'a length of 2^63': [[bytes(0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0)], 1009],
  'a text that is no UTF-8': [[serverFrame(1, bytes(0xc3, 0x28))], 1007],
  'a message that is too large': [[serverFrame(2, Buffer.alloc(101))], 1009],
  'fragments that are too large together': [
    [serverFrame(2, Buffer.alloc(60), { isFinal: false }), serverFrame(0, Buffer.alloc(60))],
    1009,
  ],
  'a close code of one byte': [[serverFrame(8, bytes(3))], 1002],
  'a close code that nobody may send': [[serverFrame(8, closePayload(1005, ''))], 1002],
  'a close reason that is no UTF-8': [[serverFrame(8, bytes(3, 232, 0xff))], 1007],
}

test.each(Object.entries(INVALID))('%s ends the connection', (_, [frames, code]) => {
  const found = read([...frames, serverFrame(1, Buffer.from('after'))], 100)
  expect([found.messages, found.ends]).toEqual([[], [code]])
})

test('a close frame tells its code and reason, and nothing is read after it', () => {
  const after = serverFrame(1, Buffer.from('after'))
  expect(read([serverFrame(8, closePayload(4000, 'été')), after])).toEqual({
    messages: [],
    ends: [[4000, 'été']],
  })
  expect(read([serverFrame(8, NO_BYTES), after]).ends).toEqual([[undefined, '']])
})

test('what goes out is masked, and is what went in', () => {
  for (const size of [0, 1, 3, 125, 126, 127, 65_535, 65_536, 70_001]) {
    const payload = Buffer.alloc(size, 'postern')
    const frame = maskedFrame(TEXT, payload.subarray(0))
    const lengthBytes = size < 126 ? 0 : size < 65_536 ? 2 : 8
    const start = 2 + lengthBytes + 4
    expect([frame[0], (frame[1] ?? 0) >> 7, frame.length]).toEqual([0x81, 1, start + size])
    const mask = frame.subarray(start - 4, start)
    const plain = Buffer.from(frame.subarray(start).map((byte, at) => byte ^ (mask[at % 4] ?? 0)))
    expect(plain.equals(payload)).toBe(true)
  }
  const masks = new Set(
    Array.from({ length: 300 }, () => maskedFrame(TEXT, NO_BYTES).readUInt32BE(2)),
  )
  expect(masks.size).toBeGreaterThan(295)
})

test('which close codes may be sent', () => {
  const codes = [999, 1000, 1004, 1005, 1006, 1011, 1014, 1015, 2999, 3000, 4999, 5000]
  expect(codes.filter(isCloseCode)).toEqual([1000, 1011, 1014, 3000, 4999])
})
