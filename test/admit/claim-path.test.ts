// How settings name a claim, and what a token says there.

import { describe, expect, test } from 'bun:test'
import { claimAt, claimPath } from '../../src/admit/claim-path.ts'

const token = {
  sub: 'a',
  realm_access: { roles: ['x', 'y'] },
  resource_access: { 'my.client': { roles: ['z'] } },
  'https://example.com/roles': ['admin'],
  'cognito:groups': ['ops'],
  'a\\b': 1,
  none: null,
  list: [{ roles: ['q'] }],
}
const at = (text: string): unknown => claimAt(token, claimPath(text) ?? ['?'])

describe('a claim', () => {
  for (const [text, said] of [
    ['sub', 'a'],
    ['realm_access.roles', ['x', 'y']],
    ['resource_access.my\\.client.roles', ['z']],
    ['https://example.com/roles', ['admin']],
    ['https:\\/\\/example', undefined],
    ['cognito:groups', ['ops']],
    ['a\\\\b', 1],
    ['none', null],
    ['none.more', undefined],
    ['sub.length', undefined],
    ['list.0.roles', undefined],
    ['list.length', undefined],
    ['constructor.name', undefined],
    ['__proto__', undefined],
    ['realm_access.__proto__', undefined],
    ['toString', undefined],
    ['absent', undefined],
  ] as const) {
    test(text, () => expect(at(text)).toEqual(said))
  }
})

test('a text without a name is not a path', () => {
  for (const text of ['', '.', 'a.', '.a', 'a..b', 'a\\', 'a\\b', 'x'.repeat(257)]) {
    expect([text, claimPath(text)]).toEqual([text, undefined])
  }
})
