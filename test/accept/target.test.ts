// What a request is addressed to, before any route is looked at.

import { describe, expect, test } from 'bun:test'
import { targetOf } from '../../src/accept/target.ts'

const at = (host: string, rest = '/v1/models'): unknown => targetOf(`http://${host}${rest}`, host)

describe('a Host is taken', () => {
  test.each([
    'gw',
    'g',
    'localhost',
    'gate.example',
    'GATE.example:443',
    'gate.example:1',
    '127.0.0.1',
    '127.0.0.1:5381',
    '[::1]',
    '[2001:db8::1]:5381',
    '[::ffff:127.0.0.1]',
    'postern_1',
    'my_service.internal:80',
    'a-b.c-d',
    `${'a'.repeat(63)}.${'b'.repeat(63)}`,
  ])('%p', (host) => expect(at(host)).toEqual({ path: '/v1/models', search: '' }))
})

describe('a Host is refused', () => {
  test.each([
    '',
    ' ',
    'a b',
    'a, b',
    'a,b',
    'a/b',
    'a/',
    'user@a',
    'user:pass@a',
    'a:',
    'a:x',
    'a:123456',
    'a:80:80',
    'a?b',
    'a#b',
    'a\\b',
    'a%20b',
    'a\tb',
    'a\r\nX: y',
    'a\0',
    '-a',
    'a-',
    '.a',
    'a.',
    'ä.example',
    '[::1',
    '::1',
    '[]',
    '[::1]x',
    '[::g]',
    '[::1%25eth0]',
    'http://a',
    '*',
    'a'.repeat(261),
  ])('%p', (host) => {
    expect(targetOf('http://gate.example/v1/models', host)).toBeUndefined()
    expect(at(host)).toBeUndefined()
  })
  test('a missing one', () => {
    expect(targetOf('http://gate.example/v1/models', null)).toBeUndefined()
  })
})

test('a URL with misleading parts is refused', () => {
  for (const url of [
    '/v1/models',
    '//evil/v1/models',
    'https://gw/v1/models',
    'http://gw',
    '*',
    '',
    'ftp://gw/x',
    'HTTP://gw/x',
  ]) {
    expect(targetOf(url, 'gw')).toBeUndefined()
  }
})

test('the path and the query are split without decoding', () => {
  for (const [rest, path, search] of [
    ['/', '/', ''],
    ['/a?b=c', '/a', '?b=c'],
    ['/a?', '/a', '?'],
    ['/a?b?c', '/a', '?b?c'],
    ['/a?b#c', '/a', '?b#c'],
    ['/a#b?c', '/a#b', '?c'],
    ['/a%2fb', '/a%2fb', ''],
    ['/a/../b', '/a/../b', ''],
    ['//evil/x', '//evil/x', ''],
    ['/a;b', '/a;b', ''],
    ['/?http://evil/x', '/', '?http://evil/x'],
  ] as const) {
    expect(at('gw', rest)).toEqual({ path, search })
  }
})
