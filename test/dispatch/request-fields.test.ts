import { describe, expect, test } from 'bun:test'
import {
  isPlainJson,
  type MaxTokensMember,
  readRequestFields,
  type RequestFields,
  type Unreadable,
} from '../../src/dispatch/request-fields.ts'
import { type Random, seeded } from '../support/random.ts'

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)

function read(body: string | Uint8Array, member?: MaxTokensMember): RequestFields | Unreadable {
  const read = readRequestFields(typeof body === 'string' ? bytesOf(body) : body, member)
  return read.ok ? read.value : read.reason
}

const claude = { model: 'claude-haiku-4-5', maxTokens: undefined, stream: false } as const
const MODEL = '"model":"claude-haiku-4-5"'

describe('takes', () => {
  for (const [body, fields] of [
    [`{${MODEL}}`, claude],
    [`{${MODEL},"max_tokens":1024,"stream":true}`, { ...claude, maxTokens: 1024, stream: true }],
    [`{"stream":false,"max_tokens":1,${MODEL}}`, { ...claude, maxTokens: 1 }],
    [` \t\r\n{ "model"\n:\t"claude-haiku-4-5" , "stream" : true } \n`, { ...claude, stream: true }],
    ['{"mod\\u0065l":"claude-haiku-4-5"}', claude],
    ['{"model":"\\u0063laude-haiku-4\\u002D5"}', claude],
    [`{${MODEL},"max_tokens":9007199254740991}`, { ...claude, maxTokens: 9007199254740991 }],
    // What stands deeper down is none of the three, whatever it is called and however often.
    [`{"metadata":{"model":"x","model":"y","Model":1,"max_tokens":"z"},${MODEL}}`, claude],
    [`{${MODEL},"messages":[{"a":1,"a":2},[[{}]],{"\\ud800":"\\udfff"}],"x":1e999}`, claude],
    [`{${MODEL},"a":"\\"model\\":\\"x\\"","b":"\\\\","c":"}","d":["]"]}`, claude],
    [`{${MODEL},"a":[],"b":{},"c":[[],{}],"d":null,"e":true,"f":false,"g":-0.5e-3}`, claude],
    [`{${MODEL},"é":1,"日本":2,"\u{1f600}":3,"\\ud83d\\ude00x":4,"":5}`, claude],
    [`{${MODEL},"__proto__":{"model":"x"},"constructor":1}`, claude],
    [`{${MODEL},"models":1,"model_id":2,"tokens":3,"max":4,"streams":5}`, claude],
    [`{${MODEL},"max_tokens_to_sample":"of another route"}`, claude],
  ] as const) {
    test(JSON.stringify(body), () => {
      expect(read(body)).toEqual(fields)
      expect(() => JSON.parse(body)).not.toThrow()
    })
  }

  test('max_tokens_to_sample on the route that reads it', () => {
    const body = `{${MODEL},"max_tokens_to_sample":256,"max_tokens":"no matter"}`
    expect(read(body, 'max_tokens_to_sample')).toEqual({ ...claude, maxTokens: 256 })
    expect(read(`{${MODEL},"maxTokensToSample":256}`, 'max_tokens_to_sample')).toBe(
      'ambiguous_member',
    )
  })
})

