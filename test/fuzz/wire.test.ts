// Header lists in both directions, and streams in any pieces, through the compiled binary: what
// crosses is on a list, crosses as it was sent, and brings nothing else along.

import { Database } from 'bun:sqlite'
import { afterAll, beforeAll, expect, test } from 'bun:test'
import type { Socket } from 'node:net'
import { userAgent } from '../../src/version.ts'
import { ANTHROPIC_KEY, anthropicScene, type DeviceScene, VERSION } from '../support/anthropic.ts'
import { until } from '../support/binary.ts'
import { ENCAPSULATED_KEY } from '../support/gate.ts'
import type { Random } from '../support/random.ts'
import { chunk, LAST_CHUNK, rawUpstream, type RawUpstream } from '../stream/raw-upstream.ts'
import { soon } from '../support/patience.ts'
import { wire, type Wire } from '../stream/wire.ts'
import { piecesOf } from '../upstream/pieces.ts'
import { chance, fuzz, FUZZ_MS } from './fuzz.ts'
import { type Fold, foldOf, messageOf } from './sse-reference.ts'

const USER_KEY = 'tinfoil-key-canary-8c1f'
/** Stands in every header that must not cross. */
const CANARY = 'must-not-cross'

type Line = readonly [name: string, value: string]
type Way = 'anthropic' | 'tinfoil'

interface Round {
  readonly way: Way
  readonly up: readonly Line[]
  readonly down: readonly Line[]
  readonly body: Buffer
}

let at: DeviceScene
let upstream: RawUpstream
let device = ''
let user = ''
let answer: (socket: Socket) => Promise<void> = async () => {}
const heads: string[] = []
beforeAll(async () => {
  upstream = await rawUpstream(({ head, socket }) => {
    heads.push(head)
    void answer(socket)
  })
  const env = { ANTHROPIC_BASE_URL: upstream.url, TINFOIL_BASE_URL: upstream.url }
  at = await anthropicScene({ users: true, env: { ...env, CIRCUIT_FAILURES: '1000' } })
  device = await at.device()
  user = (await at.issuer?.token()) ?? ''
})
afterAll(async () => {
  await at.close()
  await upstream.close()
})

const OURS: Readonly<Record<Way, readonly Line[]>> = {
  anthropic: [['x-api-key', ANTHROPIC_KEY]],
  tinfoil: [
    ['authorization', `Bearer ${USER_KEY}`],
    ['x-tinfoil-request-usage-metrics', 'true'],
  ],
}

/** What may cross upwards, by hand from the documentation and not from the code. */
function mayRise(way: Way, name: string): boolean {
  const common = ['content-type', 'content-encoding', 'accept', 'accept-encoding']
  if (common.includes(name)) return true
  if (way === 'tinfoil') return name === 'ehbp-encapsulated-key'
  return name.startsWith('anthropic-') || name.startsWith('x-claude-code-')
}

function maySink(way: Way, name: string): boolean {
  const common = ['content-type', 'content-encoding', 'content-disposition']
  if ([...common, 'cache-control', 'retry-after'].includes(name)) return true
  return way === 'tinfoil'
    ? ['content-language', 'ehbp-response-nonce'].includes(name)
    : ['x-should-retry', 'request-id'].includes(name)
}

const NAMES = [
  'Content-Type',
  'Accept',
  'Accept-Encoding',
  'Content-Encoding',
  'Anthropic-Beta',
  'Anthropic-Organization',
  'X-Claude-Code-Session',
  'x-claude-codex',
  'anthropic_version',
  'Cookie',
  'Proxy-Authorization',
  'X-Forwarded-For',
  'Forwarded',
  'Via',
  'Origin',
  'Referer',
  'User-Agent',
  'TE',
  'Trailer',
  'Keep-Alive',
  'Upgrade',
  'X-Authorization',
  'X-Goog-Api-Key',
  'Range',
  'If-None-Match',
  'X-Tinfoil-Request-Usage-Metrics',
  'X-Host',
  'X-Odd',
  'Priority',
]
const ANSWER_NAMES = [
  'Content-Type',
  'Content-Encoding',
  'Cache-Control',
  'Retry-After',
  'Content-Language',
  'Content-Disposition',
  'Ehbp-Response-Nonce',
  'X-Should-Retry',
  'Request-Id',
  'X-Request-Id',
  'Set-Cookie',
  'Server',
  'Alt-Svc',
  'Location',
  'Link',
  'Access-Control-Allow-Origin',
  'Via',
  'WWW-Authenticate',
  'Proxy-Authenticate',
  'Keep-Alive',
  'Upgrade',
  'X-Hop',
  'ETag',
  'Vary',
  'Anthropic-Organization-Id',
  'X-Tinfoil-Usage-Metrics',
  'X-RateLimit-Limit',
  'Refresh',
]
const PLAIN = [
  'x',
  'a, b',
  '"q"; v=1',
  'text/plain',
  '*/*',
  'a\tb',
  'W/"1"',
  '=,;',
  'x'.repeat(500),
]

