// However a request ends, its row is closed once, with that end, and with as much of its usage as was
// seen; what was seen is never more than the upstream gave out.

import { afterAll, beforeAll, beforeEach, expect, test } from 'bun:test'
import { Database } from 'bun:sqlite'
import { type DevIssuer, startIssuer } from '../../src/dev/issuer.ts'
import { REMAINDER_TOKENS } from '../../src/upstream/reading/passed.ts'
import { freePort } from '../support/anthropic.ts'
import { usersOf } from '../support/settings.ts'
import { bearer, eventually } from '../support/sink.ts'
import {
  answerUnary,
  beginStream,
  delta,
  type Device,
  endStream,
  event,
  HAIKU,
  haikuCost,
  type Json,
  type LedgerScene,
  ledgerScene,
  leaveAtOnce,
  leaveMidway,
  NOTHING,
  refuseWith,
  told,
} from './scene.ts'

const BODY = { model: HAIKU, max_tokens: 100, stream: true }
const USED = { input: 100, output: 50, cacheRead: 300, cacheCreation: 20 }
/** All of it but the end of the output: `message_start` says that one token was written. */
const SEEN = { ...USED, output: 1 }

let scene: LedgerScene
let issuer: DevIssuer
let device: Device

beforeAll(async () => {
  issuer = await startIssuer()
  scene = await ledgerScene({
    ...usersOf(issuer),
    TINFOIL_API_KEY: 'tinfoil-key-canary',
    REQUIRE_EHBP: 'false',
    MAX_PAYLOAD_SIZE: '200000',
    HEADERS_TIMEOUT_SECONDS: '1',
    IDLE_TIMEOUT_SECONDS: '1',
  })
  await scene.gate.stop()
  await restart()
})
afterAll(async () => {
  await scene.close()
  await issuer.close()
})
beforeEach(async () => {
  scene.upstream.seen.length = 0
  device = await scene.device()
})

const restart = (more: Readonly<Record<string, string>> = {}): Promise<void> =>
  scene.restart({ TINFOIL_BASE_URL: scene.upstream.url, ...more })

const measured = ({ input, output, cacheRead, cacheCreation } = SEEN) => ({
  inputTokens: input,
  outputTokens: output,
  cacheReadTokens: cacheRead,
  cacheCreationTokens: cacheCreation,
  costMicroUsd: haikuCost({ input, output, cacheRead, cacheCreation }),
})
/** Every byte of BODY a token at a micro-dollar, 2048 besides; the output at five. */
const reserved = JSON.stringify(BODY).length + 2048 + BODY.max_tokens * 5
/** One delta of eleven bytes, and the remainder. */
const MADE = Math.ceil(11 / 3) + REMAINDER_TOKENS
const beyond = { estimatedOutputTokens: MADE, estimatedCostMicroUsd: MADE * 5 }
const nothing = { inputTokens: null, outputTokens: null, costMicroUsd: null }

test('a client that leaves midway: partial, with the counts so far', async () => {
  scene.upstream.respond((_request, response) => {
    beginStream(response, USED)
    delta(response)
  })
  await leaveMidway(device, BODY)
  const [row] = await device.rows(1)
  expect(row).toMatchObject({ end: 'client_gone', usage: 'partial', status: 200, ...measured() })
  expect(row?.['firstByteMs']).toBeNumber()
})

test('a client that leaves before the first byte: unknown', async () => {
  scene.upstream.respond(() => {})
  await leaveAtOnce(scene, device, BODY)
  const [row] = await device.rows(1)
  expect(row).toMatchObject({ end: 'client_gone', usage: 'unknown', status: null, ...nothing })
})

