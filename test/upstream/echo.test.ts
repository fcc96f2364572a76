// A credential that an answer quotes, in every spelling that echoes have; and answers that only look
// alike.

import { describe, expect, test } from 'bun:test'
import { echoOf, echoOfSecret } from '../../src/upstream/echo.ts'
import { random } from '../support/random.ts'

const KEY =
  'sk-ant-api03-Zq7+x/R2_vT9-kLm4Np8QsWc1YbHd5Jf6GtUe3ZaXoIvBnMrPlKjHgFdSa0987654321-AbCdEfGh'
const echo = echoOfSecret(KEY)
const base64 = (text: string): string => Buffer.from(text).toString('base64')
const each = (text: string, spell: (code: string) => string): string =>
  [...text].map((char) => spell(char.charCodeAt(0).toString(16).padStart(2, '0'))).join('')
const lines = (text: string): string => text.replace(/.{76}/g, '$&\r\n')
const hex = Buffer.from(KEY).toString('hex')

const SPELLINGS: Readonly<Record<string, string>> = {
  plain: `your key was ${KEY}`,
  'with Bearer': `{"authorization":"Bearer ${KEY}"}`,
  'cut off': `key ${KEY.slice(0, 16)}…`,
  'its end alone': `…${KEY.slice(-16)}`,
  'cut in two': `${KEY.slice(0, 40)}" + "${KEY.slice(40)}`,
  base64: base64(KEY),
  'base64 without padding': base64(`${KEY}x`).replaceAll('=', ''),
  'base64 behind one byte': base64(`x${KEY}`),
  'base64 behind two bytes': base64(`xy${KEY}`),
  'base64 of the header': base64(`Bearer ${KEY}`),
  'base64 of a user and the key': base64(`user:${KEY}`),
  'base64 for URLs': Buffer.from(`Bearer ${KEY}`).toString('base64url'),
  'base64 in lines': lines(base64(`${'x'.repeat(50)}${KEY}${'y'.repeat(50)}`)),
  'base64 in lines of JSON': JSON.stringify(lines(base64(`${'x'.repeat(50)}${KEY}`))),
  'JSON in JSON': JSON.stringify(JSON.stringify({ authorization: KEY })),
  'escaped for JSON, each': each(KEY, (code) => `\\u00${code}`),
  'escaped for JSON, twice': JSON.stringify(each(KEY, (code) => `\\u00${code}`)),
  'escaped for JavaScript': each(KEY, (code) => `\\x${code}`),
  'slashes escaped': KEY.replaceAll('/', '\\/'),
  'for a URL': encodeURIComponent(KEY),
  'for a URL, each': each(KEY, (code) => `%${code}`),
  'for a URL, twice': encodeURIComponent(encodeURIComponent(KEY)),
  'for HTML': each(KEY, (code) => `&#x${code};`),
  'for HTML, decimal': [...KEY].map((char) => `&#${char.charCodeAt(0)};`).join(''),
  hexadecimal: hex,
  'hexadecimal, upper case': hex.toUpperCase(),
  'hexadecimal, by colons': hex.replace(/../g, '$&:'),
  'hexadecimal, by spaces': hex.replace(/../g, '$& '),
  'UTF-16': Buffer.from(KEY, 'utf16le').toString('latin1'),
  'cut in small pieces': JSON.stringify(KEY.match(/.{1,6}/g)),
  'in capitals': `AUTHORIZATION: BEARER ${KEY.toUpperCase()}`,
  'a letter in a line': [...KEY].join('\n'),
}

