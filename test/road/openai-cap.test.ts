// Money under a cap over real sockets, at an upstream of OpenAI's dialect that answers as none should:
// what the cap, `GET /device`, the ledger and `postern spend` say is one sum.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import net, { type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import zlib from 'node:zlib'
import { startIssuer } from '../../src/dev/issuer.ts'
import { runToEnd, start } from '../support/binary.ts'
import { HASH_KEY, UNLIMITED } from '../support/settings.ts'
import { eventually } from '../process/reload-scene.ts'

/** What is written, and then `hold`, or the connection's end. */
type Step = string | Uint8Array | { readonly waitMs: number } | 'hold' | 'reset'

/** By the `user` of the body. */
const scripts = new Map<string, readonly Step[]>()
const sockets = new Set<net.Socket>()
const upstream = net.createServer((socket) => {
  sockets.add(socket)
  socket.on('error', () => {})
  socket.on('close', () => sockets.delete(socket))
  let seen = ''
  let answered = false
  socket.on('data', async (chunk: Buffer) => {
    seen += chunk.toString('latin1')
    const [head = '', body] = seen.split('\r\n\r\n', 2)
    const length = Number(/content-length: *(\d+)/i.exec(head)?.[1] ?? 0)
    if (answered || body === undefined || body.length < length) return
    answered = true
    for (const step of scripts.get(JSON.parse(body).user) ?? []) {
      if (step === 'hold') return
      if (step === 'reset') return void socket.resetAndDestroy()
      if (typeof step === 'object' && 'waitMs' in step) await Bun.sleep(step.waitMs)
      else socket.write(step)
    }
    socket.end()
  })
})

const folder = mkdtempSync(join(tmpdir(), 'postern-cap-'))
const path = join(folder, 'postern.yaml')
const ENV = { ...UNLIMITED, POSTERN_CONFIG: path, DATABASE_URL: '', CIRCUIT_FAILURES: '1000' }
let issuer: Awaited<ReturnType<typeof startIssuer>>
let gate: Awaited<ReturnType<typeof start>>

beforeAll(async () => {
  issuer = await startIssuer()
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve))
  const { port } = upstream.address() as AddressInfo
  writeFileSync(
    path,
    `issuers:
  - { issuer: ${issuer.issuer}, jwks_url: ${issuer.jwksUrl}, audiences: [${issuer.audience}] }
upstreams:
  - { kind: openai, name: evil, base_url: "http://127.0.0.1:${port}/v1" }
policies:
  - { name: capped, usd_per_day: 50, usd_per_month: 60 }
rules:
  - { kind: user, policy: capped }
ledger: { database_url: "sqlite:${join(folder, 'postern.db')}", identity_hash_key: ${HASH_KEY} }
log: { format: json }
`,
    { mode: 0o600 },
  )
  gate = await start(ENV)
})
afterAll(async () => {
  await gate.stop()
  for (const socket of sockets) socket.destroy()
  upstream.close()
  await issuer.close()
  rmSync(folder, { recursive: true })
})

const head = (type: string, more = ''): string =>
  `HTTP/1.1 200 OK\r\nContent-Type: ${type}\r\n${more}Connection: close\r\n\r\n`
const SSE = head('text/event-stream')
const chunk = (content: string, more: object = {}): string =>
  `data: ${JSON.stringify({ model: 'gpt-4o', choices: [{ delta: { content } }], ...more })}\n\n`
const USAGE = {
  prompt_tokens: 1000,
  completion_tokens: 100,
  total_tokens: 1100,
  prompt_tokens_details: { cached_tokens: 400 },
}
/** 600 at $2.50, 400 at $1.25, 100 at $10 a million. */
const EXACT = 1500 + 500 + 1000
const usageChunk = `data: ${JSON.stringify({ model: 'gpt-4o', choices: [], usage: USAGE })}\n\n`
const DONE = 'data: [DONE]\n\n'

let people = 0
const charged = new Map<string, number>()

