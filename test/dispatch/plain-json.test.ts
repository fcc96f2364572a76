import { describe, expect, test } from 'bun:test'
import { isPlainJson } from '../../src/dispatch/plain-json.ts'

describe('headers that make another body of the same bytes', () => {
  test('are distinguished from others', () => {
    for (const type of [
      'application/json',
      'Application/JSON; charset=utf-8',
      'application/json;charset="UTF-8"',
      'application/json; charset=utf8',
      'application/json;',
      'application/json ; charset=utf-8 ;',
      null,
    ] as const) {
      expect(isPlainJson(type)).toBeTrue()
    }
    for (const type of [
      'application/json; charset=utf-7',
      'application/json; charset=utf-16',
      'application/json; charset=shift_jis',
      'application/json; charset=utf-8; charset=utf-16',
      'application/json, text/plain',
      'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=a',
      'text/plain',
      '',
      'application/json;;',
      'application/json\u00a0',
      `application/json${' '.repeat(13_000)}x`,
      `application/json;${' '.repeat(13_000)}charset=utf-8`,
    ] as const) {
      expect(isPlainJson(type)).toBeFalse()
    }
  })
})
