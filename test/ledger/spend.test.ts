// Caps on spending, proven by what the upstream was asked to do, times its prices.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { REMAINDER_TOKENS } from '../../src/upstream/reading/passed.ts'
import { runToEnd } from '../support/binary.ts'
import { startUpstream } from '../support/upstream.ts'
import {
  answerUnary,
  beginStream,
  delta,
  type Device,
  HAIKU,
  haikuCost,
  type LedgerScene,
  ledgerScene,
  leaveAtOnce,
  leaveMidway,
  NOTHING,
  refuseWith,
  type Used,
} from './scene.ts'

const ORG_CAP = 30_000
const USED: Used = { ...NOTHING, input: 1000, output: 1000 }
const COST = haikuCost(USED)
const BODY = JSON.stringify({ model: HAIKU, max_tokens: 1000, messages: [] })
/** Every byte a token, 2048 tokens besides, all of the output. */
const reservationOf = (body: string, maxTokens = 1000): number =>
  Buffer.byteLength(body) + 2048 + maxTokens * 5
const RESERVED = reservationOf(BODY)
const PROMPT = reservationOf(BODY, 0)
const usd = (micro: number): string => (micro / 1e6).toFixed(6)

let scene: LedgerScene
/** What the upstream would bill. */
let billed = 0

beforeAll(async () => {
  scene = await ledgerScene({ ORG_SPEND_CAP: usd(ORG_CAP), MAX_PAYLOAD_SIZE: '4096' })
})
afterAll(() => scene.close())
beforeEach(() => {
  billed = 0
  scene.upstream.seen.length = 0
  answering(USED)
})

function answering(used: Used, waitMs = 0): void {
  scene.upstream.respond(async (_request, response) => {
    billed += haikuCost(used)
    if (waitMs > 0) await Bun.sleep(waitMs)
    answerUnary(response, used)
  })
}

const toMonthEnd = (): number => {
  const now = new Date()
  return (Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + 1) - now.getTime()) / 1000
}

async function isCapped(response: Response): Promise<void> {
  expect(response.status).toBe(429)
  const { error } = (await response.json()) as { error: { type: string } }
  expect(error.type).toBe('billing_error')
  expect(response.headers.get('x-should-retry')).toBe('false')
  expect(Math.abs(Number(response.headers.get('retry-after')) - toMonthEnd())).toBeLessThan(5)
}

/** One after the other until it refuses; how many passed. */
async function untilCapped(device: Device, body = BODY, most = 100): Promise<number> {
  for (let passed = 0; passed < most; passed++) {
    const response = await device.post(body)
    if (response.status !== 200) {
      await isCapped(response)
      return passed
    }
    await response.bytes()
  }
  throw new Error('no cap')
}

