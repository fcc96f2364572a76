// Upstreams of kind `openai` over the compiled binary: several, with their keys and models, by the
// official client; bytes as they are, both ways, and usage as each of them tells it.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import zlib from 'node:zlib'
import OpenAI from 'openai'
import { startIssuer } from '../../src/dev/issuer.ts'
import { type LogLine, runToEnd, start } from '../support/binary.ts'
import {
  type Flavour,
  KEYS,
  MODELS,
  type OpenAiServer,
  startServer,
  WORDS,
} from '../support/openai-servers.ts'
import { random, seeded } from '../support/random.ts'
import { HASH_KEY, UNLIMITED } from '../support/settings.ts'
import { eventually } from '../support/sink.ts'
import { put, told } from '../process/reload-scene.ts'

const folder = mkdtempSync(join(tmpdir(), 'postern-openai-'))
const path = join(folder, 'postern.yaml')
const issuer = await startIssuer()
const servers: Readonly<Record<Flavour, OpenAiServer>> = {
  vllm: await startServer('vllm', random(1)),
  azure: await startServer('azure', random(2)),
  openrouter: await startServer('openrouter', random(3)),
}
const keyFile = join(folder, 'azure.key')
writeFileSync(keyFile, `${KEYS.azure}\n`, { mode: 0o600 })
writeFileSync(
  path,
  `issuers:
  - issuer: ${issuer.issuer}
    jwks_url: ${issuer.jwksUrl}
    audiences: [${issuer.audience}]
    groups_claim: groups
upstreams:
  - kind: openai
    name: local
    base_url: ${servers.vllm.baseUrl}
    models: [Qwen/*, Llama-*]
  - kind: openai
    name: azure
    base_url: ${servers.azure.baseUrl}?api-version=preview
    api_key_file: ${keyFile}
    routes: [models, chat, responses, embeddings, moderations, images, conversations, stored_chat]
    key_header: api-key
    models: [gpt-*]
  - kind: openai
    name: router
    base_url: ${servers.openrouter.baseUrl}
    api_key: \${ROUTER_KEY}
    headers: ["HTTP-Referer: https://gate.example.com", "X-Title: postern"]
    routes: [chat]
policies:
  - { name: capped, usd_per_day: 0.05 }
  - { name: counted, require_stream_usage: true }
  - { name: told, tell_upstream: true }
rules:
  - { kind: user, group: counted, policy: counted }
  - { kind: user, group: told, policy: told }
  - { kind: user, group: capped, policy: capped }
ledger:
  database_url: sqlite:${join(folder, 'postern.db')}
  identity_hash_key: \${IHK}
log: { format: json }
`,
)
const NEWER_KEY = new Bun.CryptoHasher('sha256').update('newer').digest('hex')
const ENV = {
  ...UNLIMITED,
  POSTERN_CONFIG: path,
  ROUTER_KEY: KEYS.openrouter,
  IHK: HASH_KEY,
  DATABASE_URL: '',
}

let gate: Awaited<ReturnType<typeof start>>
let openai: OpenAI
beforeAll(async () => {
  gate = await start(ENV)
  openai = client(await issuer.token())
})
afterAll(async () => {
  await gate.stop()
  for (const { upstream } of Object.values(servers)) await upstream.close()
  await issuer.close()
  rmSync(folder, { recursive: true })
})

let lastId = ''
const client = (apiKey: string): OpenAI =>
  new OpenAI({
    apiKey,
    baseURL: `${gate.url}/v1`,
    maxRetries: 0,
    async fetch(url, init) {
      const answer = await fetch(url, init)
      lastId = answer.headers.get('x-request-id') ?? ''
      return answer
    },
  })
const MESSAGES = [{ role: 'user' as const, content: 'hi' }]
const FLAVOURS = Object.keys(servers) as Flavour[]
const NAMES: Readonly<Record<Flavour, string>> = {
  vllm: 'local',
  azure: 'azure',
  openrouter: 'router',
}

/** The log's line of the only request that `ask` makes. */
async function lineOf(ask: () => Promise<unknown>): Promise<LogLine> {
  await ask()
  return gate.logged(lastId)
}