describe('is found', () => {
  test.each(Object.entries(SPELLINGS))('%s', (_name, text) => {
    for (const body of [
      text,
      `{"error":{"message":"${'a '.repeat(999)}${text}`,
      `<p>${text}</p>`,
    ]) {
      expect(echo.inBody(body)).toBe(true)
    }
  })
  test('at every place, by every part of 16', () => {
    for (let at = 0; at + 16 <= KEY.length; at++) {
      const part = KEY.slice(at, at + 16)
      expect([at, echo.inBody(`${'.'.repeat(at)}${part}.`), echo.inValue(part)]).toEqual([
        at,
        true,
        true,
      ])
      const inBase64 = base64(`${'z'.repeat(at % 3)}${KEY.slice(at, at + 20)}zz`)
      expect([at, echo.inValue(inBase64)]).toEqual([at, true])
    }
  })
  test('in a header', () => {
    for (const name of ['plain', 'base64 of the header', 'for a URL, each', 'hexadecimal']) {
      expect([name, echo.inValue(SPELLINGS[name] ?? '')]).toEqual([name, true])
    }
  })
  test('of a token of thousands of characters, every part as well', () => {
    const { int } = random(5)
    const digits = Array.from({ length: 6000 }, () => String.fromCharCode(65 + int(26))).join('')
    const long = echoOfSecret(digits)
    for (let at = 0; at + 16 <= digits.length; at += 7) {
      const part = digits.slice(at, at + 16)
      expect([at, long.inValue(`x${part}`), long.inBody(`${'.'.repeat(at % 50)}${part}`)]).toEqual([
        at,
        true,
        true,
      ])
      const inBase64 = base64(`${'z'.repeat(at % 3)}${digits.slice(at, at + 20)}zz`)
      expect([at, long.inValue(inBase64)]).toEqual([at, true])
    }
    expect(long.inBody('keys begin with eyJhbGciOiJFUzI1NiJ9')).toBe(false)
  })
  test('of a short key, three quarters', () => {
    expect(echoOfSecret('token-abc123').inBody('key token-abc')).toBe(true)
    expect(echoOfSecret('token-abc123').inBody('key token-ab')).toBe(false)
    expect(echoOfSecret('anthropic-key-canary').inBody('anthropic-key-ca')).toBe(true)
  })
})

test('in a success only the plain key is found, at any place', () => {
  const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
  expect(echo.inBytes(bytes(`{"authorization":"Bearer ${KEY}"}`))).toBe(true)
  expect(echo.inBytes(bytes(KEY))).toBe(true)
  for (const text of ['', 'x', `{"a":"${base64(KEY)}"}`])
    expect(echo.inBytes(bytes(text))).toBe(false)
})

describe('is not found', () => {
  test("not the common prefix of an API's keys, a masked key, or another key", () => {
    for (const text of [
      'keys begin with sk-ant-api03-',
      'Incorrect API key provided: sk-ant-a***********************************fGh',
      'sk-ant-api03-bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb',
      '',
    ]) {
      expect([text, echo.inBody(text), echo.inValue(text)]).toEqual([text, false, false])
    }
  })
  test('anything in 200 kB of chance', () => {
    const { int } = random(11)
    const text = Array.from({ length: 200_000 }, () => String.fromCharCode(32 + int(95))).join('')
    expect(echo.inBody(text)).toBe(false)
    expect(echo.inBody(base64(text))).toBe(false)
  })
  test('a word that a server without a key is given', () => {
    expect(echoOfSecret('EMPTY').inBody('the body is EMPTY')).toBe(false)
    expect(echoOf({}).inBody('anything')).toBe(false)
  })
})

test('the keys of a dozen upstreams are known, whichever comes next, and those of before are not kept', () => {
  const of = (at: number) => echoOf({ authorization: `Bearer key-canary-of-upstream-${at}` })
  const dozen = Array.from({ length: 12 }, (_, at) => of(at))
  expect(dozen.every((each, at) => of(at) === each)).toBe(true)
  for (let at = 12; at < 40; at += 1) of(at)
  expect(of(0)).not.toBe(dozen[0])
})

test('its time grows linearly with the text', () => {
  const timeOf = (text: string): number => {
    const started = performance.now()
    echo.inBody(text)
    return performance.now() - started
  }
  for (const piece of ['\\', '%', '&', '%25', '\\\\u005c', KEY.slice(0, 8), '&#38;', 'a', '0']) {
    timeOf(piece.repeat(1000))
    const leastOf = (text: string): number =>
      Math.min(...Array.from({ length: 3 }, () => timeOf(text)))
    const short = leastOf(piece.repeat(8000))
    expect(leastOf(piece.repeat(64_000))).toBeLessThan(short * 8 * 6 + 50)
  }
})
