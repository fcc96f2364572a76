// What the ledger says was used is what the upstream gave out: to the token, class by class, however
// the bytes came in pieces; and the bytes are the upstream's own.

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import zlib from 'node:zlib'
import { REMAINDER_TOKENS, tokensOf } from '../../src/upstream/reading/passed.ts'
import { howMany } from '../support/long.ts'
import { PATIENCE_MS } from '../support/patience.ts'
import { random, type Random, seeded } from '../support/random.ts'
import {
  type Device,
  ended,
  HAIKU,
  haikuCost,
  type LedgerScene,
  ledgerScene,
  NOTHING,
  sum,
  told,
  type Used,
} from './scene.ts'

/** What each recording says that it used, read by a human. */
const RECORDED: Readonly<Record<string, Used>> = {
  plain: { ...NOTHING, input: 25, output: 15 },
  'tool-use': { ...NOTHING, input: 10_682, output: 89 },
  cached: { input: 4, output: 7, cacheRead: 18_042, cacheCreation: 1536 },
  thinking: { ...NOTHING, input: 43, output: 282 },
  multibyte: { ...NOTHING, input: 61, output: 77 },
  decoy: { ...NOTHING, input: 12, output: 33 },
  compaction: { input: 203_000, output: 4500, cacheRead: 50, cacheCreation: 7 },
  'error-midway': { ...NOTHING, input: 31, output: 1, cacheRead: 900 },
}
const NAMES = Object.keys(RECORDED)
const ENCODE: Readonly<Record<string, (bytes: Buffer) => Buffer>> = {
  identity: (bytes) => bytes,
  gzip: (bytes) => zlib.gzipSync(bytes),
  br: (bytes) => zlib.brotliCompressSync(bytes),
  zstd: (bytes) => zlib.zstdCompressSync(bytes),
}
const ENCODINGS = Object.keys(ENCODE)
const STREAMS = howMany(150, 400)
const AT_ONCE = 24

let scene: LedgerScene
let device: Device
const given: Used[] = []

beforeAll(async () => {
  scene = await ledgerScene()
  device = await scene.device()
})
afterAll(() => scene.close())

const vector = (name: string): Buffer =>
  readFileSync(new URL(`../vectors/anthropic/${name}.sse`, import.meta.url))
const hash = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/** Of single bytes, of parts of lines, or of several events. */
function pieces(bytes: Buffer, chance: Random): Buffer[] {
  const most = chance.pick([1, 7, 40, 400, 4000])
  const cut: Buffer[] = []
  for (let at = 0; at < bytes.length;) {
    const size = 1 + chance.int(most)
    cut.push(bytes.subarray(at, at + size))
    at += size
  }
  return cut
}

test(
  `${STREAMS} recorded streams in random pieces and encodings: usage exact, bytes identical`,
  seeded(async (chance) => {
    const plan = Array.from({ length: STREAMS }, (_, index) => {
      const name = NAMES[index % NAMES.length] ?? ''
      const encoding = index % 2 === 0 ? 'identity' : chance.pick(ENCODINGS)
      const bytes = ENCODE[encoding]?.(vector(name)) ?? Buffer.alloc(0)
      return { name, encoding, bytes, cut: pieces(bytes, random(chance.int(2 ** 32))) }
    })
    scene.upstream.respond(async (_request, response, body) => {
      const { index } = JSON.parse(body.toString('utf8'))
      const { name, encoding, cut } = plan[index] ?? plan[0]!
      const coded = encoding === 'identity' ? {} : { 'content-encoding': encoding }
      response.writeHead(200, { 'content-type': 'text/event-stream', ...coded })
      given.push(RECORDED[name] ?? NOTHING)
      for (const piece of cut) {
        response.write(piece)
        await new Promise((resolve) => setImmediate(resolve))
      }
      response.end()
    })
    const queue = plan.keys()
    const one = async (): Promise<void> => {
      for (const index of queue) {
        const init = { decompress: false } as RequestInit
        const response = await device.post({ model: HAIKU, stream: true, index }, init)
        const body = await response.bytes()
        expect(response.status).toBe(200)
        expect(hash(body), plan[index]?.encoding).toBe(hash(plan[index]?.bytes ?? body))
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, one))
    const rows = await device.rows(given.length)
    for (const row of rows) {
      if (row['inputTokens'] === 1234) continue
      // One of them ends in an error event.
      const [usage, end] =
        row['inputTokens'] === 31 ? ['partial', 'upstream_error'] : ['exact', 'complete']
      expect([row['usage'], row['end']]).toEqual([usage, end])
      expect([row['status'], row['upstream']]).toEqual([200, 'anthropic'])
    }
  }),
  PATIENCE_MS,
)

