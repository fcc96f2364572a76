import { cpuMs } from '../support/cost.ts'
import { describe, expect, test } from 'bun:test'
import { bytesOf, claude, MODEL, parses, read, refusesEach } from './bodies.ts'

describe('refuses', () => {
  refusesEach({
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
    too_deep: [
      `{${MODEL},"a":${'['.repeat(513)}${']'.repeat(513)}}`,
      `{"a":${'{"a":'.repeat(1e6)}`,
    ],
  })

  test('as deep as is allowed is not too deep', () => {
    expect(read(`{${MODEL},"a":${'['.repeat(512)}${']'.repeat(512)}}`)).toEqual(claude)
  })
})

test('every short text in the grammar’s letters: accepted as a value exactly if JSON.parse accepts it', () => {
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

test('a body as large as is allowed is cheap, and so is one that is made to be dear', async () => {
  const conversation = Array.from({ length: 20_000 }, () => ({
    role: 'user',
    content: [{ type: 'text', text: 'The quick "brown" fox\njumps. '.repeat(10) }],
  }))
  for (const text of [
    JSON.stringify({ model: 'm', messages: conversation }),
    `{"model":"m","image":"${'QUJD'.repeat(2_000_000)}"}`,
    `{"model":"m","x":[${'1,'.repeat(4_000_000)}1]}`,
    `{"model":"m","x":[${'{"":[]},'.repeat(65_000)}1]}`,
  ]) {
    const body = bytesOf(text)
    const took: number[] = []
    for (let run = 0; run < 3; run += 1) {
      took.push(await cpuMs(() => expect(typeof read(body)).toBe('object')))
    }
    // Measured 1 to 4 ns; the best of three, since a busy machine takes what it takes.
    expect((Math.min(...took) * 1e6) / body.byteLength).toBeLessThan(50)
  }
})
