// Files, uploads, batches, vector stores, containers and jobs over the compiled binary, by the official
// clients: their own caller has them, for everybody else there are none, and nothing of it went out.

import Anthropic from '@anthropic-ai/sdk'
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import OpenAI, { toFile } from 'openai'
import { startIssuer } from '../../src/dev/issuer.ts'
import { start } from '../support/binary.ts'
import { type ObjectServer, startObjectServer } from '../support/object-server.ts'
import { put, told } from '../process/reload-scene.ts'
import { HASH_KEY, UNLIMITED } from '../support/settings.ts'

const folder = mkdtempSync(join(tmpdir(), 'postern-objects-'))
const path = join(folder, 'postern.yaml')
const issuer = await startIssuer()
const server: ObjectServer = await startObjectServer()
const { upstream } = server
const ALL = 'batches, files, uploads, vector_stores, containers, fine_tuning'

const DOCUMENT = `issuers:
  - issuer: ${issuer.issuer}
    jwks_url: ${issuer.jwksUrl}
    audiences: [${issuer.audience}]
    groups_claim: groups
upstreams:
  - kind: openai
    base_url: ${upstream.url}/v1
    api_key: \${KEY}
    callers: [user]
    routes: [models, chat, responses, images, stored_chat, ${ALL}]
  - kind: anthropic
    base_url: ${upstream.url}
    api_key: \${KEY}
    callers: [user]
    routes: [messages, batches, files]
policies:
  - { name: keeper, routes: [models, chat, responses, images, messages, stored_chat, ${ALL}] }
  - { name: listed, routes: [chat, images, batches, files, fine_tuning], models: [gpt-4o] }
  - { name: capped, routes: [chat, images, batches, files, fine_tuning, vector_stores, containers], usd_per_day: 1 }
rules:
  - { kind: user, group: keepers, policy: keeper }
  - { kind: user, group: listed, policy: listed }
  - { kind: user, group: capped, policy: capped }
ledger:
  database_url: sqlite:${join(folder, 'postern.db')}
  identity_hash_key: \${IHK}
log: { format: json }
`
writeFileSync(path, DOCUMENT)
const ENV = {
  ...UNLIMITED,
  POSTERN_CONFIG: path,
  IHK: HASH_KEY,
  KEY: 'key-of-the-operator-canary',
  JWT_SECRET: 'jb14c1c0cb6f6712bb79b1472159b7b51',
  DATABASE_URL: '',
}

let gate: Awaited<ReturnType<typeof start>>
let anna: OpenAI
let bert: OpenAI
let carl: OpenAI
const clientOf = async (sub: string, ...groups: string[]): Promise<OpenAI> =>
  new OpenAI({
    apiKey: await issuer.token({ sub, groups }),
    baseURL: `${gate.url}/v1`,
    maxRetries: 0,
  })
const anthropicOf = (of: OpenAI): Anthropic =>
  new Anthropic({ authToken: of.apiKey, apiKey: null, baseURL: gate.url, maxRetries: 0 })

beforeAll(async () => {
  gate = await start(ENV)
  anna = await clientOf('anna', 'keepers')
  bert = await clientOf('bert', 'keepers')
  carl = await clientOf('carl')
})
afterAll(async () => {
  await gate.stop()
  await upstream.close()
  await issuer.close()
  rmSync(folder, { recursive: true })
})

/** The status, and whether anything reached the upstream. */
async function asked(
  ask: () => Promise<unknown>,
): Promise<[status: number, code: string, went: number]> {
  upstream.seen.length = 0
  const told = await ask().then(
    () => ({ status: 200, code: '' }),
    (error: { status?: number; code?: string; message: string }) => error,
  )
  return [told.status ?? 0, String(told.code ?? ''), upstream.seen.length]
}
const NOT_THERE = [404, 'not_found', 0]
const upload = (by: OpenAI, text = '{}\n') =>
  toFile(Buffer.from(text), 'a.jsonl').then((file) => by.files.create({ file, purpose: 'batch' }))

interface Made {
  readonly file: string
  readonly upload: string
  readonly part: string
  readonly batch: string
  readonly store: string
  readonly inStore: string
  readonly container: string
  readonly cfile: string
  readonly job: string
}