test('whole messages too, encoded or not', async () => {
  const used = { input: 1234, output: 567, cacheRead: 89, cacheCreation: 10 }
  for (const encoding of ENCODINGS) {
    scene.upstream.respond((_request, response) => {
      given.push(used)
      const usage = { input_tokens: 1234, output_tokens: 567, cache_read_input_tokens: 89 }
      const body = { type: 'message', model: HAIKU, content: [{ type: 'text', text: 'é🐤' }] }
      const all = { ...body, usage: { ...usage, cache_creation_input_tokens: 10 } }
      const bytes = ENCODE[encoding]?.(Buffer.from(JSON.stringify(all)))
      const coded = encoding === 'identity' ? {} : { 'content-encoding': encoding }
      response.writeHead(200, { 'content-type': 'application/json', ...coded }).end(bytes)
    })
    const response = await device.post({ model: HAIKU })
    expect(await response.json()).toMatchObject({ content: [{ text: 'é🐤' }] })
  }
  const [last] = await device.rows(given.length)
  expect(last).toMatchObject({
    usage: 'exact',
    inputTokens: 1234,
    outputTokens: 567,
    cacheReadTokens: 89,
    cacheCreationTokens: 10,
    costMicroUsd: haikuCost(used),
    estimatedCostMicroUsd: null,
    model: HAIKU,
    route: '/v1/messages',
  })
})

test('counting tokens and listing models use nothing and cost nothing', async () => {
  scene.upstream.respond((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"input_tokens":77777}')
  })
  const before = (await scene.admin('/admin/stats'))['totalRequests']
  const other = await scene.device()
  const headers = { authorization: `Bearer ${other.token}`, 'anthropic-version': '2023-06-01' }
  await fetch(`${scene.gate.url}/v1/models`, { headers })
  await fetch(`${scene.gate.url}/v1/messages/count_tokens`, {
    method: 'POST',
    headers,
    body: JSON.stringify({ model: HAIKU }),
  })
  const rows = await other.rows(2)
  expect(rows.map((row) => [row['end'], row['inputTokens'], row['costMicroUsd']])).toEqual([
    ['complete', 0, null],
    ['complete', 0, null],
  ])
  await ended(scene, before + 2)
})

test("the ledger's sums are the upstream's own, by the API and by another process", async () => {
  await Bun.sleep(300)
  const total = sum(given)
  const stats = await scene.admin('/admin/stats')
  expect(stats).toMatchObject({
    totalInputTokens: total.input,
    totalOutputTokens: total.output,
    totalCacheReadTokens: total.cacheRead,
    totalCacheCreationTokens: total.cacheCreation,
  })
  const sums = await told(scene)
  expect(sums['tokens']).toEqual(total)
  expect(sums['requests']).toBe(stats['totalRequests'])
  expect(sums['costMicroUsd']).toBe(stats['totalCostMicroUsd'])
  const failed = given.filter((used) => used === RECORDED['error-midway']).length
  const output = failed * (tokensOf('I was about to'.length) + REMAINDER_TOKENS)
  expect(sums['estimate']).toEqual({ ...NOTHING, output, costMicroUsd: output * 25 })
  const byModel = await scene.command('usage', '--json', '--by', 'model')
  const { rows } = JSON.parse(byModel.stdout)
  const opus = rows.find(({ key }: { key: string }) => key === 'claude-opus-4-1-20250805')
  // 25 tokens in at 15 dollars a million, 15 out at 75.
  const plain = given.filter((used) => used === RECORDED['plain']).length
  expect(opus?.costMicroUsd ?? 0).toBe(plain * (25 * 15 + 15 * 75))
})