describe('the official client', () => {
  for (const flavour of FLAVOURS) {
    const model = MODELS[flavour]
    const cached = flavour === 'vllm' ? 0 : 60
    const counted = {
      upstream: NAMES[flavour],
      usage: 'exact',
      input_tokens: 100 - cached,
      output_tokens: 20,
      cache_read_tokens: cached,
      ...(flavour !== 'vllm' && { reasoning_tokens: 8 }),
    }

    test(`${flavour}: chat, whole and streamed, goes to whom its model names, and is metered`, async () => {
      const whole = await lineOf(async () => {
        const answer = await openai.chat.completions.create({ model, messages: MESSAGES })
        expect(answer.choices[0]?.message.content).toBe(WORDS.join(''))
      })
      expect(whole).toMatchObject(counted)
      const asked = { model, messages: MESSAGES, stream: true } as const
      const streamed = await lineOf(async () => {
        const stream = await openai.chat.completions.create({
          ...asked,
          stream_options: { include_usage: true },
        })
        let text = ''
        for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? ''
        expect(text).toBe(WORDS.join(''))
      })
      expect(streamed).toMatchObject(counted)
      const silent = await lineOf(async () => {
        for await (const _ of await openai.chat.completions.create(asked)) continue
      })
      // One tells it all the same; of the others nothing is made up.
      if (flavour === 'openrouter') expect(silent).toMatchObject(counted)
      else expect([silent['usage'], silent['input_tokens']]).toEqual([undefined, undefined])
    })
  }

  test('responses and embeddings', async () => {
    for (const flavour of ['vllm', 'azure'] as const) {
      const model = MODELS[flavour]
      const counted = { input_tokens: 40, cache_read_tokens: 60, output_tokens: 20 }
      const whole = await lineOf(() => openai.responses.create({ model, input: 'hi' }))
      expect(whole).toMatchObject({ upstream: NAMES[flavour], usage: 'exact', ...counted })
      const streamed = await lineOf(async () => {
        for await (const _ of await openai.responses.create({ model, input: 'hi', stream: true }))
          continue
      })
      expect(streamed).toMatchObject({ usage: 'exact', reasoning_tokens: 8, ...counted })
      const embedded = await lineOf(() => openai.embeddings.create({ model, input: 'hi' }))
      expect(embedded).toMatchObject({ usage: 'exact', input_tokens: 9, output_tokens: 0 })
    }
  })

  test('images, whose response is larger than the held part, and moderations, which cost nothing', async () => {
    const pictures = await lineOf(() =>
      openai.images.generate({ model: 'gpt-image-1', prompt: 'a postern' }),
    )
    expect(pictures).toMatchObject({ usage: 'exact', input_tokens: 20, output_tokens: 1056 })
    const moderated = await lineOf(() =>
      openai.moderations.create({ model: 'gpt-mod', input: 'hi' }),
    )
    expect(moderated).toMatchObject({ status: 200, upstream: 'azure' })
    expect(moderated['input_tokens']).toBeUndefined()
  })

  test('the ledger has the price of a dated model, with cached tokens', async () => {
    const ask = () => openai.chat.completions.create({ model: 'gpt-4o', messages: MESSAGES })
    // 40 at $2.50, 60 at $1.25 and 20 at $10 a million.
    expect(await lineOf(ask)).toMatchObject({ model: 'gpt-4o-2024-08-06', cost_micro_usd: 375 })
    await eventually(async () => {
      const { stdout } = await runToEnd(['usage', '--json', '--by', 'model'], ENV)
      const { rows } = JSON.parse(stdout) as { rows: { key: string; reasoningTokens: number }[] }
      const found = rows.find(({ key }) => key === 'gpt-4o-2024-08-06')
      return (found?.reasoningTokens ?? 0) >= 8
    })
  })

  test('the lists of its upstreams in one, and one of their models', async () => {
    const listed = await lineOf(async () => {
      const { data } = await openai.models.list()
      expect(data.map(({ id }) => id)).toEqual([MODELS.vllm, MODELS.azure])
    })
    expect(listed).toMatchObject({ status: 200, end: 'complete', route: '/v1/models' })
    await openai.models.retrieve('gpt-4o')
    expect(servers.azure.upstream.seen.at(-1)?.url).toBe(
      '/openai/v1/models/gpt-4o?api-version=preview',
    )
  })

  test('a model that nobody serves, and a route that its upstream does not serve', async () => {
    const of = (asked: Promise<unknown>) =>
      asked.then(
        () => 200,
        (error) => error.status,
      )
    const deepseek = { model: MODELS.openrouter, input: 'hi' }
    expect(await of(openai.embeddings.create(deepseek))).toBe(404)
    const speech = { model: 'gpt-4o-mini-tts', input: 'hi', voice: 'alloy' }
    expect(await of(openai.audio.speech.create(speech))).toBe(404)
    expect(await of(openai.responses.retrieve('resp_1'))).toBe(404)
  })
})