async function make(by: OpenAI): Promise<Made> {
  const { id: file } = await upload(by)
  const begun = await by.uploads.create({
    bytes: 2,
    filename: 'a',
    mime_type: 'text/plain',
    purpose: 'batch',
  })
  const data = await toFile(Buffer.from('hi'), 'part')
  const part = await by.uploads.parts.create(begun.id, { data })
  const batch = await by.batches.create({
    completion_window: '24h',
    endpoint: '/v1/chat/completions',
    input_file_id: file,
  })
  const store = await by.vectorStores.create({ file_ids: [file] })
  const inStore = await by.vectorStores.fileBatches.create(store.id, { file_ids: [file] })
  const container = await by.containers.create({ name: 'c', file_ids: [file] })
  const cfile = await by.containers.files.create(container.id, { file_id: file })
  const job = await by.fineTuning.jobs.create({ model: 'gpt-4o', training_file: file })
  return {
    file,
    upload: begun.id,
    part: part.id,
    batch: batch.id,
    store: store.id,
    inStore: inStore.id,
    container: container.id,
    cfile: cfile.id,
    job: job.id,
  }
}

/** Every request that names one of them, in its path. */
const byPath = (of: OpenAI, made: Made): readonly (() => Promise<unknown>)[] => [
  () => of.files.retrieve(made.file),
  () => of.files.content(made.file),
  () => of.uploads.complete(made.upload, { part_ids: [made.part] }),
  () => of.uploads.cancel(made.upload),
  () => of.batches.retrieve(made.batch),
  () => of.batches.cancel(made.batch),
  () => of.vectorStores.retrieve(made.store),
  () => of.vectorStores.update(made.store, { name: 'n' }),
  () => of.vectorStores.search(made.store, { query: 'q' }),
  () => of.vectorStores.files.list(made.store),
  () => of.vectorStores.files.create(made.store, { file_id: made.file }),
  () => of.vectorStores.files.retrieve(made.file, { vector_store_id: made.store }),
  () => of.vectorStores.files.content(made.file, { vector_store_id: made.store }),
  () => of.vectorStores.files.delete(made.file, { vector_store_id: made.store }),
  () => of.vectorStores.fileBatches.retrieve(made.inStore, { vector_store_id: made.store }),
  () => of.vectorStores.fileBatches.listFiles(made.inStore, { vector_store_id: made.store }),
  () => of.vectorStores.fileBatches.cancel(made.inStore, { vector_store_id: made.store }),
  () => of.containers.retrieve(made.container),
  () => of.containers.files.list(made.container),
  () => of.containers.files.retrieve(made.cfile, { container_id: made.container }),
  () => of.containers.files.content.retrieve(made.cfile, { container_id: made.container }),
  () => of.fineTuning.jobs.retrieve(made.job),
  () => of.fineTuning.jobs.listEvents(made.job),
  () => of.fineTuning.jobs.checkpoints.list(made.job),
  () => of.fineTuning.jobs.pause(made.job),
  () => of.fineTuning.jobs.resume(made.job),
  () => of.fineTuning.jobs.cancel(made.job),
  () => of.containers.files.delete(made.cfile, { container_id: made.container }),
  () => of.containers.delete(made.container),
  () => of.vectorStores.delete(made.store),
  () => of.files.delete(made.file),
]
const user = (content: object) => ({
  model: 'gpt-4o',
  messages: [{ role: 'user' as const, content: [content as never] }],
})
const input = (content: object) => ({
  model: 'gpt-4o',
  input: [{ role: 'user' as const, content: [content as never] }],
})
/** In its body. */
const byBody = (of: OpenAI, { file, store, container, part }: Made, own: Made) => [
  () =>
    of.batches.create({ completion_window: '24h', endpoint: '/v1/responses', input_file_id: file }),
  () => of.vectorStores.create({ file_ids: [file] }),
  () => of.vectorStores.files.create(own.store, { file_id: file }),
  () => of.vectorStores.fileBatches.create(own.store, { files: [{ file_id: file }] }),
  () => of.containers.create({ name: 'c', file_ids: [file] }),
  () => of.containers.files.create(own.container, { file_id: file }),
  () =>
    of.fineTuning.jobs.create({ model: 'gpt-4o', training_file: own.file, validation_file: file }),
  () => of.uploads.complete(own.upload, { part_ids: [own.part, part] }),
  () => of.chat.completions.create(user({ type: 'file', file: { file_id: file } })),
  () => of.responses.create(input({ type: 'input_file', file_id: file })),
  () => of.responses.create(input({ type: 'input_image', file_id: file, detail: 'auto' })),
  () =>
    of.responses.create({
      model: 'gpt-4o',
      input: 'hi',
      tools: [{ type: 'file_search', vector_store_ids: [store] }],
    }),
  () =>
    of.responses.create({
      model: 'gpt-4o',
      input: 'hi',
      tools: [{ type: 'code_interpreter', container: { type: 'auto', file_ids: [file] } }],
    }),
  () =>
    of.responses.create({
      model: 'gpt-4o',
      input: 'hi',
      tools: [{ type: 'code_interpreter', container }],
    }),
]