test('an upstream that dies midway: partial', async () => {
  scene.upstream.respond((request, response) => {
    beginStream(response, USED)
    delta(response)
    setTimeout(() => request.socket.destroy(), 20)
  })
  const capped = await scene.device('--spend-cap', '1')
  // That it sees the break in the end is shown elsewhere; it takes four seconds.
  for (const each of [device, capped]) void (await each.post(BODY)).bytes().catch(() => {})
  const ending = { end: 'upstream_error', usage: 'partial', status: 200, ...measured() }
  expect((await device.rows(1))[0]).toMatchObject({ ...ending, ...beyond })
  // Under a cap the body was read: no more than max_tokens can have been made.
  const [row] = await capped.rows(1)
  const left = BODY.max_tokens - SEEN.output
  expect(row).toMatchObject({ ...ending, estimatedCostMicroUsd: left * 5 })
})

test('an upstream that falls silent midway: partial, and a timeout', async () => {
  scene.upstream.respond((_request, response) => {
    beginStream(response, USED)
    delta(response)
  })
  void (await device.post(BODY)).bytes().catch(() => {})
  const [row] = await device.rows(1)
  expect(row).toMatchObject({ end: 'timeout', usage: 'partial', status: 200, ...measured() })
})

test('an upstream that never answers: unknown, 504; under a cap, the reservation', async () => {
  scene.upstream.respond(() => {})
  const capped = await scene.device('--spend-cap', '1')
  const responses = await Promise.all([device.post(BODY), capped.post(BODY)])
  expect(responses.map(({ status }) => status)).toEqual([504, 504])
  const ending = { end: 'timeout', status: 504, ...nothing }
  expect((await device.rows(1))[0]).toMatchObject({ ...ending, usage: 'unknown' })
  const charged = { usage: 'estimated', estimatedCostMicroUsd: reserved }
  expect((await capped.rows(1))[0]).toMatchObject({ ...ending, ...charged })
})

test('an upstream that closes at once: unknown, 502', async () => {
  scene.upstream.respond((request) => void request.socket.destroy())
  expect((await device.post(BODY)).status).toBe(502)
  const [row] = await device.rows(1)
  expect(row).toMatchObject({ end: 'upstream_error', usage: 'unknown', status: 502, ...nothing })
})

test('an unreachable upstream: 502, and certainly no usage', async () => {
  await scene.gate.stop()
  await restart({ ANTHROPIC_BASE_URL: `http://127.0.0.1:${await freePort()}` })
  const before = await told(scene)
  expect((await device.post(BODY)).status).toBe(502)
  const [row] = await device.rows(1)
  expect(row).toMatchObject({ end: 'upstream_error', usage: 'exact', status: 502 })
  expect(row).toMatchObject({ inputTokens: 0, outputTokens: 0, costMicroUsd: 0 })
  await scene.gate.stop()
  await restart()
  const { requests, unknown, unpriced } = await told(scene)
  expect({ requests: requests - before['requests'], unknown, unpriced }).toEqual({
    requests: 1,
    unknown: before['unknown'],
    unpriced: before['unpriced'],
  })
})

test("the upstream's own errors pass as they came, and have no usage", async () => {
  for (const status of [400, 404, 413, 429, 500, 503, 529]) {
    scene.upstream.respond((_request, response) => refuseWith(response, status))
    const response = await device.post(BODY)
    expect([response.status, await response.text()]).toEqual([
      status,
      '{"type":"error","error":{"type":"api_error","message":"as it came"}}',
    ])
  }
  const rows = await device.rows(7)
  expect(rows.map((row) => row['status'])).toEqual([529, 503, 500, 429, 413, 404, 400])
  for (const row of rows)
    expect(row).toMatchObject({ end: 'complete', usage: 'unknown', ...nothing })
  expect((await device.own())['stats'].successRate).toBe(0)
})

test('an error inside a stream is an error, and leaves its usage partial', async () => {
  scene.upstream.respond((_request, response) => {
    beginStream(response, USED)
    response.end('event: error\ndata: {"type":"error","error":{"type":"overloaded_error"}}\n\n')
  })
  await (await device.post(BODY)).text()
  const [row] = await device.rows(1)
  expect(row).toMatchObject({ end: 'upstream_error', usage: 'partial', ...measured() })
  expect(row).toMatchObject({ estimatedOutputTokens: REMAINDER_TOKENS })
  const line = scene.gate.lines().find((each) => each['request_id'] === row?.['requestId'])
  expect(line).toMatchObject({ level: 'error', end: 'upstream_error', reason: 'overloaded_error' })
  expect((await device.own())['stats'].successRate).toBe(0)
})

