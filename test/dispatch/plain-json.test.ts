import { describe, expect, test } from 'bun:test'
import { isPlainJson } from '../../src/dispatch/plain-json.ts'

describe('headers that make another body of the same bytes', () => {
  test('are told apart from those that do not', () => {
    for (const [type, coding] of [
      ['application/json', null],
      ['Application/JSON; charset=utf-8', null],
      ['application/json;charset="UTF-8"', null],
      ['application/json; charset=utf8', null],
      ['application/json;', null],
      ['application/json ; charset=utf-8 ;', null],
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
      ['application/json;;', null],
      ['application/json\u00a0', null],
      [`application/json${' '.repeat(13_000)}x`, null],
      [`application/json;${' '.repeat(13_000)}charset=utf-8`, null],
    ] as const) {
      expect(isPlainJson(type, coding)).toBeFalse()
    }
  })
})

test('a long value costs no more than a short one', () => {
  const costOf = (value: string): number =>
    Math.min(
      ...Array.from({ length: 9 }, () => {
        const from = performance.now()
        for (let times = 0; times < 200; times += 1) isPlainJson(value, null)
        return performance.now() - from
      }),
    )
  const short = costOf(`application/json${' '.repeat(100)}x`)
  expect(costOf(`application/json${' '.repeat(13_000)}x`)).toBeLessThan(20 * short + 1)
})
