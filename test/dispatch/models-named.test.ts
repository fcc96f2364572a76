// Every place in which a body makes the API run a model, and every way in which one could be hidden;
// and that what is the caller's own (texts, schemas, arguments, metadata) is never taken for one.

import { describe, expect, test } from 'bun:test'
import type {
  RequestFields,
  UnreadableRequest,
} from '../../src/upstream/anthropic/request-fields.ts'
import { MODEL, readAll } from './bodies.ts'

/** All but the request's own. */
function named(body: string): string[] | UnreadableRequest {
  const read = readAll(body)
  if (typeof read === 'string') return read
  const { fallbacks, advisors, models } = read
  return [...[...fallbacks, ...advisors].map(({ model }) => model), ...models]
}
function fieldsOf(members: string): RequestFields {
  const read = readAll(`{${MODEL},"max_tokens":10,${members}}`)
  if (typeof read === 'string') throw new Error(`${members}: ${read}`)
  return read
}

const ADVISOR = '{"type":"advisor_20260301","name":"advisor","model":"opus"}'
const OPUS = ['opus']

describe('is found', () => {
  test.each([
    ['an advisor', `"tools":[{"name":"a","input_schema":{}},${ADVISOR}]`, OPUS],
    ['a later version of one', '"tools":[{"type":"advisor_20270101","model":"opus"}]', OPUS],
    ['the model of any other tool', '"tools":[{"name":"a","model":"opus"}]', OPUS],
    ['of a server tool', '"tools":[{"type":"web_search_20260318","model":"opus"}]', OPUS],
    ['a fallback', '"fallbacks":[{"model":"opus","max_tokens":5}]', OPUS],
    ['each of several', '"fallbacks":[{"model":"opus"},{"model":"sonnet"}]', ['opus', 'sonnet']],
    ['a fallback that is not a list', '"fallbacks":{"model":"opus"}', OPUS],
    ['a fallback by its name', '"fallbacks":["opus"]', OPUS],
    ['one fallback', '"fallback":"opus"', OPUS],
    ['under another name', '"fallback_models":["opus"]', OPUS],
    ['a list, as routers have it', '"models":["opus","sonnet"]', ['opus', 'sonnet']],
    ['a list in a list', '"models":[["opus"]]', OPUS],
    ['another model of the request', '"summary_model":"opus"', OPUS],
    ['in capitals', '"SummaryModel":"opus"', OPUS],
    ['in escapes', '"advisor_mod\\u0065l":"opus"', OPUS],
    ['with a letter that folds', '"\\u017fummary_mode\\u006c":"opus"', OPUS],
    ['with a letter of another script', '"summary_mo\\ud83d\\ude00del":"opus"', OPUS],
    ['by its id', '"model_id":"opus"', OPUS],
    ['by its name', '"modelName":"opus"', OPUS],
    ['deep in what nobody knows', '"x":{"y":[{"z":{"model":"opus"}}]}', OPUS],
    ['a sub-agent', '"agents":[{"name":"a","model":"opus","system":"…"}]', OPUS],
    ["a sub-agent's advisor", `"agents":[{"name":"a","tools":[${ADVISOR}]}]`, OPUS],
    ['in a container', '"container":{"id":"c","skills":[{"skill_id":"s","model":"opus"}]}', OPUS],
    ['in the thinking', '"thinking":{"type":"adaptive","model":"opus"}', OPUS],
    ['in an edit of the context', '"context_management":{"edits":[{"model":"opus"}]}', OPUS],
    ['in a compaction', '"compaction":{"type":"summarize","model":"opus"}', OPUS],
    ['in a server of tools', '"mcp_servers":[{"url":"https://x","model":"opus"}]', OPUS],
    ['in a batch', '"requests":[{"custom_id":"a","params":{"model":"opus"}}]', OPUS],
    [
      'a tool that a message adds',
      `"messages":[{"role":"system","content":[{"type":"tool_addition","tool":{"type":"tool_definition","definition":${ADVISOR}}}]}]`,
      OPUS,
    ],
    [
      'a tool that a compaction keeps',
      `"messages":[{"role":"assistant","content":[{"type":"compaction","tool_changes":[{"type":"tool_addition","tool":{"type":"tool_definition","definition":${ADVISOR}}}]}]}]`,
      OPUS,
    ],
    ['of a message', '"messages":[{"role":"user","content":"a","model":"opus"}]', OPUS],
    [
      'of a block',
      '"messages":[{"role":"user","content":[{"type":"agent","model":"opus"}]}]',
      OPUS,
    ],
    [
      'in the input of what is no call',
      '"messages":[{"content":[{"input":{"model":"opus"},"type":"agent"}]}]',
      OPUS,
    ],
    [
      'in the `to` of what is no fallback',
      '"messages":[{"content":[{"type":"agent","to":{"model":"opus"}}]}]',
      OPUS,
    ],
    ['of a block of the system', '"system":[{"type":"text","text":"a","model":"opus"}]', OPUS],
  ])('%s', (_name, members, models) => {
    expect(named(`{${MODEL},${members}}`)).toEqual(models)
    expect(named(`{${members},${MODEL}}`)).toEqual(models)
  })
})

