// An answer whose status is 200 and that is an error all the same, in each dialect, streamed or whole:
// what the circuit makes of it, and what a cap is charged. And whole answers that are cut.

import { afterAll, afterEach, beforeAll, expect, test } from 'bun:test'
import { type DevIssuer, startIssuer } from '../../src/dev/issuer.ts'
import { REMAINDER_TOKENS } from '../../src/upstream/reading/passed.ts'
import { usersOf } from '../support/settings.ts'
import { bearer } from '../support/sink.ts'
import type { Respond } from '../support/upstream.ts'
import {
  beginStream,
  type Device,
  event,
  HAIKU,
  haikuCost,
  type LedgerScene,
  ledgerScene,
  NOTHING,
  refuseWith,
} from './scene.ts'

const FAILURES = 3
const USED = { ...NOTHING, input: 1000, output: 1 }
const BODY = JSON.stringify({ model: HAIKU, max_tokens: 5000, stream: true, messages: [] })

let scene: LedgerScene
let issuer: DevIssuer
let device: Device

beforeAll(async () => {
  issuer = await startIssuer()
  scene = await ledgerScene({
    ...usersOf(issuer),
    TINFOIL_API_KEY: 'tinfoil-key-canary',
    TINFOIL_BASE_URL: 'http://127.0.0.1:1',
    REQUIRE_EHBP: 'false',
    CIRCUIT_FAILURES: String(FAILURES),
    CIRCUIT_OPEN_SECONDS: '30',
  })
  await scene.gate.stop()
  await scene.restart({ TINFOIL_BASE_URL: scene.upstream.url })
  device = await scene.device('--spend-cap', '100')
})
afterAll(async () => {
  await scene.close()
  await issuer.close()
})
afterEach(() => scene.admin('/admin/circuit-breaker/reset', { method: 'POST' }))

const chat = async (): Promise<Response> =>
  fetch(`${scene.gate.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { ...bearer(await issuer.token()), 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'llama', stream: true }),
  })
const messages = (): Promise<Response> => device.post(BODY)

/** What is answered after as many errors as open a circuit. */
async function afterErrors(ask: () => Promise<Response>, respond: Respond): Promise<number> {
  scene.upstream.respond(respond)
  for (let count = 0; count < FAILURES; count++) {
    const response = await ask()
    expect(response.status).toBe(200)
    await response.bytes()
  }
  const response = await ask()
  await response.bytes()
  return response.status
}

const streamed =
  (type: string): Respond =>
  (_request, response) => {
    beginStream(response, USED)
    response.end(event('error', { error: { type, message: 'why' } }))
  }
const chunk =
  (error: object): Respond =>
  (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: {"choices":[{"delta":{"content":"hi"}}]}\n\n')
    response.end(`data: ${JSON.stringify({ error })}\n\n`)
  }

test('an error event counts against the circuit as the status would', async () => {
  expect(await afterErrors(messages, streamed('api_error'))).toBe(503)
})
test('so does an error as a whole answer', async () => {
  const whole: Respond = (_request, response) => refuseWith(response, 200, 'api_error')
  expect(await afterErrors(messages, whole)).toBe(503)
})
test('so does an error in a stream of chunks', async () => {
  expect(await afterErrors(chat, chunk({ type: 'server_error', message: 'why' }))).toBe(503)
})
test('an overload, a rate limit and a mistake of the request never do', async () => {
  for (const type of ['overloaded_error', 'rate_limit_error', 'invalid_request_error']) {
    expect([type, await afterErrors(messages, streamed(type))]).toEqual([type, 200])
  }
  expect(await afterErrors(chat, chunk({ code: 'rate_limit_exceeded' }))).toBe(200)
})

test('a whole answer that is cut is charged its prompt, and what can have been made by then', async () => {
  const capped = await scene.device('--spend-cap', '1')
  scene.upstream.respond((request, response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': '500' })
    response.write('{"type":"message","content":[{"type":"text","text":"half of')
    setTimeout(() => request.socket.destroy(), 20)
  })
  // That the client sees the break in the end takes four seconds.
  void (await capped.post(BODY)).bytes().catch(() => {})
  const [row] = await capped.rows(1)
  expect(row).toMatchObject({ end: 'upstream_error', usage: 'estimated', costMicroUsd: null })
  const estimated = Number(row?.['estimatedCostMicroUsd'])
  expect(estimated).toBeGreaterThanOrEqual(REMAINDER_TOKENS * 5)
  // Less than all of max_tokens, however slow the machine: ten seconds' worth.
  expect(estimated).toBeLessThan(haikuCost({ ...NOTHING, input: 20_000, output: 5000 }))
})

test('a whole answer whose client leaves while it comes is charged by the same rule', async () => {
  const capped = await scene.device('--spend-cap', '1')
  let sent = (): void => {}
  const sending = new Promise<void>((resolve) => (sent = resolve))
  scene.upstream.respond((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': '500' })
    response.write('{"type":"message","content":[', () => sent())
  })
  const leaving = new AbortController()
  const asked = capped.post(BODY, { signal: leaving.signal }).catch(() => {})
  await sending
  leaving.abort()
  await asked
  const [row] = await capped.rows(1)
  expect(row).toMatchObject({ end: 'client_gone', usage: 'estimated', costMicroUsd: null })
  expect(Number(row?.['estimatedCostMicroUsd'])).toBeGreaterThanOrEqual(REMAINDER_TOKENS * 5)
})