test('an error in the place of an answer is an error too, and costs nothing', async () => {
  const capped = await scene.device('--spend-cap', '1')
  scene.upstream.respond((_request, response) => refuseWith(response, 200))
  expect((await capped.post(BODY)).status).toBe(200)
  const [row] = await capped.rows(1)
  expect(row).toMatchObject({ end: 'upstream_error', status: 200, usage: 'unknown', ...nothing })
  expect(row).toMatchObject({ estimatedCostMicroUsd: null })
})

test("the response's price class and tools are charged and recorded", async () => {
  const capped = await scene.device('--spend-cap', '1')
  const used = { input_tokens: 1000, output_tokens: 1 }
  const searched = { output_tokens: 100, server_tool_use: { web_search_requests: 2 } }
  const model = 'claude-opus-5-5'
  scene.upstream.respond((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    const usage = { ...used, speed: 'fast', inference_geo: 'us' }
    response.write(event('message_start', { message: { model, usage } }))
    response.write(event('message_delta', { usage: searched }))
    response.end(event('message_stop'))
  })
  await (await capped.post({ ...BODY, model })).text()
  const [row] = await capped.rows(1)
  // Twice and 1.1 times four and twenty micro-dollars a token, and a cent for each search.
  const costMicroUsd = (1000 * 4 + 100 * 20) * 2.2 + 20_000
  const priceClass = 'speed:fast inference_geo:us'
  expect(row).toMatchObject({ usage: 'exact', costMicroUsd, priceClass, webSearchRequests: 2 })
  const line = scene.gate.lines().find((each) => each['request_id'] === row?.['requestId'])
  expect(line).toMatchObject({ price_class: priceClass, web_search_requests: 2 })
  const sums = await told(scene, '--device', row?.['device'])
  expect(sums).toMatchObject({ costMicroUsd, tools: { webSearch: 2, webFetch: 0 } })
})

test('our own refusals are closed as refused, and nothing is sent', async () => {
  const bound = await scene.device('--models', 'claude-opus-*')
  expect((await bound.post(BODY)).status).toBe(404)
  expect((await bound.post('{"model":1}')).status).toBe(400)
  expect((await bound.post('{"model":"a","model":"claude-opus-5"}')).status).toBe(400)
  expect((await device.post('x'.repeat(200_001))).status).toBe(413)
  for (const row of [...(await bound.rows(3)), ...(await device.rows(1))]) {
    expect(row).toMatchObject({ end: 'refused', ...nothing })
  }
  expect(scene.upstream.seen).toEqual([])
})

test('a body that grows too large while it passes is refused, and closes its row', async () => {
  scene.upstream.respond((_request, response) => answerUnary(response, USED))
  const endless = new ReadableStream({
    pull: (controller) => controller.enqueue(new Uint8Array(64_000).fill(32)),
  })
  const response = await device
    .post('', { body: endless, duplex: 'half' } as RequestInit)
    .catch(() => undefined)
  if (response) expect(response.status).toBe(413)
  const [row] = await device.rows(1)
  expect(row).toMatchObject({ end: 'refused', status: 413, usage: 'unknown' })
})

