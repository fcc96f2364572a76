// What a body names and asks for, held against a device's list and cap over the wire.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { anthropicScene, asked, type DeviceScene, messages } from '../support/anthropic.ts'

let on: DeviceScene
let capped: string
let listed: string
let free: string
beforeAll(async () => {
  on = await anthropicScene()
  ;[capped, listed, free] = await Promise.all([
    on.device('--spend-cap', '20'),
    on.device('--models', 'claude-sonnet-*,claude-haiku-*'),
    on.device('--models', '*'),
  ])
})
afterAll(() => on.close())
beforeEach(() => {
  on.upstream.seen.length = 0
})

const OPUS = 'claude-opus-5'
const ADVISOR = { type: 'advisor_20260301', name: 'advisor', model: OPUS }

async function tried(token: string, members: object, path = '/v1/messages') {
  const body = JSON.stringify({ ...asked, ...members })
  const response = await messages(on.gate, token, body, {}, path)
  const { error } = (await response.json()) as { error?: { type: string; message: string } }
  return { status: response.status, type: error?.type, message: error?.message ?? '' }
}
const block = (type: string, media: string, bytes: number): object => ({
  messages: [
    {
      role: 'user',
      content: [
        {
          type,
          source: {
            type: 'base64',
            media_type: media,
            data: Buffer.alloc(bytes).toString('base64'),
          },
        },
      ],
    },
  ],
})

describe('a cap of $20', () => {
  test('lets through an image and a document of 2 MB with Opus', async () => {
    for (const [type, media] of [
      ['image', 'image/png'],
      ['document', 'application/pdf'],
    ] as const) {
      const body = { model: OPUS, max_tokens: 8192, ...block(type, media, 2_000_000) }
      expect([type, (await tried(capped, body)).status]).toEqual([type, 200])
    }
  })

  test('passes requests with a price, and refuses others by name', async () => {
    const fast = { model: OPUS, speed: 'fast' }
    expect((await tried(capped, fast)).status).toBe(200)
    expect((await tried(capped, { model: OPUS, inference_geo: 'us' })).status).toBe(200)
    const search = { type: 'web_search_20250305', name: 'web_search', max_uses: 8 }
    expect((await tried(capped, { model: OPUS, tools: [search] })).status).toBe(200)
    for (const [members, what] of [
      [
        { model: 'claude-haiku-4-5', speed: 'fast' },
        'claude-haiku-4-5 has no price for speed:fast',
      ],
      [{ inference_geo: 'mars' }, 'has no price for inference_geo:mars'],
      [{ service_tier: 'flex' }, 'has no price for service_tier:flex'],
      [
        { tools: [{ ...ADVISOR, model: 'claude-unheard-of' }] },
        'claude-unheard-of has no price at',
      ],
      [{ fallbacks: [{ model: 'gpt-9' }] }, 'gpt-9 has no price at'],
      [{ fallbacks: 'default' }, 'fallbacks "default"'],
      [{ tools: [{ type: 'oracle_20270101', name: 'o' }] }, 'a tool of type oracle_20270101'],
    ] as const) {
      const { status, type, message } = await tried(capped, members)
      expect([status, type, message]).toEqual([
        400,
        'invalid_request_error',
        expect.stringContaining(what),
      ])
    }
    expect(on.upstream.seen).toHaveLength(3)
  })

  test('counting tokens costs nothing, whatever is counted', async () => {
    const members = { fallbacks: 'default', speed: 'fast', tools: [{ type: 'oracle_20270101' }] }
    expect((await tried(capped, members, '/v1/messages/count_tokens')).status).toBe(200)
  })
})

describe('a list', () => {
  test('holds for every model that the body makes the API run', async () => {
    const addition = {
      type: 'tool_addition',
      tool: { type: 'tool_definition', definition: ADVISOR },
    }
    for (const members of [
      { tools: [ADVISOR] },
      { fallbacks: [{ model: 'claude-haiku-4-5' }, { model: OPUS }] },
      { models: ['claude-sonnet-5', OPUS] },
      { summary_model: OPUS },
      { messages: [...asked.messages, { role: 'system', content: [addition] }] },
    ]) {
      expect(await tried(listed, members)).toEqual({
        status: 404,
        type: 'not_found_error',
        message: `model: ${OPUS} (this token may use claude-sonnet-*, claude-haiku-*)`,
      })
    }
    expect(on.upstream.seen).toEqual([])
    const own = {
      tools: [
        { ...ADVISOR, model: 'claude-sonnet-5' },
        { name: 'model', input_schema: { model: OPUS } },
      ],
      fallbacks: [{ model: 'claude-haiku-4-5' }],
      metadata: { user_id: OPUS },
    }
    expect((await tried(listed, own)).status).toBe(200)
  })

  test('refuses unknown content; a list of all models passes it', async () => {
    for (const members of [{ fallbacks: 'default' }, { tools: [{ type: 'oracle_20270101' }] }]) {
      expect((await tried(listed, members)).status).toBe(400)
      expect((await tried(free, members)).status).toBe(200)
    }
  })
})
