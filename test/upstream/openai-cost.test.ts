// What an OpenAI-compatible request names and may cost, and what a list of models and a cap make of it.

import { describe, expect, test } from 'bun:test'
import { breaker } from '../../src/budget/breaker.ts'
import { charges } from '../../src/budget/charge.ts'
import { parsePrices } from '../../src/budget/price-table.ts'
import { HIDDEN_PROMPT_TOKENS } from '../../src/budget/prices.ts'
import { spendCaps } from '../../src/state/memory/spend.ts'
import { openAiCost } from '../../src/upstream/reading/openai-cost.ts'
import { type Said, somebody } from '../support/admitted.ts'
import { label, named } from '../support/named.ts'

const CHAT = '/v1/chat/completions'
const RESPONSES = '/v1/responses'
const IMAGES = '/v1/images/generations'
const read = (body: unknown, path = CHAT) =>
  openAiCost(path, Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)))
const said = (body: unknown, path = CHAT): unknown => {
  const found = read(body, path)
  return found.ok ? [found.value.model, ...found.value.models] : found.code
}
function costly(body: unknown, path = CHAT) {
  const found = read(body, path)
  if (!found.ok) throw new Error(found.code)
  return found.value
}

describe('the models that are named', () => {
  test.each(
    named<[object, readonly string[]]>(
      [
        [{ model: 'llama' }, ['llama']],
        [{ model: 'llama', metadata: { model: 'x' }, user: 'model' }, ['llama']],
        [{ model: 'llama', models: ['a', 'b'] }, ['llama', 'a', 'b']],
        [{ model: 'llama', fallbacks: ['a'] }, ['llama', 'a']],
        [{ model: 'llama', context_window_fallbacks: ['a'] }, ['llama', 'a']],
        [{ model: 'llama', provider: { allow_fallbacks: true } }, ['llama']],
        [{ model: 'llama', extra: { deep: [{ advisor_model: 'a' }] } }, ['llama', 'a']],
        [
          { model: 'llama', moderation: { model: 'omni-moderation-latest' } },
          ['llama', 'omni-moderation-latest'],
        ],
        [{ model: 'llama', tools: [{ type: 'image_generation', model: 'a' }] }, ['llama', 'a']],
        [
          {
            model: 'llama',
            messages: [
              { role: 'assistant', tool_calls: [{ function: { arguments: '{"model":"x"}' } }] },
            ],
            tools: [
              {
                type: 'function',
                function: { name: 'f', parameters: { properties: { model: {} } } },
              },
            ],
            response_format: { type: 'json_schema', json_schema: { schema: { model: 1 } } },
          },
          ['llama'],
        ],
        [{ model: 'llama', temperature: 0.5, stream: true, stream_options: { a: 1 } }, ['llama']],
      ],
      (body) => label(body),
    ),
  )('%s', (_, body, models) => expect(said(body)).toEqual(models))

  test('are read on each route whose body names one, and on no other', () => {
    const paths = ['completions', 'responses', 'embeddings', 'moderations', 'audio/speech']
    for (const path of paths)
      expect(said({ model: 'm', input: ['x'] }, `/v1/${path}`)).toEqual(['m'])
    expect(said({ model: 'm', prompt: 'x' }, IMAGES)).toEqual(['m'])
    // Forms are read as the JSON that they would be.
    const forms = ['audio/transcriptions', 'images/edits', 'images/variations', 'fine_tuning/jobs']
    for (const path of forms) {
      expect(said({ model: 'm' }, `/v1/${path}`)).toEqual(['m'])
    }
    for (const path of ['batches', 'responses/x/cancel', 'files', 'convert/file']) {
      expect(said({ model: 'm' }, `/v1/${path}`)).toBe('unknown_cost')
    }
  })
})

