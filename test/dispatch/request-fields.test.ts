import { describe, expect, test } from 'bun:test'
import { type Random, seeded } from '../support/random.ts'
import { bytesOf, claude, document, MODEL, read, refusesEach } from './bodies.ts'

describe('takes', () => {
  for (const [body, fields] of [
    [`{${MODEL}}`, claude],
    [`{${MODEL},"max_tokens":1024,"stream":true}`, { ...claude, maxTokens: 1024, stream: true }],
    [`{"stream":false,"max_tokens":1,${MODEL}}`, { ...claude, maxTokens: 1 }],
    [` \t\r\n{ "model"\n:\t"claude-haiku-4-5" , "stream" : true } \n`, { ...claude, stream: true }],
    ['{"mod\\u0065l":"claude-haiku-4-5"}', claude],
    ['{"model":"\\u0063laude-haiku-4\\u002D5"}', claude],
    // It fills the cache, and asks for no answer.
    [`{${MODEL},"max_tokens":0}`, { ...claude, maxTokens: 0 }],
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
  refusesEach({
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
  })
})

test(
  'every accepted body is JSON, and JSON.parse reads the same from it',
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
