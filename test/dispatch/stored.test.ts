// Who reaches a stored response, and where.

import { expect, test } from 'bun:test'
import type { Served } from '../../src/dispatch/choose.ts'
import { servingStored } from '../../src/dispatch/stored.ts'
import { granted, refused } from '../../src/refusal.ts'

const [ANNA, BERT, ANNA_BEFORE] = ['a1'.repeat(32), 'b2'.repeat(32), 'c3'.repeat(32)]
const served = (name: string): Served => ({ upstream: { name } }) as Served
const AMONG = [served('azure'), served('local')]
const OWNERS = new Map([
  ['resp_1', { identity: ANNA, upstream: 'local' }],
  ['resp_2', { identity: ANNA_BEFORE, upstream: 'azure' }],
  ['resp_3', { identity: ANNA, upstream: 'gone' }],
])

function found(who: { identity: string; former: readonly string[] | undefined }, path: string) {
  const on = servingStored(AMONG, `/v1/responses/${path}`, who, (id) => granted(OWNERS.get(id)))
  return on.ok ? on.value.upstream.name : on.code
}

const anna = { identity: ANNA, former: undefined }
const annaNow = { identity: ANNA, former: ['d4'.repeat(32), ANNA_BEFORE] }

test('its own caller, at the upstream that keeps it and among those that the caller reaches', () => {
  expect(found(anna, 'resp_1')).toBe('local')
  expect(found(anna, 'resp_1/input_items')).toBe('local')
  expect(found(anna, 'resp_3')).toBe('not_found')
  expect(found(anna, 'resp_9')).toBe('not_found')
})

test('its caller under the name of a former key, and nobody else', () => {
  expect(found(annaNow, 'resp_2')).toBe('azure')
  expect(found(annaNow, 'resp_1')).toBe('local')
  expect(found(anna, 'resp_2')).toBe('not_found')
  for (const former of [undefined, [], ['d4'.repeat(32)]]) {
    for (const id of OWNERS.keys()) expect(found({ identity: BERT, former }, id)).toBe('not_found')
  }
})

test('nobody while nobody can say whose it is', () => {
  const asked = servingStored(AMONG, '/v1/responses/resp_1', anna, () =>
    refused('database_unavailable'),
  )
  expect(asked.ok || asked.code).toBe('database_unavailable')
})
