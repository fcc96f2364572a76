import { describe, expect, test } from 'bun:test'
import type { MeteredUsage } from '../../src/upstream/reading/tally.ts'
import { parseTinfoilUsage } from '../../src/upstream/tinfoil/usage.ts'
import { seeded } from '../support/random.ts'
import { namedValues } from '../support/named.ts'

const used = (
  inputTokens: number,
  outputTokens: number,
  cacheReadTokens: number,
): MeteredUsage => ({
  state: 'exact',
  inputTokens,
  outputTokens,
  cacheReadTokens,
  cacheCreationTokens: 0,
  cacheCreation1hTokens: 0,
})

test("usage is read from the upstream's text", () => {
  expect(parseTinfoilUsage('prompt=67,completion=42,total=109')).toEqual(used(67, 42, 0))
  expect(parseTinfoilUsage(' completion=0 , prompt=1 ,cached_prompt_tokens=1,new=7')).toEqual(
    used(0, 0, 1),
  )
})

test('cached tokens are part of the prompt, and never more than it', () => {
  expect(parseTinfoilUsage('prompt=67,completion=42,cached_prompt_tokens=8')).toEqual(
    used(59, 42, 8),
  )
  expect(parseTinfoilUsage('prompt=5,completion=1,cached_prompt_tokens=9')).toEqual(used(0, 1, 5))
})

describe('says nothing', () => {
  test.each(
    namedValues([
      undefined,
      '',
      'prompt=67',
      'completion=42',
      'prompt=67;completion=42',
      'prompt=-1,completion=1',
      'prompt=1.5,completion=1',
      'prompt=1e3,completion=1',
      'prompt=0x1,completion=1',
      'prompt=,completion=1',
      'prompt=NaN,completion=1',
      'prompt = 1,completion=1',
      'prompt=1 2,completion=1',
      'prompt=1=1,completion=1',
      '"prompt"=1,completion=1',
      'Prompt=1,Completion=1',
      `prompt=${'9'.repeat(16)},completion=1`,
      '{"prompt":1,"completion":1}',
      '__proto__=1,constructor=2',
      `prompt=1,completion=1,${'x'.repeat(1024)}`,
    ]),
  )('%s', (_, text) => expect(parseTinfoilUsage(text)).toBeUndefined())
})

test(
  'for any input, counts are exact whole numbers or absent',
  seeded((random) => {
    const pieces = [
      'prompt',
      'completion',
      'cached_prompt_tokens',
      '=',
      ',',
      '1',
      '999999999999999',
      '-',
      ' ',
      '\n',
      '\u001b',
      '.',
    ]
    for (let round = 0; round < 5000; round += 1) {
      const text = Array.from({ length: random.int(14) }, () => random.pick(pieces)).join('')
      const usage = parseTinfoilUsage(text)
      if (!usage) continue
      const { state, ...counts } = usage
      expect(state).toBe('exact')
      for (const count of Object.values<unknown>(counts).map(Number)) {
        expect(Number.isSafeInteger(count) && count >= 0).toBe(true)
      }
    }
  }),
)