describe('OpenAI’s', () => {
  test('belong to the caller whose request made them', async () => {
    const [annas, berts] = [await make(anna), await make(bert)]
    for (const [at, ask] of byPath(bert, annas).entries()) {
      expect([at, ...(await asked(ask))]).toEqual([at, ...NOT_THERE])
    }
    for (const [at, ask] of byBody(bert, annas, berts).entries()) {
      expect([at, ...(await asked(ask))]).toEqual([at, ...NOT_THERE])
    }
    for (const [at, ask] of byBody(anna, annas, annas).entries()) {
      expect([at, ...(await asked(ask))]).toEqual([at, 200, '', 1])
    }
    for (const [at, ask] of byPath(anna, annas).entries()) {
      expect([at, ...(await asked(ask))]).toEqual([at, 200, '', 1])
    }
  })

  test('what a batch has written, and an upload has become, is its caller’s', async () => {
    const { batch, upload: begun, part } = await make(anna)
    const { output_file_id: output = '' } = await anna.batches.retrieve(batch)
    expect(await asked(() => bert.files.content(output))).toEqual(NOT_THERE as never)
    server.contents.set(output, Buffer.from([1, 2, 254, 10]))
    const content = await (await anna.files.content(output)).bytes()
    expect([...content]).toEqual([1, 2, 254, 10])
    const usage = { prompt_tokens: 7, completion_tokens: 1 }
    const body = { model: 'gpt-4o', choices: [], usage }
    const line = { id: 'batch_req_1', custom_id: 'a', response: { status_code: 200, body } }
    server.contents.set(output, Buffer.from(`${JSON.stringify(line)}\n`))
    for (const tokens of [7, undefined]) {
      await anna.files.content(output).then((answer) => answer.text())
      const lines = await gate.relayed('/v1/files/:id/content')
      expect(lines.at(-1)?.['input_tokens']).toBe(tokens as never)
    }
    const { file } = await anna.uploads.complete(begun, { part_ids: [part] })
    expect(await asked(() => anna.files.retrieve(file?.id ?? ''))).toEqual([200, '', 1])
  })

  test('attack: what a file says of itself makes nothing its caller’s', async () => {
    const { id } = await upload(anna)
    server.contents.set(id, Buffer.from('{"id":"file-of-somebody","object":"file"}'))
    await anna.files.content(id)
    expect(await asked(() => anna.files.retrieve('file-of-somebody'))).toEqual(NOT_THERE as never)
  })

  test('sound that was said in another’s chat is not there', async () => {
    const chat = (of: OpenAI, id: string) =>
      of.chat.completions.create({
        model: 'gpt-4o',
        messages: [{ role: 'assistant', audio: { id } }],
      })
    const first = await anna.chat.completions.create(user({ type: 'text', text: 'hi' }))
    const id = first.choices[0]?.message.audio?.id ?? ''
    expect(await asked(() => chat(bert, id))).toEqual(NOT_THERE as never)
    expect(await asked(() => chat(anna, id))).toEqual([200, '', 1])
  })

  test('all of it is refused where no policy names it', async () => {
    expect(await asked(() => upload(carl))).toEqual([403, 'route_not_allowed', 0])
    expect(await asked(() => carl.batches.retrieve('batch_123456'))).toEqual(NOT_THERE as never)
  })

  test('a file goes up as it came, however large', async () => {
    const large = Buffer.alloc(3_000_000, 'abc\r\n')
    upstream.seen.length = 0
    await anna.files.create({ file: await toFile(large, 'large.bin'), purpose: 'user_data' })
    const [{ body, headers } = { body: Buffer.alloc(0), headers: {} }] = upstream.seen
    expect(body.indexOf(large)).toBeGreaterThan(0)
    expect(headers['content-type']).toStartWith('multipart/form-data; boundary=')
  })

  test('a limit on models or spending holds where a batch’s file hides the models', async () => {
    const listed = await clientOf('lisa', 'listed')
    const capped = await clientOf('cora', 'capped')
    const create = (of: OpenAI, input_file_id: string) =>
      of.batches.create({ completion_window: '24h', endpoint: '/v1/responses', input_file_id })
    for (const of of [listed, capped]) {
      const { id } = await upload(of)
      expect(await asked(() => create(of, id))).toEqual([400, 'unknown_cost', 0])
    }
    const train = (of: OpenAI, model: string, training_file: string) =>
      of.fineTuning.jobs.create({ model, training_file })
    const { id } = await upload(listed)
    expect(await asked(() => train(listed, 'gpt-4o', id))).toEqual([200, '', 1])
    expect(await asked(() => train(listed, 'o9', id))).toEqual([404, 'model_not_found', 0])
    const { id: other } = await upload(capped)
    expect(await asked(() => train(capped, 'gpt-4o', other))).toEqual([400, 'unknown_cost', 0])
    expect(await asked(() => capped.vectorStores.create({}))).toEqual([400, 'unknown_cost', 0])
    expect(await asked(() => capped.containers.create({ name: 'c' }))).toEqual([
      400,
      'unknown_cost',
      0,
    ])
  })

  test('a form passes a list of models, which its field `model` is held to', async () => {
    const listed = await clientOf('lisa', 'listed')
    const edit = async (model: string) => {
      const image = await toFile(Buffer.from([137, 80]), 'a.png', { type: 'image/png' })
      return listed.images.edit({ model, prompt: 'p', image: [image], n: 1 })
    }
    expect(await asked(() => edit('gpt-4o'))).toEqual([200, '', 1])
    expect(await asked(() => edit('gpt-image-9'))).toEqual([404, 'model_not_found', 0])
  })
})