const cased = (random: Random, name: string): string =>
  random.pick([name, name.toLowerCase(), name.toUpperCase()])

function lines(
  random: Random,
  names: readonly string[],
  crosses: (name: string) => boolean,
): Line[] {
  return Array.from({ length: random.int(14) }, () => {
    const name = random.pick(names)
    const value = crosses(name.toLowerCase()) ? random.pick(PLAIN) : `${CANARY}-${random.int(99)}`
    return [cased(random, name), value] as const
  })
}

function roundOf(random: Random): Round {
  const way = random.pick(['anthropic', 'tinfoil'] as const)
  const up = lines(random, NAMES, (name) => mayRise(way, name))
  const down = lines(random, ANSWER_NAMES, (name) => maySink(way, name))
  if (way === 'tinfoil' && chance(random, 0.3)) up.push(['Ehbp-Encapsulated-Key', ENCAPSULATED_KEY])
  // What a Connection header names is no less for that, and no more.
  if (chance(random, 0.3)) up.push(['Connection', 'authorization, content-type, x-api-key'])
  if (chance(random, 0.3)) down.push(['Connection', 'retry-after, content-type, x-hop'])
  const streams = chance(random, 0.5)
  const body = streams
    ? Buffer.from(messageOf(random))
    : Buffer.from(Array.from({ length: random.int(3000) }, () => random.int(256)))
  const said = down.filter(([name]) => !/^content-(?:type|encoding)$/i.test(name))
  return { way, up, down: streams ? [...said, ['content-type', 'text/event-stream']] : down, body }
}

/** What the other side must have of `sent`: the same name twice is one, joined in its order. */
function joined(sent: readonly Line[], crosses: (name: string) => boolean): Record<string, string> {
  const found: Record<string, string> = {}
  for (const [name, value] of sent) {
    const key = name.toLowerCase()
    if (crosses(key)) found[key] = found[key] === undefined ? value : `${found[key]}, ${value}`
  }
  return found
}

const parsed = (head: string): Line[] =>
  head
    .split('\r\n')
    .slice(1)
    .map((line) => {
      const colon = line.indexOf(':')
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const
    })

function send({ way, up }: Round, id: string): Wire {
  const headers = [...up.map((each) => each.join(': ')), `X-Request-Id: ${id}`]
  if (way === 'anthropic') headers.push(`anthropic-version: ${VERSION['anthropic-version']}`)
  return wire(at.gate.port, {
    token: way === 'anthropic' ? device : user,
    path: way === 'anthropic' ? '/v1/messages' : '/v1/chat/completions',
    headers,
    body: '{}',
  })
}

function hasRisen({ way, up }: Round, head: string): void {
  const expected = joined(up, (name) => mayRise(way, name))
  if (way === 'anthropic') {
    expected['anthropic-version'] = VERSION['anthropic-version']
  }
  const framing = [
    ['host', `127.0.0.1:${upstream.port}`],
    ['user-agent', userAgent],
    ['content-length', '2'],
  ] as const
  const all = [...Object.entries(expected), ...OURS[way], ...framing]
  expect(parsed(head).toSorted()).toEqual(all.toSorted())
}

/** Of every answer of ours. */
const ALWAYS = new Set(['date', 'x-request-id', 'x-protocol-version', 'connection', 'keep-alive'])
const FRAMING = new Set(['content-length', 'transfer-encoding'])

