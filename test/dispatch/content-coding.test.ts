// Bodies under a Content-Encoding: which are undone, within which bounds, and which are refused.

import { describe, expect, test } from 'bun:test'
import zlib from 'node:zlib'
import { BodyRefused } from '../../src/dispatch/body.ts'
import { type Coding, codingsOf, uncoded } from '../../src/dispatch/content-coding.ts'
import { decodeWhole } from '../../src/dispatch/decoded-body.ts'
import { refused } from '../../src/refusal.ts'
import { label, named } from '../support/named.ts'

const FAST = { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 1 } }
const ENCODE: Readonly<Record<Coding, (bytes: Uint8Array) => Buffer>> = {
  gzip: (bytes) => zlib.gzipSync(bytes, { level: 1 }),
  deflate: (bytes) => zlib.deflateSync(bytes, { level: 1 }),
  br: (bytes) => zlib.brotliCompressSync(bytes, FAST),
  zstd: (bytes) => zlib.zstdCompressSync(bytes),
}
const ALL = Object.keys(ENCODE) as Coding[]
const MiB = 1_048_576
const BODY = Buffer.from(JSON.stringify({ model: 'claude-x', messages: ['é'.repeat(3000)] }))

async function decoded(
  body: Uint8Array,
  codings: readonly Coding[],
  maxBytes = 32 * MiB,
  take: (bytes: number) => void = () => {},
): Promise<Buffer | string> {
  const read = await decodeWhole(body, codings, maxBytes, take)
  return read.ok ? Buffer.from(read.value) : read.code
}

describe('the header', () => {
  test.each([
    [null, []],
    ['', []],
    ['identity', []],
    ['Identity , identity', []],
    ['gzip', ['gzip']],
    ['X-GZIP', ['gzip']],
    [' br\t', ['br']],
    ['identity,zstd', ['zstd']],
    ['deflate, gzip', ['deflate', 'gzip']],
  ] as const)('%p', (header, codings) => {
    expect(codingsOf(header)).toEqual({ ok: true, value: codings as unknown as Coding[] })
    expect(uncoded(header).ok).toBe(codings.length === 0)
  })

  test.each(
    named<[string, string]>(
      [
        ['compress', 'compress'],
        ['gzip, aes128gcm', 'aes128gcm'],
        ['gzip;q=1', 'gzip;q=1'],
        ['gzip, gzip, gzip', 'gzip, gzip, gzip'],
        [`gzip${','.repeat(1000)}`, `gzip${','.repeat(36)}`],
        ['\u001b[31m"', '?[31m"'],
      ],
      (header) => `${label(header)} is 415, and names the accepted codings`,
    ),
  )('%s', (_, header, name) => {
    expect(codingsOf(header)).toMatchObject({
      code: 'unsupported_encoding',
      message: `a body with Content-Encoding "${name}" is not read here; use gzip, deflate, br, zstd, or none`,
      acceptEncoding: 'gzip, deflate, br, zstd',
    })
    expect(uncoded(header)).toMatchObject({ acceptEncoding: 'identity' })
  })
})

describe.each(ALL)('%s', (coding) => {
  const encode = ENCODE[coding]

  test('is undone, alone and on top of another, and each piece is counted', async () => {
    let taken = 0
    const count = (bytes: number): void => void (taken += bytes)
    expect(await decoded(encode(BODY), [coding], 32 * MiB, count)).toEqual(BODY)
    expect(taken).toBe(BODY.byteLength)
    for (const inner of ALL) {
      expect(await decoded(encode(ENCODE[inner](BODY)), [inner, coding])).toEqual(BODY)
    }
  })

  test('a bomb is stopped at 1 MiB, or at 200 times the sent bytes', async () => {
    const bomb = encode(Buffer.alloc(64 * MiB, ' '))
    const most = Math.max(MiB, bomb.byteLength * 200)
    let taken = 0
    const code = await decoded(bomb, [coding], 32 * MiB, (bytes) => void (taken += bytes))
    expect(code).toBe('request_too_large')
    expect(taken).toBeLessThanOrEqual(Math.min(most, 32 * MiB) + 2 * MiB)
    // A bomb in a bomb, and one beneath the ratio that is over the size.
    const outer = encode(encode(Buffer.alloc(64 * MiB)))
    expect(await decoded(outer, [coding, coding])).toBe('request_too_large')
    const dense = Buffer.alloc(300_000, 'x'.repeat(50) + Math.random())
    expect(await decoded(encode(dense), [coding], 200_000)).toBe('request_too_large')
    expect(await decoded(encode(dense), [coding])).toEqual(dense)
  })

  test('a cut, broken or other coding is refused', async () => {
    const whole = encode(BODY)
    const flipped = Buffer.from(whole)
    flipped[flipped.length >> 1] = (flipped[flipped.length >> 1] ?? 0) ^ 0xff
    for (const body of [
      whole.subarray(0, -1),
      whole.subarray(0, 5),
      BODY,
      Buffer.from('x'),
      Buffer.alloc(0),
    ]) {
      const read = await decoded(body, [coding])
      // zstd is silent about an end that is missing: the beginning of a JSON text is none.
      if (coding === 'zstd' && typeof read !== 'string') {
        expect(BODY.subarray(0, read.byteLength).equals(read)).toBeTrue()
      } else expect(read).toBe('broken_encoding')
    }
    const read = await decoded(flipped, [coding])
    // Brotli has no checksum and zstd need not; what they make of it is judged as any body is.
    if (coding === 'gzip' || coding === 'deflate') expect(read).toBe('broken_encoding')
  })

  test('memory that is not there is said as such', async () => {
    const refusal = refused('upstream_concurrency_limit')
    const code = await decoded(encode(BODY), [coding], MiB, () => {
      throw new BodyRefused(refusal)
    })
    expect(code).toBe('upstream_concurrency_limit')
  })
})

test('deflate is only the zlib format, so that no upstream reads another body', async () => {
  expect(await decoded(zlib.deflateRawSync(BODY), ['deflate'])).toBe('broken_encoding')
})

test('zstd with a window of more than 8 MiB is refused before its memory is taken', async () => {
  const { constants } = zlib
  const wide = zlib.zstdCompressSync(Buffer.alloc(32 * MiB, 'abc'), {
    params: {
      [constants.ZSTD_c_windowLog]: 27,
      [constants.ZSTD_c_enableLongDistanceMatching]: 1,
      [constants.ZSTD_c_contentSizeFlag]: 0,
    },
  })
  expect(await decoded(wide, ['zstd'])).toBeString()
})

test('decoding leaves the loop free', async () => {
  const body = zlib.gzipSync(Buffer.alloc(24 * MiB, JSON.stringify({ a: Math.random() })))
  let turns = 0
  const timer = setInterval(() => (turns += 1), 1)
  const padded = Buffer.concat([body, Buffer.alloc((24 * MiB) / 150)])
  await decoded(padded, ['gzip'])
  clearInterval(timer)
  expect(turns).toBeGreaterThan(2)
})