test.each([
  ['{"model":"good","model":"evil"}', 'ambiguous_body'],
  ['{"model":"good","Model":"evil"}', 'ambiguous_body'],
  [String.raw`{"model":"good","mod\u0065l":"evil"}`, 'ambiguous_body'],
  ['{"model":"good","max_tokens":1,"maxTokens":9999}', 'ambiguous_body'],
  ['{"model":"good","n":1,"N":128}', 'ambiguous_body'],
  ['{"model":"good"} {"model":"evil"}', 'ambiguous_body'],
  ['\u{feff}{"model":"good"}', 'ambiguous_body'],
  ['[]', 'ambiguous_body'],
  ['', 'ambiguous_body'],
  ['{}', 'invalid_model'],
  ['{"model":null}', 'invalid_model'],
  ['{"model":["good"]}', 'invalid_model'],
  ['{"model":"good "}', 'invalid_model'],
  ['{"model":"good","models":[{"id":"evil"}]}', 'invalid_model'],
  ['{"model":"good","context_window_fallbacks":[{"good":["evil"]}]}', 'invalid_model'],
  ['{"model":"good","max_tokens":1e3}', 'invalid_max_tokens'],
  ['{"model":"good","max_tokens":-1}', 'invalid_max_tokens'],
  ['{"model":"good","n":"128"}', 'invalid_count'],
])('attack: %p is no request', (body, code) => expect(said(body)).toBe(code))

describe('attack: a body of very many small values delays nobody', () => {
  const many = (each: string): string => `[${`${each},`.repeat(250_000)}${each}]`
  test.each([
    ['messages', '{}', CHAT],
    ['messages', '[]', CHAT],
    ['modalities', '"text"', CHAT],
    ['models', '"a"', CHAT],
    ['prompt', '"a"', '/v1/completions'],
    ['input', '"a"', '/v1/embeddings'],
  ])('%s of %s', (member, each, path) => {
    expect(said(`{"model":"m","${member}":${many(each)}}`, path)).toBe('ambiguous_body')
  })

  test('and tokens by their numbers are a prompt for each array', () => {
    const prompts = (body: string): unknown => costly(body, '/v1/embeddings').prompts
    expect(prompts(`{"model":"m","input":${many('7')}}`)).toBe(1)
    expect(prompts('{"model":"m","input":[[1,2],[3],[-4]]}')).toBe(3)
    expect(prompts('{"model":"m","input":["a","b",""]}')).toBe(3)
  })
})

describe('the bound of a response', () => {
  test.each<readonly [unknown, string, number | undefined, number]>([
    [{ max_completion_tokens: 7 }, CHAT, 7, 1],
    [{ max_tokens: 5, max_completion_tokens: 7, n: 3 }, CHAT, 7, 3],
    [{ max_tokens: null, n: null }, CHAT, undefined, 1],
    [{ max_output_tokens: 9 }, RESPONSES, 9, 1],
    [{ prompt: 'a' }, '/v1/completions', undefined, 1],
    [{ prompt: 'a', max_tokens: null }, '/v1/completions', undefined, 1],
    [{ prompt: ['a', 'b'], n: 2, best_of: 5, max_tokens: 3 }, '/v1/completions', 3, 10],
    [{ input: ['a', 'b'] }, '/v1/embeddings', 0, 2],
    [{ prompt: 'a', n: 4 }, IMAGES, undefined, 4],
  ])('%j', (body, path, maxTokens, answers) => {
    const found = costly({ model: 'm', ...(body as object) }, path)
    expect([found.maxTokens, found.answers]).toEqual([maxTokens, answers])
  })

  test.each<readonly [object, string, number | undefined, number]>([
    [{ max_tokens: 0 }, CHAT, undefined, 1],
    [{ max_completion_tokens: 0, max_tokens: 5 }, CHAT, undefined, 1],
    [{ max_tokens: 5, n: 0 }, CHAT, 5, 1],
    [{ max_tokens: 5, best_of: 9 }, CHAT, 5, 9],
    [{ max_tokens: 5, n_predict: 900 }, CHAT, 900, 1],
    [{ max_tokens: 5, max_new_tokens: 0 }, CHAT, undefined, 1],
    [{ num_predict: 5 }, CHAT, undefined, 1],
    [{ max_tokens: 5, n_predict: 900 }, '/v1/completions', 900, 1],
    [{ max_output_tokens: 5, n_predict: 900 }, RESPONSES, 900, 1],
    [{ max_output_tokens: 0 }, RESPONSES, undefined, 1],
  ])(
    'attack: %j is no less than what some server makes of it',
    (body, path, maxTokens, answers) => {
      const found = costly({ model: 'm', ...body }, path)
      expect([found.maxTokens, found.answers]).toEqual([maxTokens, answers])
    },
  )

  test('attack: an endless number is not a bound', () => {
    expect(said({ model: 'm', max_tokens: 5, n_predict: -1 })).toBe('invalid_max_tokens')
  })
})

