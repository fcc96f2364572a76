// What a body says of its cost, and the API's own reference: a place for a model or a kind of tool that
// comes into the SDK's types must come into the table too.

import { describe, expect, test } from 'bun:test'
import { MODEL, readAll } from './bodies.ts'
import type { RequestFields } from '../../src/upstream/anthropic/request-fields.ts'

function fieldsOf(members: string): RequestFields {
  const read = readAll(`{${MODEL},"max_tokens":10,${members}}`)
  if (typeof read === 'string') throw new Error(`${members}: ${read}`)
  return read
}
const content = (...blocks: object[]): string =>
  `"messages":[{"role":"user","content":${JSON.stringify(blocks)}}]`

describe('images and documents', () => {
  const data = 'QUJD'.repeat(1000)
  const image = { type: 'image', source: { type: 'base64', media_type: 'image/png', data } }
  const pdf = { type: 'document', source: { type: 'base64', media_type: 'application/pdf', data } }
  const bytesOf = (members: string): number =>
    Buffer.byteLength(`{${MODEL},"max_tokens":10,${members}}`)

  test('count by themselves, and not by their bytes, wherever they stand', () => {
    for (const [members, images, refers] of [
      [content(image), 1, false],
      [content(image, image), 2, false],
      [content({ source: image.source, type: 'image' }), 1, false],
      [content({ type: 'tool_result', content: [image] }), 1, false],
      [content({ type: 'document', source: { type: 'content', content: [image] } }), 1, false],
      [content(pdf), 0, true],
    ] as const) {
      const fields = fieldsOf(members)
      expect([fields.images, fields.refers]).toEqual([images, refers])
      expect(fields.textBytes).toBe(bytesOf(members) - Math.max(1, images) * (data.length + 2))
    }
  })

  test('content that only claims to be one keeps its bytes', () => {
    for (const members of [
      content({ type: 'text', source: image.source }),
      content({ type: 'image', source: { type: 'text', data } }),
      content({ type: 'document', source: { type: 'text', data } }),
      content({ type: 'tool_use', input: image }),
      `"x":${JSON.stringify(image)}`,
    ]) {
      expect(fieldsOf(members).textBytes).toBe(bytesOf(members))
    }
  })

  test('a document by URL or id, a thread that goes on and tools of a server refer to more', () => {
    for (const [members, refers] of [
      [content({ type: 'document', source: { type: 'url', url: 'https://a' } }), true],
      [content({ type: 'document', source: { type: 'file', file_id: 'f' } }), true],
      [content({ type: 'document', source: { type: 'text', data: 'a' } }), false],
      [content({ type: 'image', source: { type: 'url', url: 'https://a' } }), false],
      ['"thread":{"type":"create"}', false],
      ['"thread":{"type":"continue","previous_message_id":"m"}', true],
      ['"mcp_servers":[{"type":"url","url":"https://a","name":"a"}]', true],
      ['"mcp_servers":[]', false],
      ['"tools":[{"type":"web_search_20260318"}]', true],
      ['"tools":[{"type":"bash_20250124"}]', false],
    ] as const) {
      expect([members, fieldsOf(members).refers]).toEqual([members, refers])
    }
  })
})

test('a cache write is priced as requested, and an unknown time as the dearest', () => {
  const cached = (control: object | null) => content({ type: 'text', cache_control: control })
  for (const [members, write] of [
    ['"x":1', 'none'],
    [cached(null), 'none'],
    [cached({ type: 'ephemeral' }), '5m'],
    [cached({ type: 'ephemeral', ttl: '5m' }), '5m'],
    [cached({ type: 'ephemeral', ttl: '1h' }), '1h'],
    [cached({ type: 'ephemeral', ttl: '24h' }), '1h'],
    ['"cache_control":{"type":"ephemeral","ttl":"1h"},"system":[{"cache_control":{}}]', '1h'],
    ['"tools":[{"name":"a","cache_control":{"ttl":"1h"}}]', '1h'],
    [content({ type: 'tool_use', input: { cache_control: { ttl: '1h' } } }), 'none'],
    [content({ type: 'tool_result', content: [{ cache_control: { ttl: '1h' } }] }), '1h'],
  ] as const) {
    expect([members, fieldsOf(members).cacheWrite]).toEqual([members, write])
  }
})

test('price classes, and unknown values', () => {
  for (const [members, classes] of [
    ['"speed":"fast"', ['speed:fast']],
    ['"speed":"standard","service_tier":"auto","inference_geo":"global"', []],
    ['"speed":null,"inference_geo":null', []],
    ['"inference_geo":"us","speed":"fast"', ['speed:fast', 'inference_geo:us']],
    ['"speed":"f\\u0061st"', ['speed:fast']],
    ['"speed":1', ['speed:?']],
    [`"speed":"${'x'.repeat(5000)}"`, ['speed:?']],
    ['"service_tier":"flex"', ['service_tier:flex']],
  ] as const) {
    expect([members, fieldsOf(members).priceClasses]).toEqual([members, [...classes]] as never)
  }
})