/** What a caller of their own is charged for one request, once nothing is held any more. */
async function chargeFor(
  steps: readonly Step[],
  { body = {}, leaveAfterMs = -1, headers = {}, path: at = '/v1/chat/completions' }: Asking = {},
): Promise<{ status: number; spent: number; estimated: number }> {
  const user = `cap-${(people += 1)}`
  scripts.set(user, steps)
  const authorization = `Bearer ${await issuer.token({ sub: user })}`
  const leaving = new AbortController()
  if (leaveAfterMs >= 0) setTimeout(() => leaving.abort(), leaveAfterMs)
  let status = 0
  try {
    const answer = await fetch(gate.url + at, {
      method: 'POST',
      headers: { authorization, 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ model: 'gpt-4o', messages: [], max_tokens: 2000, user, ...body }),
      signal: leaving.signal,
      decompress: false,
    })
    status = answer.status
    await answer.bytes()
  } catch {
    // It left, or was cut off.
  }
  let found = { identity: '', spent: 0, estimated: 0 }
  await eventually(async () => {
    const answer = await fetch(`${gate.url}/device`, { headers: { authorization } })
    const { identity, caps } = (await answer.json()) as { identity: string; caps: CapSeen[] }
    const [month, day] = caps
    if (!month || !day || month.reserved_micro_usd + day.reserved_micro_usd > 0) return false
    expect(day.spent_micro_usd).toBe(month.spent_micro_usd)
    found = { identity, spent: day.spent_micro_usd, estimated: day.estimated_micro_usd }
    return true
  })
  if (found.spent > 0) charged.set(found.identity, found.spent)
  return { status, spent: found.spent, estimated: found.estimated }
}

interface Asking {
  readonly body?: object
  readonly leaveAfterMs?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly path?: string
}

interface CapSeen {
  readonly spent_micro_usd: number
  readonly estimated_micro_usd: number
  readonly reserved_micro_usd: number
}

const STREAM = { stream: true, stream_options: { include_usage: true } }
/** 2,000 tokens of an answer, and a prompt of at the least 2,048, at the price of priority. */
const WHOLE = (2048 * 2.5 + 2000 * 10) * 1.7

describe('a stream that says its usage is charged exactly that', () => {
  const text = chunk('a', { usage: null }) + chunk('b', { usage: null }) + usageChunk + DONE
  test.each<readonly [string, readonly Step[], Asking]>([
    ['at its end', [SSE, text], {}],
    ['without [DONE]', [SSE, chunk('a') + usageChunk], {}],
    ['after [DONE]', [SSE, chunk('a') + DONE + usageChunk], {}],
    ['twice', [SSE, chunk('a') + usageChunk + usageChunk + DONE], {}],
    [
      'and then zeros',
      [SSE, text, `data: {"usage":{"prompt_tokens":0,"completion_tokens":0}}\n\n`],
      {},
    ],
    ['with CRLF', [SSE, text.replaceAll('\n', '\r\n')], {}],
    ['a byte at a time', [SSE, ...text.split('').flatMap((each) => [each])], {}],
    ['with bytes behind', [SSE, text, 'data: {"usage":{"prompt_tokens":9'], {}],
    ['with comments', [SSE, ': a comment\n\n', text.replaceAll('data:', ': x\ndata:')], {}],
    ['compressed', [head('text/event-stream', 'Content-Encoding: gzip\r\n'), gzip(text)], {}],
    [
      'compressed in two members',
      [
        head('text/event-stream', 'Content-Encoding: gzip\r\n'),
        gzip(chunk('a')),
        gzip(usageChunk + DONE),
      ],
      {},
    ],
    ['unasked', [SSE, text], { body: { stream: true } }],
  ])('%s', async (_, steps, asking) => {
    expect(await chargeFor(steps, { body: STREAM, ...asking })).toEqual({
      status: 200,
      spent: EXACT,
      estimated: 0,
    })
  })
})