test('pictures count by their number, and not by their base64', () => {
  const url = `data:image/png;base64,${'A'.repeat(100_000)}`
  for (const [path, body] of [
    [CHAT, { messages: [{ content: [{ type: 'image_url', image_url: { url } }] }] }],
    [RESPONSES, { input: [{ content: [{ type: 'input_image', image_url: url }] }] }],
    [
      RESPONSES,
      {
        input: [
          { type: 'computer_call_output', output: { type: 'computer_screenshot', image_url: url } },
        ],
      },
    ],
  ] as const) {
    const found = costly({ model: 'm', ...body }, path)
    expect([found.images, found.refers]).toEqual([1, false])
    expect(found.textBytes).toBeLessThan(300)
  }
  expect(
    costly({ model: 'm', input: [{ content: [{ type: 'input_image', file_id: 'f' }] }] }, RESPONSES)
      .images,
  ).toBe(1)
})

test('content that the body only refers to counts as a whole window', () => {
  const refers = (body: object, path = RESPONSES) => costly({ model: 'm', ...body }, path).refers
  expect(refers({ previous_response_id: 'resp_1' })).toBe(true)
  expect(refers({ previous_response_id: null, conversation: null })).toBe(false)
  expect(refers({ conversation: { id: 'c' } })).toBe(true)
  expect(refers({ input: [{ content: [{ type: 'input_file', file_url: 'https://x' }] }] })).toBe(
    true,
  )
  expect(refers({ input: [{ type: 'item_reference', id: 'x' }] })).toBe(true)
  expect(refers({ input: [{ type: 'web_search_call', id: 'x' }] })).toBe(true)
  expect(
    refers({ messages: [{ content: [{ type: 'video_url', video_url: { url: 'x' } }] }] }, CHAT),
  ).toBe(true)
  expect(
    refers(
      {
        messages: [
          { role: 'user', content: 'a' },
          { role: 'assistant', audio: null },
        ],
      },
      CHAT,
    ),
  ).toBe(false)
  expect(refers({ messages: [{ role: 'assistant', audio: { id: 'audio_1' } }] }, CHAT)).toBe(true)
})

test.each<readonly [object, boolean]>([
  [{ id: 'msg_1' }, true],
  [{ type: null, id: 'msg_1' }, true],
  [{ type: 'reasoning', id: 'rs_1', summary: [] }, true],
  [{ type: 'reasoning', id: 'rs_1', summary: [], encrypted_content: null }, true],
  [{ type: 'compaction', id: 'cmp_1' }, true],
  [{ type: 'compaction', id: 'cmp_1', encrypted_content: 'gAAAAA' }, false],
  [{ type: 'reasoning', id: 'rs_1', summary: [], encrypted_content: 'gAAAAA' }, false],
  [{ type: 'reasoning', content: [{ type: 'reasoning_text', text: 'x' }] }, false],
  [{ role: 'user', content: [{ file: { file_id: 'f' } }] }, true],
  [{ role: 'user', content: [{ video_url: { url: 'https://x' } }] }, true],
  [{ id: 'msg_1', role: 'assistant', content: 'a' }, false],
  [{ type: 'message', id: 'msg_1', role: 'assistant', content: [] }, false],
])('attack: an item without its type or its text: %j', (item, isKept) => {
  expect(costly({ model: 'm', input: [item] }, RESPONSES).refers).toBe(isKept)
})