describe('refuses', () => {
  const cases: Readonly<Record<string, readonly string[]>> = {
    empty: ['', ' ', '\n\t\r '],
    not_object: ['[]', '"model"', 'null', '1', 'x', `[{${MODEL}}]`, '\u00a0{}', '\0{}', '// a\n{}'],
    byte_order_mark: [`\ufeff{${MODEL}}`, '\ufeff'],
    not_json: [
      '{',
      '{"model"',
      '{"model":',
      '{"model":"a',
      '{"model":"a"',
      '{"model":"a",',
      `{${MODEL},}`,
      `{,${MODEL}}`,
      `{${MODEL} "stream":true}`,
      `{${MODEL}}{${MODEL}}`,
      `{${MODEL}}x`,
      `{${MODEL}}\0`,
      `{${MODEL}}\ufeff`,
      `{${MODEL}}]`,
      `{${MODEL}]`,
      `{${MODEL},"a":[1,]}`,
      `{${MODEL},"a":[1}}`,
      `{${MODEL},"a":{"b":1]}`,
      `{${MODEL},"a":{"b":1,}}`,
      `{${MODEL},"a":{b:1}}`,
      `{${MODEL},"a":{1:1}}`,
      `{${MODEL},"a":[,]}`,
      `{${MODEL},"a":}`,
      `{${MODEL},"a":NaN}`,
      `{${MODEL},"a":Infinity}`,
      `{${MODEL},"a":-Infinity}`,
      `{${MODEL},"a":undefined}`,
      `{${MODEL},"a":True}`,
      `{${MODEL},"a":tru}`,
      `{${MODEL},"a":truee}`,
      `{${MODEL},"a":01}`,
      `{${MODEL},"a":+1}`,
      `{${MODEL},"a":.5}`,
      `{${MODEL},"a":5.}`,
      `{${MODEL},"a":1e}`,
      `{${MODEL},"a":1e+}`,
      `{${MODEL},"a":-}`,
      `{${MODEL},"a":0x10}`,
      `{${MODEL},"a":1_000}`,
      `{${MODEL},"a":"\t"}`,
      `{${MODEL},"a":"\n"}`,
      `{${MODEL},"a":"\0"}`,
      `{${MODEL},"a":"\\x41"}`,
      `{${MODEL},"a":"\\'"}`,
      `{${MODEL},"a":"\\u12"}`,
      `{${MODEL},"a":"\\u12g4"}`,
      `{${MODEL},"a":"\\u123g"}`,
      `{${MODEL},"a":"\\u123"}`,
      `{${MODEL},"a":"\\`,
      `{${MODEL},"a":"\\u`,
      `{${MODEL},'a':1}`,
      `{'model':'claude-haiku-4-5'}`,
      `{model:"claude-haiku-4-5"}`,
      `{/* "model":"x", */${MODEL}}`,
      `{${MODEL}/*"*/,"a":1}`,
      `{${MODEL} // "\n}`,
      `{${MODEL},"a":1 # x\n}`,
      `{\u00a0${MODEL}}`,
      `{\u2028${MODEL}}`,
      `{\f${MODEL}}`,
    ],
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
    missing_model: ['{}', '{ }', '{"max_tokens":1}', '{"metadata":{"model":"a"}}', '{"a":"model"}'],
    wrong_model: [
      '{"model":null}',
      '{"model":1}',
      '{"model":["a"]}',
      '{"model":{"id":"a"}}',
      '{"model":true}',
      '{"model":""}',
      '{"model":" a"}',
      '{"model":"a "}',
      '{"model":"a\\u0000b"}',
      '{"model":"a\\nb"}',
      '{"model":"a\\ud800"}',
      '{"model":"clаude"}',
      '{"model":"\\uff43laude"}',
      `{"model":"${'a'.repeat(257)}"}`,
      `{"model":"${'a'.repeat(100_000)}"}`,
      `{"model":[${'"a",'.repeat(1000)}"a"]}`,
    ],
    wrong_max_tokens: [
      '0',
      '-1',
      '-0',
      '1.5',
      '1024.0',
      '1e3',
      '"1024"',
      'null',
      'true',
      '[1]',
      '{}',
      '1e400',
      '9007199254740992',
      '9007199254740993',
      '1023.99999999999999999',
      '99999999999999999999',
      '9'.repeat(10_000),
    ].map((value) => `{${MODEL},"max_tokens":${value}}`),
    wrong_stream: ['null', '0', '1', '"true"', '"false"', '[]', '{"a":true}'].map(
      (value) => `{${MODEL},"stream":${value}}`,
    ),
    too_deep: [
      `{${MODEL},"a":${'['.repeat(513)}${']'.repeat(513)}}`,
      `{"a":${'{"a":'.repeat(1e6)}`,
    ],
    too_many_members: [
      `{${MODEL}${Array.from({ length: 256 }, (_, at) => `,"m${at}":1`).join('')}}`,
    ],
  }
  for (const [reason, bodies] of Object.entries(cases)) {
    for (const body of bodies) {
      test(`${reason}: ${JSON.stringify(body.slice(0, 60))}`, () =>
        expect(read(body)).toBe(reason as Unreadable))
    }
  }

  test('bytes that are no UTF-8, even where no field is', () => {
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

  test('as deep as is allowed is not too deep, and nor are 256 members too many', () => {
    expect(read(`{${MODEL},"a":${'['.repeat(512)}${']'.repeat(512)}}`)).toEqual(claude)
    const members = Array.from({ length: 255 }, (_, at) => `,"m${at}":1`).join('')
    expect(read(`{${MODEL}${members}}`)).toEqual(claude)
  })
})

describe('headers that make another body of the same bytes', () => {
  test('are told apart from those that do not', () => {
    for (const [type, coding] of [
      ['application/json', null],
      ['Application/JSON; charset=utf-8', null],
      ['application/json;charset="UTF-8"', null],
      ['application/json; charset=utf8', null],
      [null, null],
      ['application/json', 'identity'],
    ] as const) {
      expect(isPlainJson(type, coding)).toBeTrue()
    }
    for (const [type, coding] of [
      ['application/json', 'gzip'],
      ['application/json', 'identity, gzip'],
      ['application/json', 'br'],
      ['application/json; charset=utf-7', null],
      ['application/json; charset=utf-16', null],
      ['application/json; charset=shift_jis', null],
      ['application/json; charset=utf-8; charset=utf-16', null],
      ['application/json, text/plain', null],
      ['application/x-www-form-urlencoded', null],
      ['multipart/form-data; boundary=a', null],
      ['text/plain', null],
      ['', null],
    ] as const) {
      expect(isPlainJson(type, coding)).toBeFalse()
    }
  })
})

const parses = (text: string): boolean => {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

test('of every short text in the grammar’s letters, as a value: taken where JSON.parse takes it', () => {
  const letters = ['{', '}', '[', ']', '"', ',', ':', '\\', 'u', '0', '1', '-', '+', '.', 'e', ' ']
  let taken = 0
  const check = (text: string): void => {
    const body = `{"model":"m","x":${text}}`
    const ours = read(body)
    if (parses(text)) {
      taken += 1
      if (typeof ours === 'string') throw new Error(`${body} was refused: ${ours}`)
    } else if (typeof ours !== 'string' && !parses(body)) throw new Error(`${body} was taken`)
  }
  const walk = (text: string, left: number): void => {
    check(text)
    if (left > 0) for (const letter of letters) walk(text + letter, left - 1)
  }
  walk('', 4)
  for (const literal of ['true', 'false', 'null']) {
    for (let cut = 0; cut <= literal.length; cut += 1) check(literal.slice(0, cut))
    check(literal + literal)
  }
  expect(taken).toBe(424)
})

test(
  'whatever is taken is JSON, and says to JSON.parse what it says to us',
  seeded((random) => {
    let taken = 0
    let refused = 0
    for (let round = 0; round < 4000; round += 1) {
      const whole = bytesOf(JSON.stringify(document(random)))
      expect(typeof read(whole)).toBe('object')
      const bytes = Buffer.from(mutated(random, whole))
      const ours = read(bytes)
      if (typeof ours === 'string') {
        refused += 1
        continue
      }
      taken += 1
      const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
      const parsed = JSON.parse(text)
      expect(ours).toEqual({
        model: parsed.model,
        maxTokens: parsed.max_tokens,
        stream: parsed.stream ?? false,
      })
    }
    expect(taken).toBeGreaterThan(300)
    expect(refused).toBeGreaterThan(300)
  }),
)

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

test('a body as large as is allowed is cheap, and so is one that is made to be dear', () => {
  const conversation = Array.from({ length: 20_000 }, () => ({
    role: 'user',
    content: [{ type: 'text', text: 'The quick "brown" fox\njumps. '.repeat(10) }],
  }))
  for (const text of [
    JSON.stringify({ model: 'm', messages: conversation }),
    `{"model":"m","image":"${'QUJD'.repeat(2_000_000)}"}`,
    `{"model":"m","x":[${'1,'.repeat(4_000_000)}1]}`,
    `{"model":"m","x":[${'{"":[]},'.repeat(1_000_000)}1]}`,
  ]) {
    const body = bytesOf(text)
    const took = Array.from({ length: 3 }, () => {
      const before = performance.now()
      expect(typeof read(body)).toBe('object')
      return performance.now() - before
    })
    // Measured 1 to 4 ns; the best of three, since a busy machine takes what it takes.
    expect((Math.min(...took) * 1e6) / body.byteLength).toBeLessThan(50)
  }
}, 20_000)

const WORDS = [
  'a',
  'b',
  '"',
  '\\',
  ':',
  '{',
  '}',
  ',',
  '[',
  'é',
  '\u2028',
  '\n',
  '',
  '日',
  '\u{1f600}',
]

function tree(random: Random, depth: number): unknown {
  const kind = random.int(depth === 0 ? 3 : 5)
  if (kind === 0) return random.pick([0, -1, 1.5, 1e21, -2.5e-9, 12345])
  if (kind === 1) return random.pick(WORDS) + random.pick(WORDS)
  if (kind === 2) return random.pick([true, false, null])
  const items = Array.from({ length: random.int(4) }, () => tree(random, depth - 1))
  if (kind === 3) return items
  return Object.fromEntries(items.map((item, at) => [random.pick(WORDS) + at, item]))
}

function document(random: Random): object {
  const members: [string, unknown][] = [
    ['model', `claude-${random.int(10)}`],
    ...(random.int(2) === 0 ? [['max_tokens', 1 + random.int(100_000)] as [string, unknown]] : []),
    ...(random.int(2) === 0 ? [['stream', random.int(2) === 0] as [string, unknown]] : []),
    ['messages', tree(random, 4)],
    [`x${random.int(9)}`, tree(random, 2)],
  ]
  return Object.fromEntries(members.toSorted(() => random.int(3) - 1))
}

function mutated(random: Random, bytes: Uint8Array): number[] {
  const out = [...bytes]
  const signs = [
    ...Buffer.from('{}[]",:\\u0eE.+-1 \ntfn_Mm'),
    0,
    0x1f,
    0x7f,
    0x80,
    0xc3,
    0xef,
    0xff,
  ]
  for (let times = random.int(3); times >= 0; times -= 1) {
    const at = random.int(out.length)
    const kind = random.int(4)
    if (kind === 0) out.splice(at, 1)
    else if (kind === 1) out.splice(at, 0, random.pick(signs))
    else if (kind === 2) out[at] = random.pick(signs)
    // A stretch of itself, once more: that is how members come twice.
    else out.splice(at, 0, ...out.slice(random.int(out.length)).slice(0, random.int(30)))
  }
  return out
}

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