describe("is the caller's own, and names nothing", () => {
  test.each([
    ['text', '"messages":[{"role":"user","content":"\\"model\\":\\"opus\\""}]'],
    [
      'a text block',
      '"messages":[{"role":"user","content":[{"type":"text","text":"model: opus"}]}]',
    ],
    [
      "a tool's schema",
      '"tools":[{"name":"run","input_schema":{"properties":{"model":{"type":"string"},"models":{"enum":["opus"]},"fallback_model":{"default":"opus"}},"required":["model"]}}]',
    ],
    [
      "a tool's examples and description",
      '"tools":[{"name":"run","description":"model","input_examples":[{"model":"opus"}]}]',
    ],
    ['tools of that name', '"tools":[{"name":"model"},{"name":"list_models"}]'],
    [
      'the members of a toolset',
      '"tools":[{"type":"mcp_toolset","mcp_server_name":"a","configs":{"list_models":{"enabled":true},"model":{"enabled":false}}}]',
    ],
    [
      "a call's arguments",
      '"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"run","input":{"model":"opus","models":["opus"],"fallbacks":[{"model":"opus"}]}}]}]',
    ],
    [
      "a server's call, its type last",
      '"messages":[{"role":"assistant","content":[{"input":{"model":"opus"},"name":"advisor","type":"server_tool_use"}]}]',
    ],
    [
      "a call's result",
      '"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":"{\\"model\\":\\"opus\\"}"}]}]',
    ],
    [
      'who answered before',
      '"messages":[{"role":"assistant","content":[{"type":"fallback","from":{"model":"opus"},"to":{"model":"sonnet"},"trigger":{"recommended_model":"opus"}}]}]',
    ],
    ['metadata', '"metadata":{"user_id":"{\\"model\\":\\"opus\\"}","model":"opus","Model":"x"}'],
    [
      'a format of answers',
      '"output_config":{"format":{"type":"json_schema","schema":{"properties":{"model":{"const":"opus"}}}}}',
    ],
    ['a token of credit', '"fallback_credit_token":"opus"'],
    ['a switch', '"use_model_defaults":true,"models_limit":3,"default_model":null'],
    ['sequences to stop at', '"stop_sequences":["model"]'],
    ['what lies around such names', '"x":{"mode":"a","modes":"b","remodeled":"c","fall":"d"}'],
  ])('%s', (_name, members) => {
    expect(named(`{${MODEL},${members}}`)).toEqual([])
  })
})

