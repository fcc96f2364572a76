// What the text of each kind of setting may be.

import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'bun:test'
import { HASH_KEY } from '../support/settings.ts'
import * as addresses from '../../src/config/address-kinds.ts'
import * as credentials from '../../src/config/credential-kinds.ts'
import * as kinds from '../../src/config/kinds.ts'
import { isLoopback } from '../../src/hosts.ts'
import { SETTINGS } from '../../src/config/table.ts'
import { label, namedValues } from '../support/named.ts'

const ok = (kind: kinds.Kind<unknown>, text: string): boolean => kind.read(text).ok

describe('a whole number', () => {
  const kind = kinds.integer(1, 100)
  test.each(['1', '100', '007'])('takes %p', (text) => expect(ok(kind, text)).toBe(true))
  test.each(
    namedValues(
      [
        '',
        '0',
        '101',
        '-1',
        '+1',
        '1.5',
        '1e2',
        '0x10',
        ' 1',
        '1 ',
        '1_0',
        'NaN',
        'Infinity',
        '٣',
        '9'.repeat(400),
      ],
      (text) => `refuses ${label(text)}`,
    ),
  )('%s', (_, text) => expect(ok(kind, text)).toBe(false))
})

test('true and false have the spellings that people use, and no others', () => {
  for (const text of ['true', '1', 'yes', 'on', 'TRUE'])
    expect(kinds.flag.read(text)).toEqual({ ok: true, value: true })
  for (const text of ['false', '0', 'no', 'off', 'Off'])
    expect(kinds.flag.read(text)).toEqual({ ok: true, value: false })
  for (const text of ['', 'y', 'enabled', '2', 'true ', 'null'])
    expect(ok(kinds.flag, text)).toBe(false)
})

test('text that is empty is a mistake, not a value', () => {
  for (const text of ['', ' ', '\t\n']) expect(ok(kinds.text('<x>'), text)).toBe(false)
})

test('a list is trimmed and drops empty entries; an empty list is a mistake', () => {
  const kind = kinds.list('<x>')
  expect(kind.read(' a, b,,c ,')).toEqual({ ok: true, value: ['a', 'b', 'c'] })
  for (const text of ['', ',', ' , ,']) expect(ok(kind, text)).toBe(false)
})

describe('a URL that carries trust or secrets', () => {
  test.each([
    'https://id.example/jwks.json',
    'https://id.example:8443',
    'http://127.0.0.1:8080/x',
    'http://127.9.9.9/',
    'http://localhost:3000',
    'http://[::1]:3000/',
    'HTTPS://ID.EXAMPLE',
  ])('takes %p', (text) => expect(ok(addresses.secureUrl, text)).toBe(true))
  test.each([
    '',
    'id.example',
    '//id.example',
    'http://id.example',
    'http://10.0.0.1',
    'http://localhost.evil.example',
    'http://127.0.0.1.evil.example',
    'http://evil-localhost',
    'http://0.0.0.0',
    'http://[::]',
    'http://[::ffff:10.0.0.1]',
    'ftp://127.0.0.1',
    'file:///etc/passwd',
    'data:text/plain,x',
    'javascript:1',
    'https://user:pass@id.example',
    'https://user@id.example',
    'https://id.example?key=1',
    'https://id.example#x',
    'https://',
    'https://a b',
  ])('refuses %p', (text) => expect(ok(addresses.secureUrl, text)).toBe(false))
})

describe('names of enclaves', () => {
  const kind = SETTINGS.tinfoilEnclaveHosts.kind
  test.each(['.tinfoil.sh', 'a.tinfoil.sh', '.a.example, b.example'])('takes %p', (text) =>
    expect(ok(kind, text)).toBe(true),
  )
  test.each([
    '',
    '.',
    '.sh',
    'sh',
    '*.tinfoil.sh',
    'https://a.tinfoil.sh',
    'a.tinfoil.sh:443',
    'A.tinfoil.sh',
    'a.tinfoil.sh.',
    '..sh',
  ])('refuses %p', (text) => expect(ok(kind, text)).toBe(false))
})

test('a secret for a header has only characters of a header', () => {
  expect(ok(credentials.headerSecret, 'tk-1!~')).toBe(true)
  for (const text of ['', 'a b', 'a\n', 'a\r\nX: y', 'ä', 'a\0', '\u007f']) {
    expect(ok(credentials.headerSecret, text)).toBe(false)
  }
})