test('audio, tiers and long caches are reported', () => {
  expect(costly({ model: 'm', modalities: ['text', 'audio'] }).media).toEqual(['audio'])
  expect(costly({ model: 'm', modalities: ['text'] }).media).toEqual([])
  expect(
    costly({ model: 'm', messages: [{ content: [{ type: 'input_audio', input_audio: {} }] }] })
      .media,
  ).toEqual(['audio'])
  expect(costly({ model: 'm', prompt: 'x' }, IMAGES).media).toEqual(['image'])
  const tier = (service_tier: unknown) => costly({ model: 'm', service_tier }).priceClasses
  expect([tier('flex'), tier('fast'), tier('priority')]).toEqual([
    ['service_tier:flex'],
    ['service_tier:priority'],
    ['service_tier:priority'],
  ])
  expect([tier('auto'), tier('default'), tier(null), tier(7)]).toEqual([
    [],
    [],
    [],
    ['service_tier:?'],
  ])
  expect(costly({ model: 'm' }).cacheWrite).toBe('5m')
  expect(costly({ model: 'm', prompt_cache_options: { ttl: '12h' } }).cacheWrite).toBe('1h')
})

test('features billed besides tokens are distinguished from features that run unknown models', () => {
  const told = (body: object, path = RESPONSES) => {
    const { unknown, unpriced } = costly({ model: 'm', ...body }, path)
    return [unknown.length, unpriced?.length]
  }
  expect(
    told({ tools: [{ type: 'function' }, { type: 'custom' }, { type: 'apply_patch' }] }),
  ).toEqual([0, 0])
  for (const type of [
    'web_search',
    'web_search_preview_2025_03_11',
    'file_search',
    'mcp',
    'shell',
  ]) {
    expect(told({ tools: [{ type }] })).toEqual([0, 1])
  }
  expect(told({ tools: [{ type: 'image_generation' }] })).toEqual([1, 0])
  expect(told({ tools: [{ type: 'oracle' }] })).toEqual([1, 0])
  expect(told({ background: true })).toEqual([0, 1])
  expect(told({ background: false, prompt: null })).toEqual([0, 0])
  expect(told({ prompt: { id: 'pmpt_1' } })).toEqual([0, 1])
  expect(told({ web_search_options: {} }, CHAT)).toEqual([0, 1])
  expect(told({ search_parameters: { mode: 'on' } }, CHAT)).toEqual([0, 1])
  expect(told({ enable_search: true }, CHAT)).toEqual([0, 1])
  expect(told({ enable_search: false }, CHAT)).toEqual([0, 0])
  expect(costly({ model: 'openai/gpt-4o:online' }).unpriced).toHaveLength(1)
  expect(told({ prediction: { type: 'content', content: 'x' } }, CHAT)).toEqual([0, 1])
  expect(told({ plugins: [{ id: 'web' }] }, CHAT)).toEqual([1, 0])
  expect(told({ input: 'say it' }, '/v1/audio/speech')).toEqual([0, 1])
  expect(told({ prompt: [1, 2] }, '/v1/completions')).toEqual([0, 1])
})