describe("the upstream's request", () => {
  test('its own key in its own header, its path, query and headers, and nothing of the caller', async () => {
    for (const flavour of FLAVOURS) {
      await openai.chat.completions.create({ model: MODELS[flavour], messages: MESSAGES })
      const { url, headers } = servers[flavour].upstream.seen.at(-1) ?? { url: '', headers: {} }
      expect(url).toBe(
        {
          vllm: '/v1/chat/completions',
          azure: '/openai/v1/chat/completions?api-version=preview',
          openrouter: '/api/v1/chat/completions',
        }[flavour],
      )
      expect(Object.keys(headers).filter((name) => name.startsWith('x-stainless'))).toEqual([])
      expect(JSON.stringify(headers)).not.toContain('eyJ')
    }
    expect(servers.openrouter.upstream.seen.at(-1)?.headers).toMatchObject({
      'http-referer': 'https://gate.example.com',
      'x-title': 'postern',
    })
  })

  test('no key, and nothing of the account of the operator, comes back or is logged', async () => {
    const { response } = await openai.chat.completions
      .create({ model: 'gpt-4o', messages: MESSAGES })
      .withResponse()
    expect(response.headers.get('openai-organization')).toBeNull()
    expect(response.headers.get('x-ratelimit-remaining-requests')).toBeNull()
    expect(response.headers.get('openai-processing-ms')).toBe('12')
    expect(gate.output()).not.toContain('canary')
  })

  test(
    "passes the request's bytes unchanged, and the response's in any pieces",
    seeded(async (chance) => {
      const token = await issuer.token()
      for (let round = 0; round < 60; round += 1) {
        const flavour = chance.pick(FLAVOURS)
        const stream = chance.int(2) === 0
        const space = chance.pick(['', ' ', '\n\t', '\r\n'])
        const text =
          `${space}{"messages":${space}[{"role":"user","content":"\\u00e9 ü 🐤"}],` +
          `"stream":${stream},${space}"n" : 1,"model":"${MODELS[flavour]}"}${space}`
        const isZipped = chance.int(3) === 0
        const body = isZipped ? zlib.gzipSync(text) : Buffer.from(text)
        const answer = await fetch(`${gate.url}/v1/chat/completions`, {
          method: 'POST',
          headers: {
            authorization: `Bearer ${token}`,
            'content-type': chance.pick(['application/json', 'application/json; charset=utf-8']),
            ...(isZipped && { 'content-encoding': 'gzip' }),
          },
          body,
        })
        const came = Buffer.from(await answer.arrayBuffer())
        const { upstream, said } = servers[flavour]
        expect(upstream.seen.at(-1)?.body.equals(body)).toBe(true)
        expect(came.equals(said())).toBe(true)
      }
    }),
  )
})