test("Tinfoil's usage is in the same ledger, from a trailer or a last event, without cached tokens", async () => {
  const token = await issuer.token()
  const ask = async (body: object): Promise<string> => {
    const response = await fetch(`${scene.gate.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { ...bearer(token), 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    return response.text()
  }
  const header = 'X-Tinfoil-Usage-Metrics'
  scene.upstream.respond((_request, response) => {
    const value = 'prompt=67,completion=42,total=109,cached_prompt_tokens=60'
    response.writeHead(200, { 'content-type': 'application/json', [header]: value }).end('{}')
  })
  await ask({ model: 'llama' })
  scene.upstream.respond((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream', trailer: header })
    response.write('data: {}\n\n')
    response.addTrailers({ [header]: 'prompt=10,completion=5,total=15' })
    response.end('data: [DONE]\n\n')
  })
  await ask({ model: 'llama', stream: true })
  scene.upstream.respond((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: {"choices":[{"delta":{"content":"hi"}}],"usage":null}\n\n')
    response.end('data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n')
  })
  await ask({ model: 'llama', stream: true })
  const rows = await eventually(async () => {
    const { metrics } = await scene.admin('/admin/usage?limit=100')
    const found = metrics.filter((row: Json) => row['upstream'] === 'tinfoil')
    return found.length === 3 && found.every((row: Json) => row['end'] !== null) && found
  })
  for (const row of rows) {
    expect(row).toMatchObject({ usage: 'exact', device: '', end: 'complete' })
  }
  const [last, streamed, whole] = rows
  expect(measuredIn(last)).toEqual([3, 2, 0, 0])
  expect(measuredIn(streamed)).toEqual([10, 5, 0, 0])
  expect(measuredIn(whole)).toEqual([7, 42, 60, 0])
})

const measuredIn = (row: Json): number[] => [
  row['inputTokens'],
  row['outputTokens'],
  row['cacheReadTokens'],
  row['cacheCreationTokens'],
]

test('one that a drain breaks: partial, drained; one that it waits for: exact', async () => {
  await scene.gate.stop('SIGTERM')
  await restart({ DRAIN_TIMEOUT_SECONDS: '1', IDLE_TIMEOUT_SECONDS: '60' })
  scene.upstream.respond((_request, response, body) => {
    beginStream(response, USED)
    delta(response)
    if (JSON.parse(body.toString('utf8')).ends) setTimeout(() => endStream(response, USED), 300)
  })
  const streams = await Promise.all([device.post({ ...BODY, ends: true }), device.post(BODY)])
  const whole = streams[0].text()
  const broken = streams[1].text().catch(() => 'broken')
  expect(await scene.gate.stop('SIGTERM')).toBe(0)
  expect(await whole).toContain('message_stop')
  await broken
  const database = new Database(`${scene.folder}/data/postern.db`, { readonly: true })
  const rows = database
    .query(
      'SELECT end_reason, usage, output_tokens FROM ledger ORDER BY opened_ms DESC, id DESC LIMIT 2',
    )
    .all()
  database.close()
  expect(rows).toContainEqual({ end_reason: 'drained', usage: 'partial', output_tokens: 1 })
  expect(rows).toContainEqual({ end_reason: 'complete', usage: 'exact', output_tokens: 50 })
  await restart()
})

test('parallel streams that end in every way: the sums stay within the sent tokens', async () => {
  let given = 0
  scene.upstream.respond((request, response) => {
    const which = given++ % 4
    beginStream(response, USED)
    delta(response)
    if (which < 2) setTimeout(() => endStream(response, USED), 10)
    else if (which === 2) setTimeout(() => request.socket.destroy(), 10)
  })
  const leaving = new AbortController()
  let [begun, ended] = [0, 0]
  // One in four stands still and is left after all the others have ended.
  const leave = (): void => {
    if (begun === 80 && ended === 60) leaving.abort()
  }
  const leavers: Promise<unknown>[] = []
  for (let count = 0; count < 80; count++) {
    leavers.push(
      (async () => {
        const response = await device.post(BODY, { signal: leaving.signal })
        begun += 1
        leave()
        await response.bytes().catch(() => {})
        ended += 1
        leave()
      })(),
    )
  }
  await Promise.all(leavers)
  const [row] = await device.rows(80)
  const sums = await told(scene, '--device', row?.['device'])
  expect(sums['tokens']).toEqual({
    input: 80 * USED.input,
    output: 40 * USED.output + 40 * 1,
    cacheRead: 80 * USED.cacheRead,
    cacheCreation: 80 * USED.cacheCreation,
  })
  expect(sums['partial']).toBe(40)
  const made = { output: 40 * MADE, costMicroUsd: 40 * MADE * 5 }
  expect(sums['estimate']).toEqual({ ...NOTHING, ...made })
})