test('a model whose name has slashes is asked for as the client wrote it', async () => {
  const asks = async (path: string) => {
    upstream.seen.length = 0
    const headers = { authorization: `Bearer ${anna.apiKey}` }
    const { status } = await fetch(`${gate.url}/v1/models/${path}`, { headers })
    return [status, upstream.seen[0]?.url]
  }
  const sdk = async (model: string) => {
    upstream.seen.length = 0
    await anna.models.retrieve(model)
    return upstream.seen[0]?.url
  }
  expect(await sdk('openai/gpt-4o')).toBe('/v1/models/openai%2Fgpt-4o')
  expect(await sdk('accounts/fireworks/models/x')).toBe(
    '/v1/models/accounts%2Ffireworks%2Fmodels%2Fx',
  )
  expect(await asks('openai/gpt-4o')).toEqual([200, '/v1/models/openai/gpt-4o'])
  for (const odd of [
    'a%2F..%2Fb',
    'a%252Fb',
    'a%2F',
    '%2Fa',
    'a%2fb%20',
    'a%2Fb%2Fc%2Fd%2Fe',
    'a/..%2Fb',
  ]) {
    expect([odd, ...(await asks(odd))]).toEqual([odd, 404, undefined])
  }
})

test('attack: an idempotency key of one caller is not that of another', async () => {
  const sent = async (by: OpenAI, key: string): Promise<unknown> => {
    upstream.seen.length = 0
    const headers = { 'idempotency-key': key }
    await by.chat.completions.create(user({ type: 'text', text: 'hi' }), { headers })
    return upstream.seen[0]?.headers['idempotency-key']
  }
  const first = await sent(anna, 'key-1')
  expect(first).toMatch(/^[0-9a-f]{64}$/)
  expect(await sent(anna, 'key-1')).toBe(first)
  expect(await sent(anna, 'key-2')).not.toBe(first)
  expect(await sent(bert, 'key-1')).not.toBe(first)
})