describe('a stream that does not say it', () => {
  test.each<readonly [string, readonly Step[]]>([
    ['null in every chunk', [SSE, chunk('a', { usage: null }), DONE]],
    [
      'zeros',
      [SSE, chunk('a'), `data: {"usage":{"prompt_tokens":0,"completion_tokens":0}}\n\n`, DONE],
    ],
    [
      'negative',
      [SSE, chunk('a'), `data: {"usage":{"prompt_tokens":-1,"completion_tokens":-9}}\n\n`, DONE],
    ],
    [
      'text',
      [SSE, chunk('a'), `data: {"usage":{"prompt_tokens":"9","completion_tokens":"9"}}\n\n`, DONE],
    ],
    [
      '1e400',
      [SSE, chunk('a'), `data: {"usage":{"prompt_tokens":1e400,"completion_tokens":1}}\n\n`, DONE],
    ],
    ['broken', [SSE, chunk('a'), `data: {"usage":{"prompt_tokens":5\n\n`, DONE]],
    ['in a coding of its own', [head('text/event-stream', 'Content-Encoding: x-own\r\n'), 'abc']],
    ['in no type at all', ['HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n', '{"usage":{}}']],
    [
      'in broken gzip',
      [
        head('text/event-stream', 'Content-Encoding: gzip\r\n'),
        gzip(usageChunk).subarray(0, 20),
        'xxxx',
      ],
    ],
  ])('is charged what was reserved: %s', async (_, steps) => {
    const { spent } = await chargeFor(steps, { body: STREAM })
    expect(spent).toBeWithin(WHOLE, WHOLE * 1.2)
  })

  test('and is left: the bytes that passed, and silent thinking', async () => {
    const left = (leaveAfterMs: number, ...steps: Step[]) =>
      chargeFor([...steps, 'hold'], { body: STREAM, leaveAfterMs })
    const [soon, late, unanswered] = await Promise.all([
      left(300, SSE, chunk('a')),
      left(2300, SSE, chunk('a')),
      left(1500),
    ])
    expect(soon.spent).toBeWithin((2048 * 2.5 + 256 * 10) * 1.7, WHOLE)
    // 160 tokens at 80 a second.
    expect(late.spent - soon.spent).toBeWithin(100 * 10 * 1.7, 400 * 10 * 1.7)
    expect(unanswered.spent).toBeGreaterThan(soon.spent)
  })

  test('and is cut off by the upstream', async () => {
    const reset = (...steps: Step[]) =>
      chargeFor([...steps, { waitMs: 50 }, 'reset'], { body: STREAM, leaveAfterMs: 1000 })
    const [cut, said] = await Promise.all([
      reset(SSE, chunk('a')),
      reset(SSE, chunk('a') + usageChunk),
    ])
    expect(cut.spent).toBeWithin((2048 * 2.5 + 256 * 10) * 1.7, WHOLE)
    expect(said.spent).toBeWithin(EXACT, EXACT + 300 * 10)
  })
})

test('errors: instead of an answer free, after a part of one charged', async () => {
  const error = 'data: {"error":{"type":"server_error","message":"m"}}\n\n'
  expect((await chargeFor([SSE, error, DONE], { body: STREAM })).spent).toBe(0)
  expect(
    (await chargeFor([SSE, chunk('some words'), error], { body: STREAM })).spent,
  ).toBeGreaterThan(4000)
  expect(
    (await chargeFor([SSE, usageChunk, error], { body: STREAM })).spent,
  ).toBeGreaterThanOrEqual(EXACT)
  const refused =
    'HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}'
  expect(await chargeFor([refused])).toEqual({ status: 429, spent: 0, estimated: 0 })
})

test('attack: what no server reads alike is refused, or reserved by the dearer reading', async () => {
  const answer = [head('application/json'), JSON.stringify({ model: 'gpt-4o', choices: [] })]
  const whole = async (body: object, times: number) => {
    const { status, spent } = await chargeFor(answer, { body })
    expect([status, spent >= WHOLE * times]).toEqual([200, true])
  }
  await whole({ n: 0 }, 1)
  await whole({ max_tokens: 0 }, 6)
  await whole({ n: 3 }, 2.5)
  await whole({ best_of: 3 }, 2.5)
  for (const body of [
    { max_tokens: -1 },
    { max_tokens: '5' },
    { max_tokens: 1.5 },
    { n: '9' },
    { n: 1e300 },
    { web_search_options: {} },
    { prediction: { type: 'content', content: 'x' } },
    { service_tier: 'own' },
  ]) {
    const { status, spent } = await chargeFor(answer, { body })
    expect([JSON.stringify(body), status >= 400, spent]).toEqual([JSON.stringify(body), true, 0])
  }
})

test('the ledger, and `postern spend`, have the same sums', async () => {
  await eventually(async () => {
    const { stdout } = await runToEnd(['spend', '--json'], ENV)
    const { spending } = JSON.parse(stdout) as {
      spending: { name: string; spentMicroUsd: number }[]
    }
    const found = Object.fromEntries(spending.map((each) => [each.name, each.spentMicroUsd]))
    return Bun.deepEquals(found, Object.fromEntries(charged))
  })
  const { stdout } = await runToEnd(['usage', '--json', '--by', 'day'], ENV)
  const { total } = JSON.parse(stdout)
  const all = [...charged.values()].reduce((sum, each) => sum + each, 0)
  expect(total.costMicroUsd + total.estimate.costMicroUsd).toBe(all)
})

function gzip(text: string): Uint8Array {
  return new Uint8Array(zlib.gzipSync(text))
}