test('the bounds of server tools, advisors and fallbacks', () => {
  const fields = fieldsOf(
    '"tools":[{"type":"web_search_20250305","max_uses":8},{"type":"web_search_20260318"},' +
      '{"type":"web_fetch_20260318","max_uses":2},{"type":"code_execution_20260521"},' +
      '{"type":"advisor_20260301","model":"opus","max_uses":2,"max_tokens":500,"caching":{"ttl":"1h"}},' +
      '{"type":"advisor_20260301","model":"opus","caching":{"type":"ephemeral"},"max_uses":null}],' +
      '"fallbacks":[{"model":"a"},{"model":"b","max_tokens":5,"speed":null},{"model":"c","speed":"fast"}],' +
      '"context_management":{"edits":[{"type":"clear_thinking_20251015"},{"type":"compact_20260112"}]}',
  )
  expect(fields).toMatchObject({
    serverTools: { web_search_requests: 18, web_fetch_requests: 2 },
    runsCode: true,
    compacts: true,
    advisors: [
      { model: 'opus', maxUses: 2, maxTokens: 500, cacheWrite: '1h' },
      { model: 'opus', maxUses: undefined, maxTokens: undefined, cacheWrite: '5m' },
    ],
    fallbacks: [
      { model: 'a', maxTokens: undefined, priceClasses: undefined },
      { model: 'b', maxTokens: 5, priceClasses: [] },
      { model: 'c', maxTokens: undefined, priceClasses: ['speed:fast'] },
    ],
  })
  expect(fieldsOf('"context_management":{"edits":[{"type":"clear_thinking_1"}]}').compacts).toBe(
    false,
  )
})

describe("the SDK's types", () => {
  const types = new URL('../../node_modules/@anthropic-ai/sdk/resources/', import.meta.url)
  const textOf = (file: string): Promise<string> => Bun.file(new URL(file, types)).text()
  /** By interface, its text without comments. */
  async function interfacesOf(file: string): Promise<[name: string, text: string][]> {
    const text = (await textOf(file)).replaceAll(/\/\*\*.*?\*\//gs, '')
    return [...text.matchAll(/^export interface (\w+)[^{]*\{\n(.*?)^\}/gms)].map(
      ([, name = '', body = '']) => [name, body],
    )
  }
  const FILES = ['beta/messages/messages.d.ts', 'messages/messages.d.ts']

  test('name a model in no place that is not in the table', async () => {
    const places = new Set<string>()
    for (const file of FILES) {
      for (const [name, text] of await interfacesOf(file)) {
        const member = /^ {4}(\w*(?:model|fallback)\w*)\??:/gim
        for (const [, found] of text.matchAll(member)) places.add(`${name}.${found}`)
      }
    }
    expect([...places].toSorted()).toEqual(
      [
        // Asked for.
        'BetaAdvisorTool20260301.model',
        'BetaFallbackParam.model',
        'MessageCountTokensParams.model',
        'MessageCreateParamsBase.fallback_credit_token',
        'MessageCreateParamsBase.fallbacks',
        'MessageCreateParamsBase.model',
        // Told in answers, and sent back.
        'BetaAdvisorMessageIterationUsage.model',
        'BetaFallbackInfo.model',
        'BetaFallbackInfoParam.model',
        'BetaFallbackMessageIterationUsage.model',
        'BetaMessage.model',
        'BetaMessageIterationUsage.model',
        'BetaRefusalStopDetails.fallback_credit_token',
        'BetaRefusalStopDetails.fallback_has_prefill_claim',
        'BetaRefusalStopDetails.recommended_model',
        'BetaUsage.fallback_credit',
        'BetaMessageDeltaUsage.fallback_credit',
        'Message.model',
      ].toSorted(),
    )
  })

  test('have no kind of tool that is unknown here', async () => {
    const found = new Set<string>()
    for (const file of FILES) {
      const byName = new Map(await interfacesOf(file))
      const unions = (await textOf(file)).matchAll(/^export type (?:Beta)?ToolUnion = (.*);$/gm)
      for (const [, union = ''] of unions) {
        for (const each of union.split(' | ')) {
          const type = /^ {4}type\??: (.*);$/m.exec(byName.get(each) ?? '')?.[1] ?? '?'
          for (const [, literal = ''] of type.matchAll(/'([^']*)'/g)) found.add(literal)
        }
      }
    }
    expect(found.size).toBeGreaterThan(20)
    for (const type of found) {
      const { unknown } = fieldsOf(`"tools":[{"type":"${type}","name":"a","model":"m"}]`)
      expect([type, unknown]).toEqual([type, []])
    }
  })

  test('have no other member of a request that changes its price', async () => {
    const all = new Map(await interfacesOf('beta/messages/messages.d.ts'))
    const request = all.get('MessageCreateParamsBase') ?? ''
    const members = [...request.matchAll(/^ {4}(\w+)\??:/gm)].map(([, name]) => name)
    // Whoever adds one here has looked at what it may run and cost.
    expect(members.toSorted()).toEqual([
      'betas',
      'billing_policy',
      'cache_control',
      'compaction',
      'container',
      'context_management',
      'diagnostics',
      'fallback_credit_token',
      'fallbacks',
      'inference_geo',
      'max_tokens',
      'mcp_servers',
      'messages',
      'metadata',
      'model',
      'output_config',
      'output_format',
      'service_tier',
      'speed',
      'stop_sequences',
      'stream',
      'system',
      'thinking',
      'thread',
      'tool_choice',
      'tools',
      'user_profile_id',
      'workspace_id',
    ])
  })
})