function hasSunk({ way, down }: Round, one: Wire, id: string): void {
  const names = [...one.headers.keys()].filter((name) => !ALWAYS.has(name) && !FRAMING.has(name))
  const sent = Map.groupBy(
    down.filter(([name]) => maySink(way, name.toLowerCase())),
    ([name]) => name.toLowerCase(),
  )
  const own = new Set(['content-type'])
  const streamed = one.headers.get('x-accel-buffering') === 'no'
  if (streamed) own.add('x-accel-buffering').add('cache-control')
  if (way !== 'tinfoil') own.add('request-id')
  if (own.has('request-id') && !sent.has('request-id')) {
    expect(one.headers.get('request-id')).toBe(id)
  }
  expect(names.filter((name) => !sent.has(name) && !own.has(name))).toEqual([])
  for (const [name, all] of sent) {
    const values = all.map(([, value]) => value)
    if (name === 'cache-control' && streamed) {
      expect(one.headers.get(name)).toStartWith(values[0] ?? '')
      expect(one.headers.get(name)).toContain('no-transform')
      continue
    }
    // RFC 9110 §5.3: of a name that must not stand twice, the first or all of them, and no other.
    expect([values[0], values.join(', ')]).toContain(one.headers.get(name))
  }
  expect(one.headers.get('x-request-id')).toBe(id)
  expect([...one.headers.values()].join('\n')).not.toContain(CANARY)
}

const expectedUsage = new Map<string, Fold>()
let sentSoFar = 0

test(
  'headers and bytes cross as the lists say, in both directions',
  fuzz(
    'wire',
    60,
    async (random) => {
      const round = roundOf(random)
      const id = `fuzz-${(sentSoFar += 1)}`
      const pieces = piecesOf(round.body, random).filter(({ length }) => length > 0)
      answer = async (socket) => {
        const said = round.down.map((each) => each.join(': '))
        socket.write(
          `${['HTTP/1.1 200 OK', ...said, 'Transfer-Encoding: chunked'].join('\r\n')}\r\n\r\n`,
        )
        for (const piece of pieces) {
          const raw = chunk(piece)
          const cut = random.int(raw.byteLength)
          socket.write(raw.subarray(0, cut))
          if (chance(random, 0.1)) await Bun.sleep(1)
          socket.write(raw.subarray(cut))
        }
        socket.write(LAST_CHUNK)
      }
      heads.length = 0
      const one = send(round, id)
      try {
        await soon(one.finished, 'an answer')
      } finally {
        one.socket.destroy()
      }
      // A sealed request wants an answer with a nonce, and gets 502 where it has none.
      const sealed = round.up.some(([name]) => name === 'Ehbp-Encapsulated-Key')
      expect(one.status).toBe(sealed ? 502 : 200)
      expect(heads).toHaveLength(1)
      hasRisen(round, heads[0] ?? '')
      if (sealed) return
      hasSunk(round, one, id)
      expect(one.whole).toBe(true)
      expect(one.body().equals(round.body)).toBe(true)
      const streamed = one.headers.get('content-type') === 'text/event-stream'
      if (round.way === 'anthropic' && streamed) {
        expectedUsage.set(id, foldOf(round.body.toString()))
      }
    },
    0.02,
  ),
  FUZZ_MS,
)

test("the ledger has the counts of each stream's events", async () => {
  const database = new Database(at.databaseFile, { readonly: true })
  const rows = database.query<Record<string, unknown>, []>(
    'SELECT * FROM ledger WHERE end_reason IS NOT NULL',
  )
  await until(() => rows.all().length >= sentSoFar)
  for (const row of rows.all()) {
    const expected = expectedUsage.get(String(row['request_id']))
    if (!expected) continue
    const { state, ...counts } = expected
    const none = state === 'unknown'
    expect(row).toMatchObject({
      usage: state,
      input_tokens: none ? null : counts.inputTokens,
      output_tokens: none ? null : counts.outputTokens,
      cache_read_tokens: none ? null : counts.cacheReadTokens,
    })
  }
  database.close()
  expect(expectedUsage.size).toBeGreaterThan(0)
  expect(at.gate.errors()).toBe('')
  expect(at.gate.lines().filter(({ msg }) => msg !== 'request' && msg !== 'listening')).toEqual([])
})
