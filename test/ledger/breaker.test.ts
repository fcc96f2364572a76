// Attack 51: an upstream that fails is left alone, one probe at a time finds out when it is well, and
// nothing that a client does shuts anybody out.

import { afterAll, beforeAll, beforeEach, expect, test } from 'bun:test'
import Anthropic from '@anthropic-ai/sdk'
import { Database } from 'bun:sqlite'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import OpenAI from 'openai'
import { type DevIssuer, startIssuer } from '../../src/dev/issuer.ts'
import { usersOf } from '../support/settings.ts'
import { bearer, eventually } from '../support/sink.ts'
import type { Respond } from '../support/upstream.ts'
import {
  answerUnary,
  beginStream,
  type Device,
  HAIKU,
  type LedgerScene,
  ledgerScene,
  leaveAtOnce,
  leaveMidway,
  NOTHING,
  refuseWith,
  until,
} from './scene.ts'

const BODY = { model: HAIKU, max_tokens: 10 }
const USED = { ...NOTHING, input: 1, output: 1 }
const OPEN_SECONDS = 1

let scene: LedgerScene
let device: Device
let issuer: DevIssuer

beforeAll(async () => {
  issuer = await startIssuer()
  scene = await ledgerScene({
    ...usersOf(issuer),
    TINFOIL_API_KEY: 'tinfoil-key-canary',
    TINFOIL_BASE_URL: 'http://127.0.0.1:1',
    REQUIRE_EHBP: 'false',
    CIRCUIT_FAILURES: '5',
    CIRCUIT_OPEN_SECONDS: String(OPEN_SECONDS),
    HEADERS_TIMEOUT_SECONDS: '3',
  })
  device = await scene.device()
})
afterAll(async () => {
  await scene.close()
  await issuer.close()
})
beforeEach(async () => {
  scene.upstream.seen.length = 0
  scene.upstream.respond((_request, response) => answerUnary(response, USED))
  await scene.admin('/admin/circuit-breaker/reset', { method: 'POST' })
})

const isShut = async (): Promise<boolean> => (await circuit()).state !== 'CLOSED'
const circuit = async () => (await scene.admin('/admin/circuit-breaker'))['anthropic']
const fails =
  (status: number): Respond =>
  (_request, response) =>
    refuseWith(response, status)
const times = (count: number): Promise<number[]> =>
  Promise.all(
    Array.from({ length: count }, async () => {
      const response = await device.post(BODY)
      await response.bytes().catch(() => {})
      return response.status
    }),
  )

async function isOpen(): Promise<void> {
  const before = scene.upstream.seen.length
  const response = await device.post(BODY)
  expect(response.status).toBe(503)
  const { error } = (await response.json()) as any
  expect(error).toEqual({ type: 'api_error', message: 'the upstream is failing; try again later' })
  const seconds = Number(response.headers.get('retry-after'))
  expect(seconds).toBeGreaterThanOrEqual(1)
  expect(seconds).toBeLessThanOrEqual(5)
  expect(scene.upstream.seen).toHaveLength(before)
}

const FAILURES: Readonly<Record<string, Respond>> = {
  'a 500': fails(500),
  'no answer but a closed connection': (request) => void request.socket.destroy(),
  'no headers in time': () => {},
  'a stream that dies': (request, response) => {
    beginStream(response, USED)
    setTimeout(() => request.socket.destroy(), 5)
  },
}
for (const [name, respond] of Object.entries(FAILURES)) {
  test(`five times ${name} open it, four do not`, async () => {
    scene.upstream.respond(respond)
    // A broken stream ends for its reader four seconds later.
    const failing = Array.from({ length: 4 }, () => device.post(BODY))
    for (const response of await Promise.all(failing)) void response.bytes().catch(() => {})
    const report = async (failures: number) =>
      eventually(async () => {
        const now = await circuit()
        return now.failureCount === failures && now
      })
    expect(await report(4)).toMatchObject({ state: 'CLOSED', nextAttempt: 0 })
    void (await device.post(BODY)).bytes().catch(() => {})
    const opened = await report(5)
    expect(opened).toMatchObject({ state: 'OPEN', successCount: 0 })
    expect(Math.abs(opened.nextAttempt - Date.now())).toBeLessThan(OPEN_SECONDS * 1000 + 1)
    await isOpen()
  })
}

