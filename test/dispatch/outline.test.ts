import { describe, expect, test } from 'bun:test'
import { type Random, seeded } from '../support/random.ts'
import { claude, document, MODEL, parses, read, refusesEach } from './bodies.ts'

describe('refuses', () => {
  refusesEach({
    empty: ['', ' ', '\n\t\r '],
    not_object: ['[]', '"model"', 'null', '1', 'x', `[{${MODEL}}]`, '\u00a0{}', '\0{}', '// a\n{}'],
    byte_order_mark: [`\ufeff{${MODEL}}`, '\ufeff'],
    ambiguous_member: [
      `{${MODEL},${MODEL}}`,
      `{${MODEL},"mod\\u0065l":"claude-opus-4-5"}`,
      `{"\\u006d\\u006f\\u0064\\u0065\\u006c":"a",${MODEL}}`,
      `{${MODEL},"max_tokens":1,"max_tokens":2}`,
      `{${MODEL},"max_tokens":1,"max\\u005ftokens":2}`,
      `{${MODEL},"stream":true,"stream":true}`,
      `{${MODEL},"messages":[],"messages":[]}`,
      `{${MODEL},"a\\/b":1,"a/b":2}`,
      `{${MODEL},"__proto__":1,"__proto__":2}`,
      // Go's encoding/json, which ignores case by Unicode's folding.
      `{${MODEL},"Model":"x"}`,
      '{"MODEL":"claude-haiku-4-5"}',
      `{${MODEL},"Max_Tokens":1}`,
      `{${MODEL},"max_to\u212aens":1}`,
      `{${MODEL},"max_token\u017f":1}`,
      `{${MODEL},"\\u017ftream":true}`,
      `{${MODEL},"STREAM":true}`,
      // Its second version, and protobuf's JSON.
      `{${MODEL},"maxTokens":1}`,
      `{${MODEL},"max-tokens":1}`,
      `{${MODEL},"maxtokens":1}`,
      `{${MODEL},"mo_del":"x"}`,
      // Parsers that drop what is broken, or stop at a NUL.
      `{${MODEL},"model\\ud800":"x"}`,
      `{${MODEL},"\\udc00model":"x"}`,
      `{${MODEL},"a\\ud800":"x"}`,
      `{${MODEL},"model\\u0000":"x"}`,
      `{${MODEL},"\\u0000":"x"}`,
      `{${MODEL},"${'n'.repeat(300)}":1}`,
    ],
    too_many_members: [
      `{${MODEL}${Array.from({ length: 256 }, (_, at) => `,"m${at}":1`).join('')}}`,
    ],
  })

  test('bytes that are not UTF-8, even outside fields', () => {
    for (const broken of [
      [0xff],
      [0xc0, 0xa2],
      [0xe2, 0x82],
      [0xed, 0xa0, 0x80],
      [0xf4, 0x90, 0x80, 0x80],
      [0x80],
      [0xf0, 0x9f, 0x98],
    ]) {
      const body = Buffer.concat([
        Buffer.from(`{${MODEL},"a":"`),
        Buffer.from(broken),
        Buffer.from('"}'),
      ])
      expect(read(body)).toBe('not_utf8')
    }
    expect(read(Buffer.from(`{${MODEL}}`, 'utf16le'))).not.toBeObject()
  })

  test('256 members are not too many', () => {
    const members = Array.from({ length: 255 }, (_, at) => `,"m${at}":1`).join('')
    expect(read(`{${MODEL}${members}}`)).toEqual(claude)
  })
})

test(
  'a member that is said twice is seen, in whatever letters and wherever it stands',
  seeded((random) => {
    for (let round = 0; round < 1000; round += 1) {
      const parts = Object.entries(document(random)).map(
        ([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`,
      )
      const name = random.pick(['model', 'max_tokens', 'stream'])
      const value = random.pick(['"claude-opus-4-5"', '1', 'true'])
      const again = `"${respelled(random, name)}":${value}`
      if (!parts.some((part) => part.startsWith(`"${name}"`))) parts.push(`"${name}":${value}`)
      parts.splice(random.int(parts.length + 1), 0, again)
      const body = `{${parts.join(',')}}`
      expect(parses(body)).toBeTrue()
      expect(read(body)).toBe('ambiguous_member')
    }
  }),
)

/** The same name to somebody: in escapes, in another case, or in both. */
function respelled(random: Random, name: string): string {
  const cased = random.int(2) === 0 ? name : name.replace(/./, (first) => first.toUpperCase())
  return [...cased]
    .map((letter) => {
      if (random.int(2) === 0) return letter
      return `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`
    })
    .join('')
}
