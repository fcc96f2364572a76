// Upstreams that are asked which models they have, over the compiled binary: each request goes where its
// model is, a dead upstream takes nothing from the others, and a new model is found without a restart.

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import OpenAI from 'openai'
import { startIssuer } from '../../src/dev/issuer.ts'
import { start } from '../support/binary.ts'
import { HASH_KEY, UNLIMITED } from '../support/settings.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'
import { put, told } from '../process/reload-scene.ts'

const folder = mkdtempSync(join(tmpdir(), 'postern-asked-'))
const path = join(folder, 'postern.yaml')
const issuer = await startIssuer()
const MODELS: Record<string, readonly string[]> = { one: ['a-1', 'both'], two: ['b-1', 'both'] }
const servers: Record<string, Upstream> = {}
for (const name of ['one', 'two', 'dead']) {
  const upstream = await startUpstream()
  servers[name] = upstream
  upstream.respond((request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    const list = {
      object: 'list',
      data: (MODELS[name] ?? []).map((id) => ({ id, object: 'model' })),
    }
    const one = { id: request.url?.split('/').at(-1), object: 'model', owned_by: name }
    const chat = {
      id: 'c',
      object: 'chat.completion',
      choices: [{ index: 0, message: { role: 'assistant', content: name } }],
      usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
    }
    const answer = request.method === 'POST' ? chat : request.url === '/v1/models' ? list : one
    response.end(JSON.stringify(answer))
  })
}
const entry = (name: string, more = ''): string =>
  `  - { kind: openai, name: ${name}, base_url: '${servers[name]?.url}/v1', ask_models: true${more} }`
const document = (
  more = '',
): string => `issuers: [{ issuer: ${issuer.issuer}, jwks_url: ${issuer.jwksUrl}, audiences: [${issuer.audience}] }]
upstreams:
${entry('dead')}
${entry('one')}
${entry('two', more)}
ledger: { database_url: 'sqlite:${join(folder, 'postern.db')}', identity_hash_key: ${HASH_KEY} }
log: { format: json }
`
writeFileSync(path, document(), { mode: 0o600 })

let gate: Awaited<ReturnType<typeof start>>
let openai: OpenAI
beforeAll(async () => {
  await servers['dead']?.close()
  gate = await start({ ...UNLIMITED, POSTERN_CONFIG: path, DATABASE_URL: '' })
  openai = new OpenAI({ apiKey: await issuer.token(), baseURL: `${gate.url}/v1`, maxRetries: 0 })
})
afterAll(async () => {
  await gate.stop()
  for (const name of ['one', 'two']) await servers[name]?.close()
  await issuer.close()
  rmSync(folder, { recursive: true })
})

const answerer = async (model: string) =>
  openai.chat.completions.create({ model, messages: [{ role: 'user', content: 'hi' }] }).then(
    ({ choices }) => choices[0]?.message.content,
    ({ status, code }) => [status, code],
  )

test('each request goes to the upstream of its model', async () => {
  expect(await answerer('b-1')).toBe('two')
  expect(await answerer('a-1')).toBe('one')
  expect(await answerer('both')).toBe('one')
  // One that has told nothing may have it.
  expect(await answerer('c-1')).toEqual([502, 'upstream_unavailable'])
  const questions = servers['two']?.seen.filter(({ url }) => url === '/v1/models')
  expect(questions).toHaveLength(1)
})

test('the merged list leaves out only a dead upstream, and one model is requested from its own upstream', async () => {
  const { data } = await openai.models.list()
  expect(data.map(({ id }) => id)).toEqual(['a-1', 'both', 'b-1'])
  expect((await openai.models.retrieve('b-1')).owned_by).toBe('two')
  expect((await openai.models.retrieve('a-1')).owned_by).toBe('one')
})

test('the models that the settings allow change without a restart', async () => {
  expect(await answerer('b-1')).toBe('two')
  await told(gate, 'settings reloaded', () => put(path, document(', models: [both]')))
  expect(await answerer('b-1')).toEqual([502, 'upstream_unavailable'])
  await told(gate, 'settings reloaded', () => put(path, document()))
  expect(await answerer('b-1')).toBe('two')
})
