// Server-sent events as bytes, not as text: whatever an upstream sends, in whatever chunks, reads as
// the standard reads it whole, or is said to be lost. The reference is WHATWG HTML §9.2.6 over the
// whole text; only what the reader may lose, it knows of ours: events beyond the bound, and data
// that came under an unwanted name.

import { expect, test } from 'bun:test'
import { anthropicUsageMeter } from '../../src/upstream/anthropic/usage.ts'
import { EventReader } from '../../src/upstream/reading/sse.ts'
import type { Random } from '../support/random.ts'
import { piecesOf } from '../upstream/pieces.ts'
import { chance, fuzz, FUZZ_MS } from './fuzz.ts'
import { type Block, byTheStandard, foldOf, messageOf, type Said } from './sse-reference.ts'

const WORDS = [
  'event: a',
  'event:a',
  'event: b',
  'event',
  'event:',
  'event: ',
  'event:  a',
  'event: a:b',
  'data: x',
  'data:',
  'data',
  'data:  x',
  'data: {"type":"a"}',
  'data: é日🐤',
  'datax: 1',
  'd',
  'id: 1',
  'retry: 5',
  ': comment',
  ':',
  'e',
  'x',
  '\ufeffdata: x',
  'data: \ufeff',
  'Event: a',
]
/** Longer than the line of any name that is wanted, as the real bound is. */
const LEAST_BOUND_BYTES = 16
const ENDS = ['\n', '\n', '\r\n', '\r', '\n\n', '\r\n\r\n', '\r\r', '\n\r']

function streamOf(random: Random): Uint8Array {
  const parts: Uint8Array[] = []
  const put = (bytes: string | readonly number[]): void => {
    parts.push(typeof bytes === 'string' ? new TextEncoder().encode(bytes) : Uint8Array.from(bytes))
  }
  if (chance(random, 0.15))
    put(random.pick([[0xef, 0xbb, 0xbf], [0xef, 0xbb], [0xef], [0xfe, 0xff]]))
  for (let lines = random.int(24); lines > 0; lines -= 1) {
    put(random.pick(WORDS))
    if (chance(random, 0.1)) put('y'.repeat(random.int(90)))
    // What no text is: halves of characters, bytes that are never any.
    if (chance(random, 0.1))
      put(random.pick([[0xc3], [0xe6, 0x97], [0xff], [0x80], [0], [0xed, 0xa0, 0x80]]))
    put(random.pick(ENDS))
  }
  return Buffer.concat(parts)
}

/** Does what was said follow from the blocks? A block may be told of, or lost, but nothing else. */
function follows(said: readonly Said[], blocks: readonly Block[]): boolean {
  // How many of `said` can have been told by the blocks so far.
  let told = new Set([0])
  for (const { event, mayBeLost } of blocks) {
    const next = new Set<number>()
    for (const at of told) {
      const now = said[at]
      const isLoss = now?.[0] === 'lost' && mayBeLost && (!event || now[1] === event[1])
      if (isLoss || (event && Bun.deepEquals(now, event))) next.add(at + 1)
      if (!event) next.add(at)
    }
    told = next
  }
  return told.has(said.length)
}

/** As an upstream sends them, each in a chunk of its own, wherever one ends in two line feeds. */
function eventsOf(bytes: Uint8Array): Uint8Array[] {
  const events = Buffer.from(bytes)
    .toString('latin1')
    .split(/(?<=\n\n)(?!\n)/)
  return events.map((event) => Buffer.from(event, 'latin1'))
}

/** The chunk is the network's again as soon as it was pushed. */
function read(
  pieces: readonly Uint8Array[],
  wanted: readonly string[],
  maxEventBytes: number,
): Said[] {
  const said: Said[] = []
  const reader = new EventReader(
    { names: wanted, maxEventBytes },
    {
      onEvent: (name, data) => said.push(['event', name, data]),
      onLost: (name) => said.push(['lost', name, '']),
    },
  )
  for (const piece of pieces) {
    const chunk = Uint8Array.from(piece)
    reader.push(chunk)
    chunk.fill(0x0a)
  }
  return said
}

test(
  'any bytes in any chunks read as the standard reads them, or are said to be lost',
  fuzz('sse', 600, (random) => {
    const bytes = streamOf(random)
    const wanted = random.pick([['a', 'message'], ['a'], ['message'], ['a', 'b', 'a:b']])
    const maxBytes = chance(random, 0.4) ? LEAST_BOUND_BYTES + random.int(60) : 65_536
    const blocks = byTheStandard(bytes, wanted, maxBytes)
    const single = Array.from(bytes, (byte) => Uint8Array.of(byte))
    const chunkings = [[bytes], single, eventsOf(bytes), piecesOf(bytes, random)]
    for (const pieces of [...chunkings, piecesOf(bytes, random)]) {
      const said = read(pieces, wanted, maxBytes)
      if (follows(said, blocks)) continue
      const text = Buffer.from(bytes).toString('latin1')
      const sizes = pieces.map(({ length }) => length)
      throw new Error(JSON.stringify({ text, wanted, maxBytes, sizes, said, blocks }))
    }
  }),
  FUZZ_MS,
)

const CODINGS: readonly (readonly [
  string | undefined,
  (bytes: Buffer<ArrayBuffer>) => Uint8Array,
])[] = [
  [undefined, (bytes) => bytes],
  ['gzip', (bytes) => Bun.gzipSync(bytes)],
  ['zstd', (bytes) => Bun.zstdCompressSync(bytes)],
]

test(
  'usage is the fold of all that was said, in any order, any chunks and any coding',
  fuzz('usage', 250, (random) => {
    const text = messageOf(random)
    const expected = foldOf(text)
    const [coding, encode] = random.pick(CODINGS)
    const meter = anthropicUsageMeter('text/event-stream', coding)
    for (const piece of piecesOf(encode(Buffer.from(text)), random)) meter.push(piece, 0)
    expect([text, meter.end()]).toEqual([text, expect.objectContaining(expected)])
  }),
  FUZZ_MS,
)
