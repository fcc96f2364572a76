import { describe, expect, test } from 'bun:test'
import { parseStrictObject } from '../../src/token/strict-json.ts'
import { type Random, seeded } from '../support/random.ts'

test('an object equals the result of JSON.parse', () => {
  const text = '{"a":{"b":[{"c":1},{"c":2}]},"c":"a:\\"b\\"","":null}'
  expect(parseStrictObject(text)).toEqual(JSON.parse(text))
})

describe('refuses', () => {
  for (const text of [
    '{"a":1,"a":1}',
    '{"a":1,"b":{},"a":2}',
    '{"x":{"a":1,"a":2}}',
    '{"x":[[[{"a":1,"a":2}]]]}',
    '{"su\\u0062":1,"sub":2}',
    '{"\\u0073\\u0075\\u0062":1,"sub":2}',
    '{"a\\/b":1,"a/b":2}',
    '{"":1,"":2}',
    '{"a" \n:1,\t"a"\r :2}',
    '{"\\ud800":1,"\\ud800":2}',
    '{"__proto__":1,"__proto__":2}',
    '{"a":"\\"","a":1}',
    '{"a":"\\\\","a":1}',
    '[]',
    '"a"',
    'null',
    '1',
    '',
    '{',
    '{"a":1,}',
    "{'a':1}",
    '{"a":NaN}',
    '{"a":1}{"a":1}',
  ]) {
    test(JSON.stringify(text), () => expect(parseStrictObject(text)).toBeUndefined())
  }
})

describe('takes', () => {
  for (const text of [
    '{"a":"b","b":"a"}',
    '{"a":["a","a","a"]}',
    '{"a":{"a":{"a":1}}}',
    '{"x":[{"a":1},{"a":1}]}',
    '{"a":"\\"a\\":1","b":1}',
    '{"a":"{\\"b\\":1","b":"}"}',
    '{"A":1,"a":2}',
    '{"é":1,"e\\u0301":2}',
  ]) {
    test(JSON.stringify(text), () => expect(parseStrictObject(text)).toEqual(JSON.parse(text)))
  }
})

test('a doubled member behind a string of megabytes is seen', () => {
  for (const filler of ['x', '\\n', '\\\\']) {
    const text = `{"a":"${filler.repeat(3_000_000)}","b":1,"b":2}`
    expect(parseStrictObject(text)).toBeUndefined()
  }
})

test('nesting deeper than the parser goes is refused, not thrown over', () => {
  const deep = `{"a":${'['.repeat(200_000)}${']'.repeat(200_000)}}`
  expect(() => parseStrictObject(deep)).not.toThrow()
})

test(
  'any document is taken as it is, and refused once a member of it is doubled',
  seeded((random) => {
    for (let round = 0; round < 1000; round += 1) {
      const value = { first: tree(random, 4), ['m' + round]: 1 }
      const text = JSON.stringify(value)
      expect(parseStrictObject(text)).toEqual(JSON.parse(text))
      const strings = [...text.matchAll(/"((?:[^"\\]|\\.)*)"(:?)/g)]
      const names = strings.filter(([, , colon]) => colon === ':')
      const { 1: name = '', index } = random.pick(names)
      const doubled = `${text.slice(0, index)}"${escaped(random, name)}":0,${text.slice(index)}`
      expect(JSON.parse(doubled)).toBeObject()
      expect(parseStrictObject(doubled)).toBeUndefined()
    }
  }),
)

const WORDS = ['a', 'b', '"', '\\', ':', '{', '}', ',', '[', 'é', '\u2028', '\n', '', '__proto__']

function tree(random: Random, depth: number): unknown {
  const kind = random.int(depth === 0 ? 2 : 4)
  if (kind === 0) return random.int(100)
  if (kind === 1) return random.pick(WORDS) + random.pick(WORDS)
  const items = Array.from({ length: random.int(4) }, () => tree(random, depth - 1))
  if (kind === 2) return items
  return Object.fromEntries(items.map((item, at) => [random.pick(WORDS) + at, item]))
}

/** The same name in other letters. */
function escaped(random: Random, name: string): string {
  const text: string = JSON.parse(`"${name}"`)
  const unit = (at: number): string => `\\u${text.charCodeAt(at).toString(16).padStart(4, '0')}`
  return random.int(2) === 0
    ? name
    : Array.from({ length: text.length }, (_, at) => unit(at)).join('')
}

test('a long text that is nested deeper than parsers go is none', () => {
  const nested = (levels: number, more = '') =>
    `{"x":${'['.repeat(levels)}${']'.repeat(levels)},"y":"${'[\\"'.repeat(6000)}${more}"}`
  expect(parseStrictObject(nested(511))).toBeDefined()
  expect(parseStrictObject(nested(512))).toBeUndefined()
  expect(parseStrictObject(nested(100_000))).toBeUndefined()
  expect(parseStrictObject(`{"x":"${'['.repeat(18_000)}`)).toBeUndefined()
})
