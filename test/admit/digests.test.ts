// Rows of digests beside a plain list that says the same, and the chains that could mix them up.

import { expect, test } from 'bun:test'
import { Digests, NO_ROW } from '../../src/token/digests.ts'
import { seeded } from '../support/random.ts'

/** `start` alone chooses the chain. */
function digestOf(start: number, end: number): Buffer {
  const bytes = Buffer.alloc(32, 7)
  bytes.writeInt32LE(start, 0)
  bytes.writeInt32LE(end, 28)
  return bytes
}

test('digests that begin alike are distinguished by their last byte', () => {
  const digests = new Digests(8)
  const rows = [1, 2, 3].map((end) => digests.add(digestOf(-5, end)))
  expect(new Set(rows).size).toBe(3)
  expect([1, 2, 3].map((end) => digests.find(digestOf(-5, end)))).toEqual(rows)
  expect(digests.find(digestOf(-5, 4))).toBe(NO_ROW)
})

test('an empty table finds nothing, not even a digest of zeros', () => {
  expect(new Digests(8).find(Buffer.alloc(32))).toBe(NO_ROW)
})

test('the table copies each digest', () => {
  const digests = new Digests(8)
  const scratch = digestOf(1, 1)
  const row = digests.add(scratch)
  scratch.fill(0)
  expect(digests.find(digestOf(1, 1))).toBe(row)
})

test(
  'the last so many are found in rows of their own, whichever chains they share',
  seeded(({ int }) => {
    for (const rows of [1, 2, 3, 7, 16]) {
      const digests = new Digests(rows)
      const held: { start: number; end: number; row: number }[] = []
      for (let end = 0; end < 500; end += 1) {
        const start = int(4) - 2
        const row = digests.add(digestOf(start, end))
        held.push({ start, end, row })
        const gone = held.length > rows ? held.shift() : undefined
        if (gone) expect(digests.find(digestOf(gone.start, gone.end))).toBe(NO_ROW)
        if (gone) expect(row).toBe(gone.row)
        for (const each of held) expect(digests.find(digestOf(each.start, each.end))).toBe(each.row)
      }
    }
  }),
)