test('a refused connection opens it too', async () => {
  const gone = http.createServer()
  await new Promise<void>((resolve) => gone.listen(0, '127.0.0.1', resolve))
  const { port } = gone.address() as AddressInfo
  await new Promise((resolve) => gone.close(resolve))
  const dead = await ledgerScene({
    ANTHROPIC_BASE_URL: `http://127.0.0.1:${port}`,
    CIRCUIT_FAILURES: '5',
  })
  try {
    const other = await dead.device()
    const statuses: number[] = []
    for (let count = 0; count < 7; count++) statuses.push((await other.post(BODY)).status)
    expect(statuses).toEqual([502, 502, 502, 502, 502, 503, 503])
  } finally {
    await dead.close()
  }
})

test('a request that an open circuit refuses reserves nothing', async () => {
  scene.upstream.respond(fails(500))
  // For one request under way, and no more.
  const poor = await scene.device('--spend-cap', '0.005')
  for (let count = 0; count < 5; count++) expect((await poor.post(BODY)).status).toBe(500)
  const refused: number[] = []
  // On a slow machine it may have been open for long enough, so that one of them probes.
  while (refused.length < 20) {
    const { status } = await poor.post(BODY)
    if (status === 500) expect(await isShut()).toBe(true)
    else refused.push(status)
  }
  expect(new Set(refused)).toEqual(new Set([503]))
  await scene.admin('/admin/circuit-breaker/reset', { method: 'POST' })
  scene.upstream.respond((_request, response) => answerUnary(response, USED))
  expect((await poor.post(BODY)).status).toBe(200)
})

test('a refusal takes less than a millisecond', async () => {
  scene.upstream.respond(fails(500))
  await times(5)
  const refused: string[] = []
  for (let count = 0; count < 100; count++) {
    const response = await device.post(BODY)
    refused.push(response.headers.get('x-request-id') ?? '')
    await response.bytes()
  }
  await scene.gate.logged(refused.at(-1) ?? '')
  const took = scene.gate
    .lines()
    .filter((line) => line['status'] === 503 && refused.includes(String(line['request_id'])))
    .map((line) => Number(line['duration_ms']))
    .toSorted((a, b) => a - b)
  expect(took.length).toBeGreaterThan(90)
  expect(took[Math.floor(took.length / 2)]).toBeLessThan(1)
})

test('of 100 at once exactly one probes; two that succeed close it', async () => {
  scene.upstream.respond(fails(500))
  await times(5)
  await isOpen()
  await Bun.sleep(OPEN_SECONDS * 1000 + 20)
  expect((await circuit()).state).toBe('HALF_OPEN')
  for (const successCount of [1, 0]) {
    scene.upstream.seen.length = 0
    let answer = (): void => {}
    scene.upstream.respond((_request, response) => {
      answer = () => answerUnary(response, USED)
    })
    const asked = times(100)
    await until(() => scene.upstream.seen.length > 0)
    await Bun.sleep(100)
    answer()
    const statuses = await asked
    expect(scene.upstream.seen).toHaveLength(1)
    expect(statuses.filter((status) => status === 200)).toHaveLength(1)
    expect(statuses.filter((status) => status === 503)).toHaveLength(99)
    expect((await circuit()).successCount).toBe(successCount)
  }
  expect((await circuit()).state).toBe('CLOSED')
  scene.upstream.respond((_request, response) => answerUnary(response, USED))
  expect(new Set(await times(50))).toEqual(new Set([200]))
})

test('a probe that fails opens it again; one whose client leaves gives its place back', async () => {
  scene.upstream.respond(fails(500))
  await times(5)
  await Bun.sleep(OPEN_SECONDS * 1000 + 20)
  expect(await times(1)).toEqual([500])
  expect((await circuit()).state).toBe('OPEN')
  await Bun.sleep(OPEN_SECONDS * 1000 + 20)
  scene.upstream.seen.length = 0
  scene.upstream.respond(() => {})
  await leaveAtOnce(scene, device, BODY)
  scene.upstream.respond((_request, response) => answerUnary(response, USED))
  await until(() => scene.upstream.seen.length === 1)
  let status = 0
  // That somebody has left is heard within a tenth of a second where no answer has begun.
  for (let tries = 0; tries < 50 && status !== 200; tries++) {
    ;[status = 0] = await times(1)
    if (status !== 200) await Bun.sleep(10)
  }
  expect(status).toBe(200)
})

test('4xx, 429, 529 and clients that leave never trip it', async () => {
  for (const status of [400, 401, 403, 404, 413, 422, 429, 529]) {
    scene.upstream.respond(fails(status))
    await times(10)
  }
  scene.upstream.respond((_request, response) => beginStream(response, USED))
  for (let count = 0; count < 10; count++) await leaveMidway(device, BODY)
  scene.upstream.seen.length = 0
  scene.upstream.respond(() => {})
  const leaving = new AbortController()
  const asked = Array.from({ length: 10 }, () =>
    device.post(BODY, { signal: leaving.signal }).catch(() => {}),
  )
  await until(() => scene.upstream.seen.length === 10)
  leaving.abort()
  await Promise.all(asked)
  await Bun.sleep(150)
  expect(await circuit()).toMatchObject({ state: 'CLOSED', failureCount: 0 })
})

