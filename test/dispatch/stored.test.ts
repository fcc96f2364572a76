// Who reaches a stored response, and where.

import { expect, test } from 'bun:test'
import type { Served } from '../../src/dispatch/choose.ts'
import { pickingKept, servingStored } from '../../src/dispatch/stored.ts'
import { bodies } from '../../src/dispatch/bodies.ts'
import { referringTo } from '../../src/upstream/openai/references.ts'
import { seeded } from '../support/random.ts'
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

const ROOTS = [
  'responses',
  'conversations',
  'chat/completions',
  'files',
  'uploads',
  'batches',
  'vector_stores',
  'containers',
  'fine_tuning/jobs',
  'messages/batches',
]
/** By path: a body that names what is kept. */
const KEPT_BODIES: readonly (readonly [string, (id: string) => object])[] = [
  ['/v1/batches', (id) => ({ input_file_id: id })],
  ['/v1/vector_stores', (id) => ({ file_ids: [id] })],
  ['/v1/vector_stores/vs_1/files', (id) => ({ file_id: id })],
  ['/v1/vector_stores/vs_1/file_batches', (id) => ({ files: [{ file_id: id }] })],
  ['/v1/containers', (id) => ({ file_ids: [id] })],
  ['/v1/fine_tuning/jobs', (id) => ({ training_file: id })],
  ['/v1/responses', (id) => ({ tools: [{ vector_store_ids: [id] }] })],
  ['/v1/responses', (id) => ({ input: [{ content: [{ file_id: id }] }] })],
  ['/v1/chat/completions', (id) => ({ messages: [{ content: [{ file: { file_id: id } }] }] })],
  ['/v1/chat/completions', (id) => ({ messages: [{ audio: { id } }] })],
]

const anna = { identity: ANNA, former: undefined }
const annaNow = { identity: ANNA, former: ['d4'.repeat(32), ANNA_BEFORE] }

test('its own caller, at the upstream that stores it, if the caller reaches that upstream', () => {
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

test('nobody while its owner cannot be read', () => {
  const asked = servingStored(AMONG, '/v1/responses/resp_1', anna, () =>
    refused('database_unavailable'),
  )
  expect(asked.ok || asked.code).toBe('database_unavailable')
})

test(
  "attack: of 10,000 random pairs, no caller reaches another's object, in a path or in a body",
  seeded(async (random) => {
    const hex = () => random.int(2 ** 31).toString(16)
    const people = Array.from({ length: 50 }, (_, at) => ({
      identity: `p${at}`,
      former: [`f${at}`],
    }))
    const made = new Map(
      Array.from({ length: 500 }, (_, at) => {
        const whose = random.pick(people)
        const identity = random.int(4) === 0 ? (whose.former[0] ?? '') : whose.identity
        const prefix = random.pick([
          'resp',
          'conv',
          'msg',
          'cntr',
          'chatcmpl',
          'file',
          'batch',
          'vs',
        ])
        return [`${prefix}_${at}${hex()}`, { identity, upstream: random.pick(['azure', 'local']) }]
      }),
    )
    const ids = [...made.keys()]
    const ownerOf = (id: string) => granted(made.get(id))
    const reading = bodies(() => 1000)
    const pick = pickingKept(reading, ownerOf)
    const referring = (path: string) => referringTo(path, { hasFiles: true, keepsChats: true })
    const inspected = { sealed: false, length: undefined, maxBytes: 10_000 } as never
    const among = ['azure', 'local'].map(
      (name) => ({ upstream: { name, referring, inspect: () => granted(inspected) } }) as never,
    )
    for (let round = 0; round < 10_000; round += 1) {
      const who = random.pick(people)
      const id = random.int(10) === 0 ? `resp_${hex()}x` : random.pick(ids)
      const owner = made.get(id)
      const isOwn = owner?.identity === who.identity || owner?.identity === who.former[0]
      const root = random.pick(ROOTS)
      const below = random.pick(['', '/input_items', '/items/msg_1', '/content', '/results'])
      const on = servingStored(among, `/v1/${root}/${id}${below}`, who, ownerOf)
      expect(on.ok ? on.value.upstream.name : on.code).toBe(
        isOwn && owner ? owner.upstream : 'not_found',
      )
      const [to, named] = random.pick<readonly [to: string, named: object]>([
        ...KEPT_BODIES.map(([path, of]) => [path, of(id)] as const),
        ...[
          { previous_response_id: id },
          { conversation: { id } },
          {
            input: [
              { role: 'user', content: 'hi' },
              { type: 'item_reference', id },
            ],
          },
          { items: [{ id }] },
          { tools: [{ type: 'code_interpreter', container: id }] },
        ].map((each) => ['/v1/responses', each] as const),
      ])
      const body = JSON.stringify(named)
      const naming = {
        request: new Request(`http://gate.test${to}`, { method: 'POST', body }),
        path: to,
        inspected,
        among,
        held: undefined,
      }
      naming.request.headers.delete('content-type')
      const permitted = { admitted: who, reserved: { also() {}, release() {} } } as never
      const kept = await pick(permitted, naming, { bytesIn: 0 } as never)
      expect(kept.ok ? kept.value.among.map(({ upstream }) => upstream.name) : kept.code).toEqual(
        isOwn && owner ? [owner.upstream] : 'not_found',
      )
    }
  }),
)

test('attack: sound of another at the second upstream, of which the first would read nothing', async () => {
  const inspected = { sealed: false, length: undefined, maxBytes: 10_000 } as never
  const among = [false, true].map(
    (keepsChats) =>
      ({
        upstream: {
          name: keepsChats ? 'azure' : 'local',
          referring: (path: string) => referringTo(path, { hasFiles: true, keepsChats }),
          inspect: () => granted(inspected),
        },
      }) as never,
  )
  const ownerOf = (id: string) =>
    granted(id === 'audio_1' ? { identity: ANNA, upstream: 'azure' } : undefined)
  const pick = pickingKept(
    bodies(() => 1000),
    ownerOf,
  )
  const path = '/v1/chat/completions'
  const picked = async (identity: string): Promise<unknown> => {
    const body = JSON.stringify({ messages: [{ role: 'assistant', audio: { id: 'audio_1' } }] })
    const request = new Request(`http://gate.test${path}`, { method: 'POST', body })
    request.headers.delete('content-type')
    const permitted = {
      admitted: { identity },
      reserved: { also() {}, release() {} },
    } as never
    const naming = { request, path, inspected, among, held: undefined }
    const kept = await pick(permitted, naming, { bytesIn: 0 } as never)
    return kept.ok ? kept.value.among.map(({ upstream }) => upstream.name) : kept.code
  }
  expect(await picked(BERT)).toBe('not_found')
  expect(await picked(ANNA)).toEqual(['azure'])
})