describe('is refused, for two parsers could read it differently', () => {
  test.each([
    ['an advisor with two models', '"tools":[{"type":"advisor_20260301","model":"a","model":"b"}]'],
    ['one in another case', '"tools":[{"type":"advisor_20260301","model":"a","Model":"b"}]'],
    ['one behind escapes', '"tools":[{"type":"advisor_20260301","model":"a","mod\\u0065l":"b"}]'],
    ['two types', '"tools":[{"type":"bash_20250124","type":"advisor_20260301"}]'],
    ['a type in another case', '"tools":[{"Type":"advisor_20260301"}]'],
    ['a fallback with two models', '"fallbacks":[{"model":"a","model":"b"}]'],
    ['two lists of tools', `"tools":[],"tools":[${ADVISOR}]`],
    ['tools in another case', `"Tools":[${ADVISOR}]`],
    ['Fallbacks', '"Fallbacks":[{"model":"a"}]'],
    ['messages with two contents', '"messages":[{"content":"a","content":[]}]'],
    [
      'an image with two sources',
      '"messages":[{"content":[{"type":"image","source":{},"source":{}}]}]',
    ],
    ['maxUses', '"tools":[{"type":"web_search_20260318","maxUses":1}]'],
  ])('%s', (_name, members) => {
    expect(named(`{${MODEL},${members}}`)).toBe('ambiguous_member')
  })

  test.each([
    ['a model that is not a string', '"fallbacks":[{"model":["a"]}]', 'wrong_model'],
    ['none', '"fallbacks":[{"max_tokens":1}]', 'wrong_model'],
    ['an advisor without one', '"tools":[{"type":"advisor_20260301"}]', 'wrong_model'],
    ['an object in an unknown place', '"summary_model":{"slug":"opus"}', 'wrong_model'],
    ['a blank in it', '"summary_model":"opus "', 'wrong_model'],
    ['a long one', `"summary_model":"${'o'.repeat(3000)}"`, 'wrong_model'],
    ['33 of them', `"models":[${'"a",'.repeat(32)}"a"]`, 'too_many_models'],
    [
      '33 fallbacks',
      `"fallbacks":[${'{"model":"a"},'.repeat(32)}{"model":"a"}]`,
      'too_many_models',
    ],
    ['uses that some read as a number', '"tools":[{"max_uses":"1"}]', 'wrong_count'],
    ['uses with a point', '"tools":[{"max_uses":1.0}]', 'wrong_count'],
    ['fewer than none', '"fallbacks":[{"model":"a","max_tokens":-1}]', 'wrong_count'],
    ['a million members', `"x":[${'{"a":1},'.repeat(500_000)}1]`, 'too_many_members'],
  ])('%s', (_name, members, reason) => {
    expect(named(`{${MODEL},${members}}`)).toBe(reason as UnreadableRequest)
  })
})

describe('unknown features are reported', () => {
  test.each([
    ['"tools":[{"type":"oracle_20270101","name":"o"}]', 'a tool of type oracle_20270101'],
    ['"tools":[{"type":"Web_Search_20260318"}]', 'a tool of type Web_Search_20260318'],
    ['"tools":[{"type":["advisor_20260301"]}]', 'a tool of type ?'],
    [
      `"tools":[{"type":"\\u001b[31m${'x'.repeat(200)}"}]`,
      `a tool of type ?[31m${'x'.repeat(95)}…`,
    ],
    ['"fallbacks":"default"', 'fallbacks "default", whose models the API chooses'],
    ['"Fallback":"default"', 'fallbacks "default", whose models the API chooses'],
  ])('%s', (members, what) => {
    expect(fieldsOf(members).unknown).toEqual([what])
  })

  test('known features are not reported', () => {
    const types = [
      'bash_20250124',
      'text_editor_20250728',
      'computer_20251124',
      'memory_20250818',
      'browser_toolset_20260801',
      'computer_toolset_20260801',
      'tool_search_tool_bm25',
      'tool_search_tool_regex_20251119',
      'web_search_20260318',
      'web_fetch_20260318',
      'code_execution_20260521',
      'mcp_toolset',
      'custom',
    ]
    const tools = types.map((type) => JSON.stringify({ type, name: type }))
    expect(fieldsOf(`"tools":[{"name":"a"},{"type":null},${tools}]`).unknown).toEqual([])
  })
})