describe('Anthropic’s', () => {
  test('files and batches belong to the caller whose request made them', async () => {
    const [annas, berts] = [anthropicOf(anna), anthropicOf(bert)]
    const { id: file } = await annas.files.upload({ file: await toFile(Buffer.from('x'), 'x') })
    const requests = (file_id: string) => [
      {
        custom_id: 'a',
        params: {
          model: 'claude-sonnet-5',
          max_tokens: 5,
          messages: [
            {
              role: 'user' as const,
              content: [{ type: 'document' as const, source: { type: 'file', file_id } as never }],
            },
          ],
        },
      },
    ]
    const { id: batch } = await annas.messages.batches.create({ requests: requests(file) })
    const asks = (of: Anthropic) => [
      () => of.messages.create(requests(file)[0]?.params as never),
      () => of.messages.batches.create({ requests: requests(file) }),
      () => of.files.retrieveMetadata(file),
      () => of.files.download(file),
      () => of.messages.batches.retrieve(batch),
      () => of.messages.batches.cancel(batch),
      () => of.messages.batches.delete(batch),
      () => of.files.delete(file),
    ]
    for (const [at, ask] of asks(berts).entries()) {
      const [status, , went] = await asked(ask)
      expect([at, status, went]).toEqual([at, 404, 0])
    }
    for (const [at, ask] of asks(annas).entries()) {
      expect([at, ...(await asked(ask))]).toEqual([at, 200, '', 1])
    }
  })

  test('results come by the SDK from the gate, and count once', async () => {
    const annas = anthropicOf(anna)
    const params = { model: 'claude-sonnet-5', max_tokens: 5, messages: [] }
    const { id } = await annas.messages.batches.create({ requests: [{ custom_id: 'a', params }] })
    const seen = await annas.messages.batches.retrieve(id)
    expect(seen.results_url).toBe(`/v1/messages/batches/${id}/results`)
    const usage: unknown[] = []
    for (const round of [1, 2]) {
      const read: string[] = []
      for await (const { custom_id } of await annas.messages.batches.results(id)) {
        read.push(custom_id)
      }
      expect([round, read]).toEqual([round, ['a', 'b']])
      const lines = await gate.relayed('/v1/messages/batches/:id/results')
      usage.push(lines.at(-1)?.['input_tokens'])
    }
    expect(usage).toEqual([6, undefined])
  })

  test('a container, and what code has written in it, are its caller’s', async () => {
    const [annas, berts] = [anthropicOf(anna), anthropicOf(bert)]
    const message = { model: 'claude-sonnet-5', max_tokens: 5, messages: [] }
    const first = await annas.messages.create(message)
    const { id: container } = (first as never as { container: { id: string } }).container
    const again = { ...message, container }
    const said = {
      ...message,
      messages: [{ role: 'assistant' as const, content: first.content as never }],
    }
    const statusOf = async (ask: () => Promise<unknown>) => (await asked(ask))[0]
    expect(await statusOf(() => berts.messages.create(again as never))).toBe(404)
    expect(await statusOf(() => annas.messages.create(again as never))).toBe(200)
    expect(await statusOf(() => berts.files.download('file_that_code_wrote'))).toBe(404)
    expect(await statusOf(() => annas.files.download('file_that_code_wrote'))).toBe(200)
    expect(await statusOf(() => annas.messages.create(said))).toBe(200)
  })
})

test('a reload decides anew whether files are the callers’ or the operator’s', async () => {
  const named = user({ type: 'file', file: { file_id: 'file-of-the-operator' } })
  const ask = () => asked(() => anna.chat.completions.create(named))
  const without = DOCUMENT.replaceAll(`stored_chat, ${ALL}]`, 'stored_chat]')
  expect(await ask()).toEqual(NOT_THERE as never)
  await told(gate, 'settings reloaded', () => put(path, without))
  expect(await ask()).toEqual([200, '', 1])
  const [status, , went] = await asked(() => upload(anna))
  expect([status, went]).toEqual([403, 0])
  await told(gate, 'settings reloaded', () => put(path, DOCUMENT))
  expect(await ask()).toEqual(NOT_THERE as never)
  expect(await asked(() => upload(anna))).toEqual([200, '', 1])
})