describe('spend_cap', () => {
  test('one after the other until the cap: exactly as many as are sure to fit', async () => {
    const cap = 100_000
    const device = await scene.device('--spend-cap', usd(cap))
    const passed = await untilCapped(device)
    expect(passed).toBe(Math.floor((cap - RESERVED) / COST) + 1)
    expect(scene.upstream.seen).toHaveLength(passed)
    expect(billed).toBeLessThanOrEqual(cap)
    const rows = await device.rows(passed + 1)
    expect(rows[0]).toMatchObject({ end: 'refused', status: 429, model: HAIKU })
    expect((await device.own())['stats'].totalCostMicroUsd).toBe(billed)
  })

  test('100 in parallel, again and again: the upstream is never owed more than the cap', async () => {
    const cap = 200_000
    const device = await scene.device('--spend-cap', usd(cap))
    answering(USED, 5)
    let capped = 0
    for (let round = 0; round < 20 && capped < 100; round++) {
      const responses = await Promise.all(Array.from({ length: 100 }, () => device.post(BODY)))
      const refused = responses.filter(({ status }) => status === 429)
      const types = await Promise.all(
        refused.map(async (each) => ((await each.json()) as any).error.type),
      )
      capped = types.filter((type) => type === 'billing_error').length
      for (const each of refused) expect(each.headers.get('retry-after')).not.toBeNull()
    }
    expect(capped).toBe(100)
    expect(billed).toBeLessThanOrEqual(cap)
    // And no less: what is left could not have paid for one more.
    expect(billed).toBeGreaterThan(cap - RESERVED)
  })

  test('100 that each cost more than was reserved: passed by their excess, not by their number', async () => {
    const cap = 50_000
    const device = await scene.device('--spend-cap', usd(cap))
    // A document by URL: its tokens are in no byte of the body.
    const dear = { ...NOTHING, input: 20_000, output: 1000 }
    answering(dear, 50)
    const responses = await Promise.all(Array.from({ length: 100 }, () => device.post(BODY)))
    const underWay = responses.filter(({ status }) => status === 200).length
    expect(underWay).toBe(Math.floor(cap / RESERVED))
    expect(billed).toBe(underWay * haikuCost(dear))
    expect(billed - cap).toBeLessThanOrEqual(underWay * (haikuCost(dear) - RESERVED))
    await isCapped(await device.post(BODY))
  })

  test('an organisation has one cap for all of its devices', async () => {
    const devices = [await scene.device('--org', 'acme'), await scene.device('--org', 'acme')]
    let passed = 0
    for (let turn = 0; turn < 20; turn++) {
      const response = await devices[turn % 2]!.post(BODY)
      if (response.status === 200) passed += 1
      else await isCapped(response)
    }
    expect(passed).toBe(Math.floor((ORG_CAP - RESERVED) / COST) + 1)
    expect(billed).toBeLessThanOrEqual(ORG_CAP)
    const other = await scene.device('--org', 'other')
    expect((await other.post(BODY)).status).toBe(200)
  })

  test('without max_tokens 400, without a price 400, over the whole cap 429; nothing goes out', async () => {
    const device = await scene.device('--spend-cap', '0.2')
    const errorOf = async (body: object): Promise<[number, string]> => {
      const response = await device.post(body)
      return [response.status, ((await response.json()) as any).error.type]
    }
    expect(await errorOf({ model: HAIKU })).toEqual([400, 'invalid_request_error'])
    const unpriced = { model: 'claude-unheard-of', max_tokens: 1 }
    expect(await errorOf(unpriced)).toEqual([400, 'invalid_request_error'])
    expect(await errorOf({ model: HAIKU, max_tokens: 1e6 })).toEqual([429, 'billing_error'])
    expect(await errorOf({ model: HAIKU, max_tokens: -1 })).toEqual([400, 'invalid_request_error'])
    expect(scene.upstream.seen).toEqual([])
    const free = await scene.device()
    expect((await free.post({ model: 'claude-unheard-of' })).status).toBe(200)
  })

  test('counting tokens needs neither max_tokens nor money', async () => {
    const device = await scene.device('--spend-cap', '0.000001')
    const response = await fetch(`${scene.gate.url}/v1/messages/count_tokens`, {
      method: 'POST',
      headers: { authorization: `Bearer ${device.token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: HAIKU, messages: [] }),
    })
    expect(response.status).toBe(200)
  })

  test('a failed request costs nothing, and its reservation comes back', async () => {
    const device = await scene.device('--spend-cap', usd(RESERVED + COST))
    for (const status of [400, 401, 404, 429, 500, 529]) {
      scene.upstream.respond((_request, response) => refuseWith(response, status))
      for (let times = 0; times < 5; times++) expect((await device.post(BODY)).status).not.toBe(200)
    }
    const large = BODY.replace('[]', `["${'x'.repeat(5000)}"]`)
    for (let times = 0; times < 5; times++) expect((await device.post(large)).status).toBe(413)
    answering(USED)
    expect(await untilCapped(device)).toBe(2)
  })

  test('a connection that breaks before the answer is charged as unknown: it may have run', async () => {
    const device = await scene.device('--spend-cap', usd(RESERVED + 100))
    scene.upstream.respond((request) => void request.socket.destroy())
    expect((await device.post(BODY)).status).toBe(502)
    const [row] = await device.rows(1)
    expect(row).toMatchObject({ end: 'upstream_error', usage: 'estimated', costMicroUsd: null })
    expect(row?.['estimatedCostMicroUsd']).toBeGreaterThanOrEqual(PROMPT + REMAINDER_TOKENS * 5)
    expect(row?.['estimatedCostMicroUsd']).toBeLessThanOrEqual(RESERVED)
    await isCapped(await device.post(BODY))
  })

  test('a request that certainly never went out is free', async () => {
    const device = await scene.device('--spend-cap', usd(RESERVED))
    const nowhere = await startUpstream()
    await nowhere.close()
    await scene.gate.stop()
    await scene.restart({ ANTHROPIC_BASE_URL: nowhere.url })
    for (let times = 0; times < 3; times++) expect((await device.post(BODY)).status).toBe(502)
    const rows = await device.rows(3)
    const nothing = { usage: 'exact', inputTokens: 0, outputTokens: 0, costMicroUsd: 0 }
    for (const row of rows) expect(row).toMatchObject({ status: 502, ...nothing })
    await scene.gate.stop()
    await scene.restart()
    expect((await device.post(BODY)).status).toBe(200)
  })

  test('a client that leaves is charged the counts and the output under way', async () => {
    const device = await scene.device('--spend-cap', usd(RESERVED))
    scene.upstream.respond((_request, response) => {
      beginStream(response, { ...NOTHING, input: 40, output: 1 })
      delta(response)
    })
    await leaveMidway(device, BODY)
    const [row] = await device.rows(1)
    const seen = haikuCost({ ...NOTHING, input: 40, output: 1 })
    expect(row).toMatchObject({
      end: 'client_gone',
      usage: 'partial',
      inputTokens: 40,
      costMicroUsd: seen,
      estimatedOutputTokens: Math.ceil(11 / 3) + REMAINDER_TOKENS,
      estimatedCostMicroUsd: (Math.ceil(11 / 3) + REMAINDER_TOKENS) * 5,
    })
    await isCapped(await device.post(BODY))
    expect((await device.own())['stats'].totalCostMicroUsd).toBe(seen)
  })

  test('a client that leaves before the first byte: its prompt, and the possible output', async () => {
    const device = await scene.device('--spend-cap', usd(RESERVED))
    scene.upstream.respond(() => {})
    await leaveAtOnce(scene, device, BODY)
    const [row] = await device.rows(1)
    expect(row).toMatchObject({ usage: 'estimated', inputTokens: null, costMicroUsd: null })
    expect(row?.['estimatedCostMicroUsd']).toBeGreaterThanOrEqual(PROMPT + REMAINDER_TOKENS * 5)
    expect(row?.['estimatedCostMicroUsd']).toBeLessThanOrEqual(RESERVED)
    await isCapped(await device.post(BODY))
  })

  test('a restart revives no cap, and estimates count', async () => {
    const spender = await scene.device('--spend-cap', usd(RESERVED + 3 * COST))
    expect(await untilCapped(spender)).toBe(4)
    const leaver = await scene.device('--spend-cap', usd(RESERVED))
    scene.upstream.respond((_request, response) => beginStream(response, USED))
    await leaveMidway(leaver, BODY)
    await leaver.rows(1)
    answering(USED)
    await untilCapped(await scene.device('--org', 'together'))
    expect(await scene.gate.stop('SIGTERM')).toBe(0)
    await scene.restart()
    await isCapped(await (await scene.device('--org', 'together')).post(BODY))
    await isCapped(await spender.post(BODY))
    await isCapped(await leaver.post(BODY))
    const fresh = await scene.device('--spend-cap', '0.1')
    expect((await fresh.post(BODY)).status).toBe(200)
  })
})

describe('prices', () => {
  const rates = { input: 1000, output: 0, cache_read: 0, cache_write_5m: 0, cache_write_1h: 0 }
  const folder = mkdtempSync(`${tmpdir()}/postern-prices-`)
  const file = `${folder}/prices.json`
  afterAll(() => rmSync(folder, { recursive: true }))

  let scene: LedgerScene
  beforeAll(async () => {
    writeFileSync(file, JSON.stringify({ date: '2026-11-20', models: { 'my-model': rates } }))
    scene = await ledgerScene({ PRICES_FILE: file })
  })
  afterAll(() => scene.close())

  test('PRICES_FILE replaces the built-in prices, for caps and for the ledger', async () => {
    const device = await scene.device('--spend-cap', '1000')
    expect((await device.post(BODY)).status).toBe(400)
    scene.upstream.respond((_request, response) => answerUnary(response, USED, 'my-model'))
    expect((await device.post({ model: 'my-model', max_tokens: 1 })).status).toBe(200)
    const rows = await device.rows(2)
    expect(rows[0]).toMatchObject({ model: 'my-model', costMicroUsd: 1_000_000 })
  })

  test("a response with an unpriced model name costs the price of its request's model", async () => {
    const device = await scene.device('--spend-cap', '1000')
    const dated = 'my-model-20261120'
    scene.upstream.respond((_request, response) => answerUnary(response, USED, dated))
    await (await device.post({ model: 'my-model', max_tokens: 1 })).bytes()
    const [row] = await device.rows(1)
    expect(row).toMatchObject({ model: dated, usage: 'exact', costMicroUsd: 1_000_000 })
  })

  test('a file with mistakes stops the start with 78, and each is named', async () => {
    const wrong = { input: -1, output: 1, cache_read: 0, cache_write_5m: 0, surprise: 1 }
    const wrongFile = `${folder}/wrong.json`
    writeFileSync(wrongFile, JSON.stringify({ date: 'soon', models: { a: wrong, 'b*c': rates } }))
    const settings = { ...scene.env, PRICES_FILE: wrongFile }
    const { exitCode, stdout, stderr } = await runToEnd([], settings)
    expect([exitCode, stdout]).toEqual([78, ''])
    for (const word of ['date', 'a"].input', 'cache_write_1h', 'surprise', 'b*c', '5 mistakes']) {
      expect(stderr).toContain(word)
    }
    const missing = await runToEnd([], { ...scene.env, PRICES_FILE: `${folder}/none` })
    expect(missing.exitCode).toBe(78)
    expect(missing.stderr).toContain('PRICES_FILE')
  })
})