describe('a model that is hidden in any object of a whole request', () => {
  const schema = { type: 'object', properties: { a: { type: 'string' } } }
  const image = { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'QUJD' } }
  const definition = { name: 'b', input_schema: schema, cache_control: { type: 'ephemeral' } }
  const request = {
    model: 'claude-haiku-4-5',
    max_tokens: 10,
    metadata: { user_id: 'u', more: {} },
    system: [{ type: 'text', text: 'a', cache_control: { type: 'ephemeral', ttl: '1h' } }],
    thinking: { type: 'adaptive' },
    tool_choice: { type: 'auto' },
    container: { id: 'c', skills: [{ type: 'anthropic', skill_id: 's' }] },
    context_management: { edits: [{ type: 'clear_tool_uses_20250919', keep: { value: 3 } }] },
    output_config: { effort: 'high', format: { type: 'json_schema', schema } },
    mcp_servers: [{ type: 'url', url: 'https://a', tool_configuration: { enabled: true } }],
    thread: { type: 'create' },
    tools: [
      { name: 'a', input_schema: schema, input_examples: [{ a: 'b' }] },
      { type: 'web_search_20260318', name: 'web_search', user_location: { type: 'approximate' } },
      { type: 'mcp_toolset', mcp_server_name: 'a', default_config: {}, configs: { a: {} } },
    ],
    messages: [
      { role: 'user', content: [{ type: 'text', text: 'a', citations: [{ type: 'x' }] }, image] },
      {
        role: 'assistant',
        content: [
          {
            type: 'tool_use',
            id: 'a',
            name: 'a',
            input: { a: { b: {} } },
            caller: { type: 'direct' },
          },
          { type: 'server_tool_use', id: 'b', name: 'web_search', input: { query: 'q' } },
          { type: 'web_search_tool_result', content: [{ type: 'web_search_result', url: 'u' }] },
          { type: 'fallback', from: { model: 'x' }, to: { model: 'y' }, trigger: { type: 'z' } },
          { type: 'compaction', tool_changes: [{ tool: { type: 'tool_definition', definition } }] },
        ],
      },
      {
        role: 'user',
        content: [
          { type: 'tool_result', tool_use_id: 'a', content: [{ type: 'text', text: 'a' }, image] },
          { type: 'document', source: { type: 'content', content: [image] }, citations: {} },
        ],
      },
      { role: 'system', content: [{ type: 'tool_addition', tool: { definition } }] },
    ],
    unheard_of: { of: [{ deep: { deeper: {} } }] },
  }
  /** The caller's own, by where it stands. */
  const OWN =
    /^metadata|\.format\b|\.input_schema\b|\.input_examples\b|\.configs\b|\.input\b|\.(?:from|to|trigger)$/

  /** Every object in it, with where it stands. */
  function* objectsIn(value: unknown, path: string): Generator<[path: string, object: object]> {
    if (typeof value !== 'object' || value === null) return
    if (!Array.isArray(value)) yield [path, value]
    for (const [name, each] of Object.entries(value)) {
      yield* objectsIn(
        each,
        Array.isArray(value) ? `${path}[]` : `${path}.${name}`.replace(/^\./, ''),
      )
    }
  }
  const paths = [...objectsIn(request, '')].map(([path]) => path)

  test.each(['model', 'models', 'fallback_model', 'advisorModel', 'MODEL'])('as %s', (name) => {
    expect(paths.length).toBeGreaterThan(60)
    expect(named(JSON.stringify(request))).toEqual([])
    for (const [at, path] of paths.entries()) {
      if (path === '' && name.toLowerCase() === 'model') continue
      const changed = structuredClone(request)
      const [, object] = [...objectsIn(changed, '')][at] ?? []
      Object.assign(object ?? {}, { [name]: 'hidden' })
      const found = named(JSON.stringify(changed))
      // Found by its name, or refused for the name is there twice.
      const seen = typeof found === 'string' || found.includes('hidden')
      expect([path, seen]).toEqual([path, !OWN.test(path)])
    }
  })
})
