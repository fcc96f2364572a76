// Credentials by their grammar, against a reader of RFC 6750 §2.1 and RFC 9110 §11.6.2 written
// letter by letter, which shares no expression with ours.

import { expect, test } from 'bun:test'
import { bearerToken } from '../../src/admit/bearer.ts'
import { deviceToken } from '../../src/admit/device.ts'
import type { Random } from '../support/random.ts'
import { chance, fuzz, FUZZ_MS, mangled, some } from './fuzz.ts'

const B64TOKEN = [...'ABCxyz019-._~+/']
const ODD = [
  ' ',
  '\t',
  '\r',
  '\n',
  '\0',
  ',',
  ';',
  '=',
  '"',
  "'",
  '\\',
  '%',
  ':',
  '@',
  '(',
  '|',
  'é',
  '\u212A',
  '\u0130',
  '\u200b',
  '\ufeff',
  '\u2028',
  '\ud800',
  '🐤',
  '\x7f',
  '\x80',
]
const WORDS = ['Bearer', 'bearer', 'BEARER', 'bEaReR', 'Basic', 'DPoP', 'Token', 'Bear', 'Bearers']

/** `Bearer` SP+ b64token, to the letter: the token, or nothing. */
function byTheGrammar(header: string): string | undefined {
  let at = 0
  for (const letter of 'bearer') {
    const code = header.charCodeAt(at)
    const lower = code >= 0x41 && code <= 0x5a ? code + 32 : code
    if (lower !== letter.charCodeAt(0)) return undefined
    at += 1
  }
  const spaces = at
  while (header[at] === ' ') at += 1
  if (at === spaces) return undefined
  const start = at
  const isToken = (code: number): boolean =>
    (code >= 0x30 && code <= 0x39) ||
    (code >= 0x41 && code <= 0x5a) ||
    (code >= 0x61 && code <= 0x7a) ||
    [0x2d, 0x2e, 0x5f, 0x7e, 0x2b, 0x2f].includes(code)
  while (at < header.length && isToken(header.charCodeAt(at))) at += 1
  if (at === start) return undefined
  while (header[at] === '=') at += 1
  return at === header.length ? header.slice(start) : undefined
}

/** Does the query have the parameter, however it is spelled? */
function namesToken(query: string): boolean {
  return query.split('&').some((pair) => {
    const [name = ''] = pair.split('=', 1)
    const bytes = [...name.matchAll(/%([0-9a-f]{2})|([^])/gi)].map(([, hex, char]) =>
      hex === undefined ? (char ?? '') : String.fromCharCode(Number.parseInt(hex, 16)),
    )
    return bytes.join('') === 'access_token'
  })
}

const token = (random: Random): string =>
  some(random, B64TOKEN, 20).join('') + '='.repeat(chance(random, 0.2) ? random.int(4) : 0)

function header(random: Random): string | null {
  if (chance(random, 0.05)) return null
  const word = chance(random, 0.7) ? random.pick(WORDS.slice(0, 4)) : random.pick(WORDS)
  const space = chance(random, 0.7) ? ' ' : random.pick(['', '  ', '\t', '\u00a0', ' '.repeat(9)])
  const text = `${word}${space}${token(random)}`
  if (chance(random, 0.1)) return `${text}${random.pick([',', ', '])}${word} ${token(random)}`
  return chance(random, 0.5) ? text : mangled(random, text, [...ODD, ...B64TOKEN])
}

function query(random: Random): string {
  if (chance(random, 0.6)) return ''
  const names = ['access_token', 'access%5ftoken', '%61ccess_token', 'Access_Token', 'x', 'token']
  return some(random, names, 3)
    .map((name) => `${chance(random, 0.2) ? mangled(random, name, ['%', '5', 'F', 'a']) : name}=1`)
    .join('&')
}

const REFUSALS = new Set([
  'missing_authorization',
  'malformed_authorization',
  'missing_token',
  'ambiguous_credentials',
])

test(
  'a header is accepted exactly if the grammar accepts it',
  fuzz('bearer', 6000, (random) => {
    const [sent, asked] = [header(random), query(random)]
    const decided = bearerToken(sent, asked)
    const expected = sent === null || namesToken(asked) ? undefined : byTheGrammar(sent)
    const said = decided.ok ? decided.value : undefined
    expect([sent, asked, said]).toEqual([sent, asked, expected])
    if (decided.ok) return
    expect(REFUSALS).toContain(decided.code)
    // Nothing that was sent is repeated.
    expect(JSON.stringify({ ...decided, code: '' })).toBe(
      decided.reason === undefined
        ? '{"ok":false,"code":""}'
        : '{"ok":false,"code":"","reason":"token in the query"}',
    )
    if (sent === null && !namesToken(asked)) expect(decided.code).toBe('missing_authorization')
  }),
  FUZZ_MS,
)

/** What SDKs insist on before a key. */
const PREFIX = 'sk-ant-proxy-'
const bare = (text: string | undefined): string | undefined =>
  text?.startsWith(PREFIX) ? text.slice(PREFIX.length) : text

test(
  'two equal credentials count as one, and two different ones are refused',
  fuzz('device credentials', 2000, (random) => {
    const prefixed = (text: string): string => (chance(random, 0.3) ? PREFIX : '') + text
    const one = token(random)
    const other = chance(random, 0.6) ? one : token(random)
    const authorization = chance(random, 0.3) ? null : `Bearer ${prefixed(one)}`
    const apiKey = chance(random, 0.3) ? null : prefixed(other)
    const decided = deviceToken({ authorization, apiKey, query: '' })
    const byHeader = authorization === null ? undefined : byTheGrammar(authorization)
    const byKey = apiKey === null ? undefined : byTheGrammar(`Bearer ${apiKey}`)
    const sent = JSON.stringify({ authorization, apiKey, decided })
    const good =
      authorization === null || apiKey === null
        ? (byHeader ?? byKey) !== undefined
        : byHeader !== undefined && byKey !== undefined && bare(byHeader) === bare(byKey)
    expect([sent, decided.ok]).toEqual([sent, good])
    if (decided.ok) expect([byHeader, byKey]).toContain(decided.value)
  }),
  FUZZ_MS,
)