test("Anthropic's SDK reports an open circuit at once; OpenAI's waits and retries", async () => {
  const codes = async (route: string): Promise<unknown[]> =>
    (await scene.gate.relayed(route)).map((line) => line['code'])
  const token = await issuer.token()
  scene.upstream.respond(fails(500))
  await times(5)
  // A line may come a moment after its answer: those of before are not counted.
  const turnedAway = async (): Promise<number> =>
    (await codes('/v1/messages')).filter((code) => code === 'circuit_open').length
  const before = await turnedAway()
  const anthropic = new Anthropic({
    baseURL: scene.gate.url,
    apiKey: null,
    authToken: device.token,
    maxRetries: 2,
    logLevel: 'off',
  })
  const question = { ...BODY, messages: [{ role: 'user' as const, content: 'x' }] }
  const error = await anthropic.messages.create(question).catch((each: unknown) => each)
  expect(error).toBeInstanceOf(Anthropic.InternalServerError)
  expect(error).toMatchObject({ status: 503 })
  expect(String(error)).toContain('the upstream is failing; try again later')
  expect((await turnedAway()) - before).toBe(1)

  const openai = new OpenAI({
    baseURL: `${scene.gate.url}/v1`,
    apiKey: token,
    maxRetries: 1,
    logLevel: 'off',
  })
  const ask = (): Promise<unknown> =>
    openai.chat.completions
      .create({ model: 'x', messages: [] }, { maxRetries: 0 })
      .catch((each: unknown) => each)
  for (let count = 0; count < 5; count++) expect(await ask()).toMatchObject({ status: 502 })
  const said = await openai.chat.completions
    .create({ model: 'x', messages: [] })
    .catch((each: unknown) => each)
  const asked = await codes('/v1/chat/completions')
  expect(asked).toHaveLength(7)
  expect(asked.at(-2)).toBe('circuit_open')
  // The second goes out as the probe, unless the gate's own question is under way.
  expect(said).toMatchObject({ status: asked.at(-1) === 'circuit_open' ? 503 : 502 })
})

test('each upstream has its own', async () => {
  const token = await issuer.token()
  // Nobody is at port 1.
  const tinfoil = async (): Promise<number> =>
    (
      await fetch(`${scene.gate.url}/v1/chat/completions`, {
        method: 'POST',
        headers: { ...bearer(token), 'content-type': 'application/json' },
        body: '{"model":"x"}',
      })
    ).status
  for (let count = 0; count < 5; count++) expect(await tinfoil()).toBe(502)
  expect(await tinfoil()).toBe(503)
  expect(await scene.admin('/admin/circuit-breaker')).toMatchObject({
    tinfoil: { state: 'OPEN', failureCount: 5 },
    anthropic: { state: 'CLOSED', failureCount: 0 },
  })
  expect(await times(1)).toEqual([200])
  scene.upstream.respond(fails(500))
  await scene.admin('/admin/circuit-breaker/reset', { method: 'POST' })
  await times(5)
  await isOpen()
  expect(await tinfoil()).toBe(502)
})

test('the operator resets it, and it is written down; a device cannot, and cannot look', async () => {
  scene.upstream.respond(fails(500))
  await times(5)
  await isOpen()
  const path = '/admin/circuit-breaker'
  for (const [method, at] of [
    ['GET', path],
    ['POST', `${path}/reset`],
  ] as const) {
    const as = (headers: Record<string, string>): Promise<Response> =>
      fetch(scene.gate.url + at, { method, headers })
    expect((await as(bearer(device.token))).status).toBe(403)
    expect((await as({})).status).toBe(401)
    expect((await as(bearer('operator-canary-operator-canary-0001'))).status).toBe(401)
  }
  expect((await circuit()).state).toBe('OPEN')
  const audited = (): number => {
    const database = new Database(`${scene.folder}/data/postern.db`, { readonly: true })
    const rows = database.query("SELECT * FROM audit WHERE action LIKE 'reset%'").all()
    database.close()
    return rows.length
  }
  const before = audited()
  scene.upstream.respond((_request, response) => answerUnary(response, USED))
  await scene.admin(`${path}/reset`, { method: 'POST' })
  expect(audited()).toBe(before + 1)
  expect(await circuit()).toEqual({
    state: 'CLOSED',
    failureCount: 0,
    successCount: 0,
    nextAttempt: 0,
  })
  expect(await times(1)).toEqual([200])
})