describe('stored responses', () => {
  const of = (asked: Promise<unknown>) =>
    asked.then(
      () => 200,
      (error) => error.status,
    )

  test('are there for the caller whose request made them, at the upstream that keeps them', async () => {
    const other = client(await issuer.token({ sub: 'somebody-else' }))
    for (const flavour of ['vllm', 'azure'] as const) {
      const model = MODELS[flavour]
      const { id } = await openai.responses.create({ model, input: 'hi' })
      let streamed = ''
      for await (const event of await openai.responses.create({
        model,
        input: 'hi',
        stream: true,
      })) {
        if (event.type === 'response.created') streamed = event.response.id
      }
      for (const each of [id, streamed]) {
        expect((await openai.responses.retrieve(each)).id).toBe(each)
        expect(servers[flavour].upstream.seen.at(-1)?.url).toContain(`/responses/${each}`)
        expect((await openai.responses.inputItems.list(each)).data).toHaveLength(1)
        expect((await openai.responses.cancel(each)).status).toBe('cancelled')
        const seen = FLAVOURS.map((name) => servers[name].upstream.seen.length)
        expect(await of(other.responses.retrieve(each))).toBe(404)
        expect(await of(other.responses.cancel(each))).toBe(404)
        expect(await of(other.responses.delete(each))).toBe(404)
        expect(await of(other.responses.inputItems.list(each).asResponse())).toBe(404)
        // Nobody's, and what is no id.
        expect(await of(openai.responses.retrieve(`${each}0`))).toBe(404)
        expect(await of(openai.responses.retrieve('..%2Fmodels'))).toBe(404)
        expect(FLAVOURS.map((name) => servers[name].upstream.seen.length)).toEqual(seen)
        await openai.responses.delete(each)
        expect(servers[flavour].upstream.seen.at(-1)?.method).toBe('DELETE')
      }
    }
  })

  test('are named in bodies by that caller alone, and the request goes where they are kept', async () => {
    const other = client(await issuer.token({ sub: 'somebody-else' }))
    const model = MODELS.azure
    const { id } = await openai.responses.create({ model, input: 'hi' })
    const item = id.replace('resp', 'rs')
    const naming: readonly object[] = [
      { previous_response_id: id },
      { conversation: id },
      { conversation: { id } },
      { input: [{ type: 'item_reference', id: item }] },
      { input: [{ id: item }] },
      { input: [{ type: 'reasoning', id: item, summary: [] }] },
      { tools: [{ type: 'code_interpreter', container: id }] },
    ]
    for (const each of naming) {
      const asked = { model, input: 'hi', ...each }
      expect(await of(openai.responses.create(asked))).toBe(200)
      const seen = servers.azure.upstream.seen.length
      expect(await of(other.responses.create(asked))).toBe(404)
      expect(
        await of(
          openai.responses.create(
            JSON.parse(JSON.stringify(asked).replaceAll(id.slice(5), 'f'.repeat(32))),
          ),
        ),
      ).toBe(404)
      // Another upstream than the one that keeps it.
      expect(await of(openai.responses.create({ ...asked, model: MODELS.vllm }))).toBe(404)
      expect(servers.azure.upstream.seen.length).toBe(seen)
    }
    // Nothing is looked up of what the body holds itself.
    const told = [
      { type: 'message', role: 'assistant', id: 'msg_12345678', content: 'hi' },
      { type: 'reasoning', id: 'rs_12345678', summary: [], encrypted_content: 'gAAAA' },
      { type: 'function_call', id: 'fc_12345678', call_id: 'c', name: 'f', arguments: '{}' },
    ]
    expect(await of(other.responses.create({ model, input: told as never }))).toBe(200)
    const twice = `{"model":"${model}","input":"hi","previous_response_id":null,"previous_response_id":"${id}"}`
    const answer = await fetch(`${gate.url}/v1/responses`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${await issuer.token({ sub: 'somebody-else' })}`,
        'content-type': 'application/json',
      },
      body: twice,
    })
    expect(answer.status).toBe(400)
    expect(await answer.text()).toContain('ambiguous_body')
  })

  test('list the items of the request, which are known only then', async () => {
    const model = MODELS.azure
    const { id } = await openai.responses.create({ model, input: 'hi' })
    const input = [{ type: 'item_reference' as const, id: id.replace('resp_', 'msg_i') }]
    expect(await of(openai.responses.create({ model, input }))).toBe(404)
    expect((await openai.responses.inputItems.list(id)).data[0]?.id).toBe(input[0]?.id ?? '')
    expect(await of(openai.responses.create({ model, input }))).toBe(200)
    const other = client(await issuer.token({ sub: 'somebody-else' }))
    expect(await of(other.responses.create({ model, input }))).toBe(404)
  })

  test('are known as soon as their id has passed: a second connection cancels a stream', async () => {
    const other = client(await issuer.token({ sub: 'somebody-else' }))
    let ended = ''
    for await (const event of await openai.responses.create({
      model: MODELS.azure,
      input: 'hi',
      stream: true,
      background: true,
    })) {
      ended = event.type
      if (event.type !== 'response.created') continue
      expect(await of(other.responses.cancel(event.response.id))).toBe(404)
      expect(await of(openai.responses.cancel(event.response.id))).toBe(200)
    }
    expect(ended).toBe('response.completed')
  })

  test(
    'attack: ids of one caller are 404 for others, in a path and in a body',
    seeded(async (chance) => {
      const callers = await Promise.all(
        Array.from({ length: 8 }, async (_, at) => client(await issuer.token({ sub: `c${at}` }))),
      )
      const made: { readonly by: number; readonly flavour: Flavour; readonly id: string }[] = []
      for (let at = 0; at < 40; at += 1) {
        const by = chance.int(callers.length)
        const flavour = chance.pick(['vllm', 'azure'] as const)
        const { id } = await callers[by]!.responses.create({ model: MODELS[flavour], input: 'hi' })
        made.push({ by, flavour, id })
      }
      for (let round = 0; round < 400; round += 1) {
        const { by, flavour, id } = chance.pick(made)
        const at = chance.int(callers.length)
        const { responses } = callers[at]!
        const asked = { model: MODELS[flavour], input: 'hi' }
        const status = await of(
          chance.pick([
            () => responses.retrieve(id),
            () => responses.create({ ...asked, previous_response_id: id }),
            () =>
              responses.create({
                ...asked,
                input: [{ type: 'item_reference', id: id.replace('resp', 'msg') }],
              }),
          ])(),
        )
        expect([at === by, status]).toEqual([at === by, at === by ? 200 : 404])
      }
    }),
  )

  test('are found under a former identity key', async () => {
    const { id } = await openai.responses.create({ model: MODELS.azure, input: 'hi' })
    const newer = await start({ ...ENV, IHK: NEWER_KEY, IDENTITY_HASH_KEY_OLD: HASH_KEY })
    try {
      const at = async (sub: string) =>
        (
          await fetch(`${newer.url}/v1/responses/${id}`, {
            headers: { authorization: `Bearer ${await issuer.token(sub === '' ? {} : { sub })}` },
          })
        ).status
      await eventually(async () => (await at('')) === 200)
      expect(await at('somebody-else')).toBe(404)
    } finally {
      await newer.stop()
    }
  })

  test('are metered once, and asking again costs nothing', async () => {
    let id = ''
    const made = await lineOf(async () => {
      ;({ id } = await openai.responses.create({ model: 'gpt-4o', input: 'hi' }))
    })
    expect(made).toMatchObject({ upstream: 'azure', input_tokens: 40 })
    const again = await lineOf(() => openai.responses.retrieve(id))
    expect([again['upstream'], again['input_tokens']]).toEqual(['azure', undefined])
  })
})

test('a response names its upstream only to callers whose policy says so', async () => {
  const told = client(await issuer.token({ groups: ['told'], sub: 'told' }))
  for (const flavour of FLAVOURS) {
    const asked = { model: MODELS[flavour], messages: MESSAGES }
    const named = async (by: OpenAI, stream: boolean) => {
      const response = await by.chat.completions.create({ ...asked, stream }).asResponse()
      await response.arrayBuffer()
      return response.headers.get('postern-upstream')
    }
    for (const stream of [true, false]) {
      expect(await named(told, stream)).toBe(NAMES[flavour])
      expect(await named(openai, stream)).toBeNull()
    }
  }
})

test('a stored chat is for the caller who had it, whole and streamed', async () => {
  const of = (asked: Promise<unknown>) =>
    asked.then(
      () => 200,
      (error) => error.status,
    )
  const other = client(await issuer.token({ sub: 'somebody-else' }))
  const asked = { model: MODELS.azure, messages: MESSAGES, store: true }
  const { id } = await openai.chat.completions.create(asked)
  let streamed = ''
  for await (const { id: each } of await openai.chat.completions.create({
    ...asked,
    stream: true,
  })) {
    streamed = each
  }
  const unkept = await openai.chat.completions.create({ ...asked, model: MODELS.openrouter })
  expect(await of(openai.chat.completions.retrieve(unkept.id))).toBe(404)
  for (const each of [id, streamed]) {
    const asks = ({ chat: { completions } }: OpenAI): readonly (() => Promise<unknown>)[] => [
      () => completions.retrieve(each),
      () => completions.update(each, { metadata: { a: 'b' } }),
      () => completions.messages.list(each).asResponse(),
      () => completions.delete(each),
    ]
    for (const ask of asks(openai)) expect([ask, await of(ask())]).toEqual([ask, 200])
    expect(servers.azure.upstream.seen.at(-1)?.url).toStartWith(
      `/openai/v1/chat/completions/${each}`,
    )
    const seen = servers.azure.upstream.seen.length
    for (const ask of asks(other)) expect([ask, await of(ask())]).toEqual([ask, 404])
    expect(servers.azure.upstream.seen.length).toBe(seen)
  }
})

describe('conversations', () => {
  const of = (asked: Promise<unknown>) =>
    asked.then(
      () => 200,
      (error) => error.status,
    )
  const model = MODELS.azure

  test('belong to the caller who began them, with all their items', async () => {
    const other = client(await issuer.token({ sub: 'somebody-else' }))
    const { id } = await openai.conversations.create({ metadata: { of: 'mine' } })
    expect(id).toStartWith('conv_')
    const hi = { type: 'message' as const, role: 'user' as const, content: 'hi' }
    const page = await openai.conversations.items.create(id, { items: [hi] })
    const item = page.data[0]?.id ?? ''
    const inIt = { conversation_id: id }
    const asks = (by: OpenAI): readonly (() => Promise<unknown>)[] => [
      () => by.conversations.retrieve(id),
      () => by.conversations.update(id, { metadata: { a: 'b' } }),
      () => by.conversations.items.create(id, { items: [hi] }),
      () => by.conversations.items.list(id).asResponse(),
      () => by.conversations.items.retrieve(item, inIt),
      () => by.conversations.items.delete(item, inIt),
      () => by.responses.create({ model, input: 'hi', conversation: id }),
      () => by.responses.create({ model, input: [{ type: 'item_reference', id: item }] }),
      () => by.responses.inputTokens.count({ model, input: 'hi', conversation: id }),
      () => by.conversations.create({ items: [{ type: 'item_reference', id: item }] as never }),
      () => by.conversations.delete(id),
    ]
    for (const ask of asks(openai)) expect([ask, await of(ask())]).toEqual([ask, 200])
    const seen = servers.azure.upstream.seen.length
    for (const ask of asks(other)) expect([ask, await of(ask())]).toEqual([ask, 404])
    // What is another's goes into no conversation of one's own.
    const { id: own } = await other.conversations.create()
    const taking = { items: [{ type: 'item_reference', id: item }] as never }
    expect(await of(other.conversations.items.create(own, taking))).toBe(404)
    expect(servers.azure.upstream.seen.length).toBe(seen + 1)
    // No list of all, and nothing that is no id.
    const get = async (path: string) =>
      (
        await fetch(gate.url + path, {
          headers: { authorization: `Bearer ${await issuer.token()}` },
        })
      ).status
    expect(await get('/v1/conversations')).toBe(405)
    expect(await get(`/v1/conversations/${id}/items/..%2f`)).toBe(404)
    expect(await get(`/v1/conversations/-/items/${item}`)).toBe(404)
  })

  test('cost nothing by themselves, also for a caller with a cap', async () => {
    const capped = client(await issuer.token({ groups: ['capped'], sub: 'thrifty-too' }))
    const { id } = await capped.conversations.create({ metadata: {} })
    expect(await of(capped.conversations.update(id, { metadata: { a: 'b' } }))).toBe(200)
    expect(await gate.logged(lastId)).toMatchObject({ upstream: 'azure', status: 200 })
  })

  test('compacting is metered, counting is not', async () => {
    const compacted = await lineOf(() =>
      openai.responses.compact({ model, input: [{ role: 'user', content: 'hi' }] }),
    )
    expect(compacted).toMatchObject({ route: '/v1/responses/compact', input_tokens: 40 })
    const counted = await lineOf(() => openai.responses.inputTokens.count({ model, input: 'hi' }))
    expect([counted['status'], counted['input_tokens']]).toEqual([200, undefined])
    const { id } = await openai.responses.create({ model, input: 'hi' })
    const other = client(await issuer.token({ sub: 'somebody-else' }))
    for (const [by, status] of [
      [openai, 200],
      [other, 404],
    ] as const) {
      expect(await of(by.responses.compact({ model, previous_response_id: id }))).toBe(status)
    }
  })
})

describe('the operator', () => {
  test('changes a key under a running gate, and logs a refused one', async () => {
    const status = () =>
      openai.chat.completions.create({ model: 'gpt-4o', messages: MESSAGES }).then(
        () => 200,
        ({ status: found, code }) => [found, code],
      )
    await told(gate, 'settings reloaded', () => put(keyFile, 'another-canary-88'))
    expect(await status()).toEqual([502, 'upstream_auth'])
    expect(servers.azure.upstream.seen.at(-1)?.headers['api-key']).toBe('another-canary-88')
    await eventually(async () =>
      gate.lines().some(({ msg }) => String(msg).includes('the api_key of upstream azure')),
    )
    await told(gate, 'settings reloaded', () => put(keyFile, KEYS.azure))
    expect(await status()).toBe(200)
  })

  test('asks each upstream with `postern check`', async () => {
    const { exitCode, stdout, stderr } = await runToEnd(['check'], ENV)
    expect([exitCode, stderr]).toEqual([0, ''])
    for (const name of Object.values(NAMES)) {
      expect(stdout).toContain(`ok  ${name} /v1/models: status 200\n`)
    }
    expect(stdout).toContain('!!  local /v1/models: does not have Llama-*\n')
    expect(stdout).not.toContain('azure /v1/models: does not')
  })
})

test('in development mode an upstream without an address is answered from within', async () => {
  const own = join(folder, 'dev.yaml')
  writeFileSync(own, 'upstreams: [{ kind: openai, name: tools, models: [gpt-*] }]', { mode: 0o600 })
  const development = await start({
    DEV_MODE: 'true',
    POSTERN_CONFIG: own,
    DATABASE_URL: `sqlite:${join(folder, 'dev.db')}`,
  })
  try {
    const token = /ey[\w-]+\.[\w-]+\.[\w-]+/.exec(development.output())?.[0] ?? ''
    const local = new OpenAI({ apiKey: token, baseURL: `${development.url}/v1`, maxRetries: 0 })
    const weather = { type: 'function' as const, function: { name: 'weather' } }
    const asked = { model: 'gpt-4o-mini', messages: MESSAGES }
    const called = await local.chat.completions.create({ ...asked, tools: [weather] })
    expect(called.choices[0]?.finish_reason).toBe('tool_calls')
    const { data } = await local.models.list()
    expect(data.map(({ id }) => id)).toContain('gpt-4o-mini')
  } finally {
    await development.stop()
  }
})

describe('a cap on spending', () => {
  test("reserves a request's maximum cost, and settles its actual cost", async () => {
    const capped = client(await issuer.token({ groups: ['capped'], sub: 'thrifty' }))
    const ask = (more: object) =>
      capped.chat.completions.create({ model: 'gpt-4o', messages: MESSAGES, ...more })
    const of = (asked: Promise<unknown>) =>
      asked.then(
        () => 'ok',
        ({ status, code, error }) => [status, code ?? error?.code],
      )
    // 16,384 tokens of output at $10 are more than $0.05.
    expect(await of(ask({}))).toEqual([429, 'spend_cap_reached'])
    expect(await of(ask({ max_tokens: 100 }))).toBe('ok')
    expect(await of(ask({ max_completion_tokens: 1000, n: 5 }))).toEqual([429, 'spend_cap_reached'])
    expect(await of(ask({ max_tokens: 100, web_search_options: {} }))).toEqual([
      400,
      'unknown_cost',
    ])
    expect(
      await of(capped.chat.completions.create({ model: 'Llama-9', messages: MESSAGES })),
    ).toEqual([400, 'model_not_priced'])
    const me = await fetch(`${gate.url}/device`, {
      headers: {
        authorization: `Bearer ${await issuer.token({ groups: ['capped'], sub: 'thrifty' })}`,
      },
    })
    const { caps } = (await me.json()) as { caps: readonly { spent_micro_usd: number }[] }
    expect(JSON.stringify(caps)).toContain('375')
  })
})

test('a policy that requires stream usage gets it, or says what to set', async () => {
  const counted = client(await issuer.token({ groups: ['counted'], sub: 'counted' }))
  const ask = { model: 'gpt-4o', messages: MESSAGES }
  const before = servers.azure.upstream.seen.length
  for (const more of [{}, { stream_options: {} }, { stream_options: { include_usage: false } }]) {
    const asked = counted.chat.completions.create({ ...ask, ...more, stream: true })
    expect(await asked.catch((error) => error)).toMatchObject({
      status: 400,
      code: 'stream_usage_required',
      message: expect.stringContaining('set stream_options to {"include_usage": true}'),
    })
  }
  expect(servers.azure.upstream.seen).toHaveLength(before)
  const told = { ...ask, stream: true, stream_options: { include_usage: true } } as const
  const line = await lineOf(async () => {
    for await (const _ of await counted.chat.completions.create(told)) continue
  })
  expect(line).toMatchObject({ usage: 'exact', output_tokens: 20 })
  expect(servers.azure.upstream.seen.at(-1)?.body.toString()).toBe(JSON.stringify(told))
  expect((await counted.chat.completions.create(ask)).choices).toHaveLength(1)
  expect((await counted.embeddings.create({ model: 'gpt-4o', input: 'hi' })).data).toHaveLength(1)
})

test('so does the setting of the whole gate, but for policies that say otherwise', async () => {
  const own = join(folder, 'counted.yaml')
  writeFileSync(
    own,
    `issuers: [{ issuer: ${issuer.issuer}, jwks_url: ${issuer.jwksUrl}, audiences: [${issuer.audience}], groups_claim: groups }]
policies: [{ name: free, require_stream_usage: false }]
rules: [{ group: free, policy: free }]
`,
    { mode: 0o600 },
  )
  const strict = await start({
    ...UNLIMITED,
    POSTERN_CONFIG: own,
    OPENAI_UPSTREAM_URL: servers.vllm.baseUrl,
    REQUIRE_STREAM_USAGE: 'true',
    IDENTITY_HASH_KEY: HASH_KEY,
    DATABASE_URL: `sqlite:${join(folder, 'counted.db')}`,
  })
  try {
    const ask = async (groups: readonly string[]) =>
      fetch(`${strict.url}/v1/chat/completions`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${await issuer.token({ groups })}`,
          'content-type': 'application/json',
        },
        body: JSON.stringify({ model: MODELS.vllm, messages: MESSAGES, stream: true }),
      }).then(async (answer) => [answer.status, await answer.text()] as const)
    const [status, text] = await ask([])
    expect([status, text]).toEqual([400, expect.stringContaining('stream_usage_required')])
    const [free] = await ask(['free'])
    expect(free).toBe(200)
  } finally {
    await strict.stop()
  }
})