test('a key is 32 bytes in hexadecimal, and nothing near it', () => {
  expect(ok(credentials.hexKey, HASH_KEY.toUpperCase())).toBe(true)
  for (const text of [
    '',
    HASH_KEY.slice(2),
    `${HASH_KEY}0f`,
    `g${HASH_KEY.slice(1)}`,
    HASH_KEY.slice(1),
    `${HASH_KEY}\n`,
    `0x${HASH_KEY.slice(2)}`,
  ]) {
    expect(ok(credentials.hexKey, text)).toBe(false)
  }
})

test('only loopback is loopback', () => {
  for (const host of ['localhost', '127.0.0.1', '127.1.2.3', '::1', '[::1]']) {
    expect(isLoopback(host)).toBe(true)
  }
  for (const host of [
    '',
    '0.0.0.0',
    '::',
    '10.0.0.1',
    '128.0.0.1',
    'localhost.example',
    'x127.0.0.1',
    '127.0.0.1.example',
    '::2',
    '::ffff:10.0.0.1',
  ]) {
    expect(isLoopback(host)).toBe(false)
  }
})

test('no mistake repeats the text that was wrong', () => {
  const canary = 'CaN4ry \u0000 value'
  for (const { kind } of Object.values(SETTINGS)) {
    const read = kind.read(canary)
    if (!read.ok) expect(JSON.stringify(read)).not.toContain('CaN4ry')
  }
})

const A = '8a984a7a8c4c440035a3c415a0043638'
const B = 'XtrPHGKJUasJRyOu42W1IzYxuxc4w28U7liyZnlf'

describe('a secret that signs or is compared', () => {
  test('has at least 32 bytes that a header can carry', () => {
    const read = credentials.longSecret.read(A)
    expect(read.ok && read.value.reveal()).toBe(A)
    expect(ok(credentials.longSecret, randomBytes(500).toString('base64'))).toBe(true)
    for (const text of [
      '',
      A.slice(1),
      ' '.repeat(32),
      `${A} `,
      `${A}\n`,
      'é'.repeat(32),
      `${A}\0`,
    ]) {
      expect(ok(credentials.longSecret, text)).toBe(false)
    }
  })
  test('may be several, each of them long enough, in their order', () => {
    const [a, b] = [A, B]
    const values = (text: string) => {
      const read = credentials.secretList.read(text)
      return read.ok ? read.value.map((each) => each.reveal()) : undefined
    }
    expect(values(a)).toEqual([a])
    expect(values(`${a},${b}`)).toEqual([a, b])
    expect(values(` ${b} , ${a} `)).toEqual([b, a])
    for (const text of ['', ',', `${a},`, `,${a}`, `${a},,${b}`, `${a},short`, `${a} ${b}`]) {
      expect([text, values(text)]).toEqual([text, undefined])
    }
  })
  test('is in no text that is made of it', () => {
    const read = credentials.secretList.read(`${A},${B}`)
    expect(JSON.stringify(read) + Bun.inspect(read)).not.toMatch(
      new RegExp(`${A.slice(0, 8)}|${B.slice(0, 8)}`),
    )
  })
})

describe('US dollars', () => {
  test.each([
    ['25', 25],
    ['0.50', 0.5],
    ['0.000001', 0.000001],
    ['999999999', 999_999_999],
    ['007', 7],
  ])('%p', (text, usd) => expect(kinds.dollars.read(text)).toEqual({ ok: true, value: usd }))
  test.each([
    '',
    '0',
    '0.0',
    '0.000000',
    '-1',
    '+1',
    '.5',
    '5.',
    '1e3',
    '0x10',
    '$5',
    '5$',
    '1,000',
    '1_000',
    ' 5',
    '5 ',
    '0.0000001',
    '1000000000',
    'NaN',
    'Infinity',
    '٣',
  ])('refuses %p', (text) => expect(ok(kinds.dollars, text)).toBe(false))
})

test('a database is a file of SQLite, and nothing else yet', () => {
  for (const [text, path] of [
    ['sqlite:postern.db', 'postern.db'],
    ['sqlite:/var/lib/postern.db', '/var/lib/postern.db'],
    ['sqlite:///var/lib/postern.db', '/var/lib/postern.db'],
    ['sqlite://postern.db', 'postern.db'],
    ['sqlite::memory:', ':memory:'],
  ] as const) {
    const value = { engine: 'sqlite', file: path } as const
    expect(addresses.databaseUrl.read(text)).toEqual({ ok: true, value })
  }
  for (const text of ['', 'sqlite:', 'postern.db', 'postgres://h/db', 'SQLITE:x', ' sqlite:x']) {
    expect(ok(addresses.databaseUrl, text)).toBe(false)
  }
})

test('a setting that is not supported yet says so', () => {
  expect(kinds.notYet.read('redis://h')).toMatchObject({ message: 'is not supported yet' })
})
