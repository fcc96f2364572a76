// What a sealed record withstands (attack 41), and that it is what it says to be: AES-256-GCM under
// HKDF-SHA-256, as WebCrypto would do it.

import { expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { Secret } from '../../src/secret.ts'
import { MAX_PLAINTEXT_BYTES, OVERHEAD_BYTES, type SealPlace, seals } from '../../src/login/seal.ts'
import { seeded } from '../support/random.ts'

const FIRST = new Secret('first-secret-of-the-tests-0123456789abcdef')
const SECOND = new Secret('second-secret-of-the-tests-0123456789abcde')
const THIRD = new Secret('third-secret-of-the-tests-0123456789abcdef')
const PLACE: SealPlace = {
  table: 'login_session',
  id: 'ab'.repeat(16),
  purpose: 'tokens',
  version: 7,
}
const TEXT = Buffer.from('canary-in-the-record, and some more of it')

const { seal, open } = seals([FIRST])
const record = seal(TEXT, PLACE)

/** `v1`, kid, salt, nonce; what is between them and the last 16 bytes is the text. */
const parts = (of: Uint8Array) => ({
  layout: of.slice(0, 2),
  kid: of.slice(2, 18),
  salt: of.slice(18, 50),
  nonce: of.slice(50, 62),
  sealed: of.slice(62),
})

test('opens what it sealed, and the record shows nothing of it', () => {
  expect(open(record, PLACE)).toEqual({ ok: true, plaintext: TEXT, stale: false })
  expect(record.length).toBe(TEXT.length + OVERHEAD_BYTES)
  expect(record.includes('canary')).toBe(false)
  expect(open(seal(Buffer.alloc(0), PLACE), PLACE)).toMatchObject({ ok: true })
})

test('a record is v1 | kid | salt | nonce | text | tag, as WebCrypto makes it', async () => {
  const bytes = (text: string) => new TextEncoder().encode(text)
  const master = await crypto.subtle.importKey('raw', bytes(FIRST.reveal()), 'HKDF', false, [
    'deriveBits',
  ])
  const derive = (salt: Uint8Array<ArrayBuffer>, label: string, bits: number) =>
    crypto.subtle.deriveBits(
      { name: 'HKDF', hash: 'SHA-256', salt, info: bytes(label) },
      master,
      bits,
    )
  const kid = new Uint8Array(await derive(new Uint8Array(), 'postern seal kid', 128))
  const salt = crypto.getRandomValues(new Uint8Array(32))
  const iv = crypto.getRandomValues(new Uint8Array(12))
  const key = await crypto.subtle.importKey(
    'raw',
    await derive(salt, 'postern seal v1 aes-256-gcm', 256),
    'AES-GCM',
    false,
    ['encrypt'],
  )
  const additionalData = bytes(`["login_session","${'ab'.repeat(16)}","tokens",7]`)
  const sealed = await crypto.subtle.encrypt(
    { name: 'AES-GCM', iv, additionalData },
    key,
    new Uint8Array(TEXT),
  )
  const made = Buffer.concat([bytes('v1'), kid, salt, iv, new Uint8Array(sealed)])
  expect(open(made, PLACE)).toEqual({ ok: true, plaintext: TEXT, stale: false })
  expect(Buffer.from(parts(record).kid)).toEqual(Buffer.from(kid))
})

test('no two records share salt, nonce or text', () => {
  const made = Array.from({ length: 100 }, () => parts(seal(TEXT, PLACE)))
  for (const name of ['salt', 'nonce', 'sealed'] as const) {
    expect(new Set(made.map((each) => Buffer.from(each[name]).toString('hex'))).size).toBe(100)
  }
})

test('attack 41: every bit of a record flipped', () => {
  for (let at = 0; at < record.length; at += 1) {
    for (let bit = 0; bit < 8; bit += 1) {
      const changed = Buffer.from(record)
      changed[at] = (changed[at] ?? 0) ^ (1 << bit)
      expect([at, bit, open(changed, PLACE).ok]).toEqual([at, bit, false])
    }
  }
})

test('attack 41: every truncation, from either end, and a byte too many', () => {
  for (let length = 0; length < record.length; length += 1) {
    expect([length, open(record.subarray(0, length), PLACE).ok]).toEqual([length, false])
    expect(open(record.subarray(record.length - length), PLACE).ok).toBe(false)
  }
  expect(open(Buffer.concat([record, Buffer.alloc(1)]), PLACE).ok).toBe(false)
  expect(open(Buffer.concat([Buffer.alloc(1), record]), PLACE).ok).toBe(false)
})

test('attack 41: a record opens in its own place alone', () => {
  const others: Partial<SealPlace>[] = [
    { table: 'another' },
    { id: 'cd'.repeat(16) },
    { id: '' },
    { purpose: 'refresh' },
    { version: 6 },
    { version: 8 },
    { version: Number.NaN },
  ]
  for (const other of others) {
    expect([other, open(record, { ...PLACE, ...other }).ok]).toEqual([other, false])
  }
  const moved = seal(TEXT, { ...PLACE, id: 'a","b', purpose: 'c' })
  expect(open(moved, { ...PLACE, id: 'a', purpose: 'b","c' }).ok).toBe(false)
})

test('attack 41: an unknown kid, and a known one that is not its own', () => {
  const reasonOf = (result: ReturnType<typeof open>) => (result.ok ? 'opened' : result.reason)
  expect(reasonOf(seals([SECOND, THIRD]).open(record, PLACE))).toBe('record has an unknown kid')
  const both = seals([FIRST, SECOND])
  const kid = parts(seals([SECOND]).seal(TEXT, PLACE)).kid
  const renamed = Buffer.concat([record.subarray(0, 2), kid, record.subarray(18)])
  expect(reasonOf(both.open(renamed, PLACE))).toBe('record was changed or is of another place')
})

test('the first secret seals, all open, in whichever order they stand', () => {
  const opens = (...secrets: Secret[]) => seals(secrets).open(record, PLACE)
  expect(opens(FIRST, SECOND, THIRD)).toMatchObject({ ok: true, stale: false })
  expect(opens(SECOND, FIRST, THIRD)).toMatchObject({ ok: true, stale: true })
  expect(opens(THIRD, SECOND, FIRST)).toMatchObject({ ok: true, stale: true, plaintext: TEXT })
  const anew = seals([SECOND, FIRST]).seal(TEXT, PLACE)
  expect(seals([SECOND]).open(anew, PLACE)).toMatchObject({ ok: true, stale: false })
  expect(open(anew, PLACE).ok).toBe(false)
})

test('a repeated secret counts once', () => {
  expect(seals([FIRST, FIRST]).open(record, PLACE)).toMatchObject({ ok: true, stale: false })
})

test(
  'noise, and noise behind the right beginning, never throws and never opens',
  seeded((random) => {
    for (let round = 0; round < 2000; round += 1) {
      const noise = Buffer.from(Array.from({ length: random.int(300) }, () => random.int(256)))
      expect(open(noise, PLACE).ok).toBe(false)
      const begun = Buffer.concat([record.subarray(0, random.int(record.length)), noise])
      expect(begun.equals(record) || !open(begun, PLACE).ok).toBe(true)
    }
  }),
)

test('opens a record that lies somewhere within a larger buffer', () => {
  const larger = new Uint8Array([...randomBytes(5), ...record, ...randomBytes(9)])
  expect(open(larger.subarray(5, 5 + record.length), PLACE)).toMatchObject({ plaintext: TEXT })
})

test('64 KiB can be sealed; more cannot, and a longer record is not looked at', () => {
  const most = seal(Buffer.alloc(MAX_PLAINTEXT_BYTES), PLACE)
  expect(open(most, PLACE)).toMatchObject({ ok: true })
  expect(() => seal(Buffer.alloc(MAX_PLAINTEXT_BYTES + 1), PLACE)).toThrow(RangeError)
  const longer = Buffer.concat([most, Buffer.alloc(1)])
  expect(open(longer, PLACE)).toEqual({ ok: false, reason: 'record is too long' })
})

test('without a secret, or with a short one, nothing is sealed', () => {
  expect(() => seals([])).toThrow(RangeError)
  expect(() => seals([FIRST, new Secret('x'.repeat(31))])).toThrow(RangeError)
})