describe('decided', () => {
  /** A micro-dollar in, two out. */
  const RATES = { input: 1, output: 2, cache_read: 1, cache_write_5m: 1, cache_write_1h: 1 }
  const models = {
    llama: { ...RATES, max_output_tokens: 1000 },
    endless: RATES,
    small: { ...RATES, context_tokens: 4096 },
  }
  const parsed = parsePrices(JSON.stringify({ date: '2026-11-20', models }))
  if (!parsed.ok) throw new Error('prices')
  const { prices } = parsed
  const NOW = { epochSeconds: 1_800_000_000, monotonicMs: 0 }
  const decided = (own: Said, body: unknown, path = CHAT): unknown => {
    const found = read(body, path)
    if (!found.ok) return found.code
    const charged = {
      host: '',
      route: `POST ${CHAT}`,
      model: undefined,
      hasBody: true,
      sealed: false,
    }
    const all = charges({ caps: spendCaps(), prices })
    const taken = all.take(somebody('u', own), found.value, breaker(), charged, NOW)
    return taken.ok
      ? (taken.value.reservation?.amountMicroUsd ?? 'ok')
      : [taken.code, taken.message]
  }
  test.each([
    [{}, 'ok'],
    [{ stream: false }, 'ok'],
    [{ stream: null }, 'ok'],
    [{ stream: true }, 'stream_usage_required'],
    [{ stream: 'true' }, 'stream_usage_required'],
    [{ stream: 1 }, 'stream_usage_required'],
    [{ stream: true, stream_options: null }, 'stream_usage_required'],
    [{ stream: true, stream_options: {} }, 'stream_usage_required'],
    [{ stream: true, stream_options: { include_usage: false } }, 'stream_usage_required'],
    [{ stream: true, stream_options: { include_usage: 'true' } }, 'stream_usage_required'],
    [{ stream: true, stream_options: { include_usage: true } }, 'ok'],
    [{ stream: true, include_usage: true }, 'stream_usage_required'],
  ])('a policy that demands the usage of streams, and %j', (members, answer) => {
    const found = decided({ streamUsage: true }, { model: 'llama', ...members })
    expect([found].flat()[0]).toBe(answer)
    expect(decided({}, { model: 'llama', ...members })).toBe('ok')
  })
  test.each([
    '"stream":true,"stream":false',
    '"Stream":true',
    '"stream":true,"stream_options":{"include_usage":true,"include_usage":false}',
    '"stream":true,"stream_options":{"include_usage":true},"stream_options":{}',
    '"stream":true,"stream_options":{"include_usage":true},"streamOptions":{}',
  ])('is not talked round by %s', (members) => {
    expect(decided({ streamUsage: true }, `{"model":"llama",${members}}`)).toBe('ambiguous_body')
  })
  const LISTED = { models: ['llama*'] }
  const CAPPED = { person: { spendPerDay: 1e9 } }

  test("by a user's list, every model that is named", () => {
    expect(decided(LISTED, { model: 'llama-3' })).toBe('ok')
    expect(decided(LISTED, { model: 'llama', web_search_options: {} })).toBe('ok')
    for (const body of [{ model: 'gpt' }, { model: 'llama', models: ['gpt'] }]) {
      expect(decided(LISTED, body)).toEqual([
        'model_not_allowed',
        expect.objectContaining({ openai: expect.stringContaining('`gpt` does not exist') }),
      ])
    }
    expect(decided(LISTED, { model: 'llama', plugins: [{ id: 'auto' }] })).toContain('unknown_cost')
  })

  test('by a cap: the most that the request can cost is held', () => {
    const body = { model: 'llama', messages: [{ role: 'user', content: 'hi' }] }
    const prompt = (more: object) =>
      JSON.stringify({ ...body, ...more }).length + HIDDEN_PROMPT_TOKENS
    const bounded = { max_tokens: 10, n: 3 }
    expect(decided(CAPPED, { ...body, ...bounded })).toBe(prompt(bounded) + 3 * 10 * 2)
    expect(decided(CAPPED, body)).toBe(prompt({}) + 1000 * 2)
  })

  test('by a cap: texts that are read one by one fill a window each', () => {
    const input = ['a'.repeat(4000), 'b'.repeat(4000), [1, 2]]
    const body = { model: 'small', input }
    expect(decided(CAPPED, body, '/v1/embeddings')).toBe(
      JSON.stringify(body).length + HIDDEN_PROMPT_TOKENS,
    )
    expect(decided(CAPPED, { model: 'small', input: 'a'.repeat(9000) }, '/v1/embeddings')).toBe(
      4096,
    )
  })

  test('by a cap: a request without a price or a bound is refused, with the reason', () => {
    expect(decided(CAPPED, { model: 'unpriced' })).toEqual([
      'model_not_priced',
      expect.stringContaining('unpriced has no price'),
    ])
    expect(decided(CAPPED, { model: 'endless' })).toEqual(['max_tokens_required', undefined])
    expect(decided(CAPPED, { model: 'endless', max_tokens: 5 })).toBeNumber()
    expect(decided(CAPPED, { model: 'llama', service_tier: 'flex' })).toContain('model_not_priced')
    expect(decided(CAPPED, { model: 'llama', web_search_options: {} })).toEqual([
      'unknown_cost',
      expect.stringContaining('a search of the web'),
    ])
  })
})
