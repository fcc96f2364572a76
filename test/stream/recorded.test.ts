// Streams of each dialect in random pieces, over two upstreams of a kind in one gate: requests and
// responses are byte for byte what was sent, and the ledger holds what each stream says of usage.
// 10,000 of them with POSTERN_LONG=1.

import { Database } from 'bun:sqlite'
import { expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startIssuer } from '../../src/dev/issuer.ts'
import { start } from '../support/binary.ts'
import { howMany } from '../support/long.ts'
import { soon } from '../support/patience.ts'
import { type Random, seeded } from '../support/random.ts'
import { HASH_KEY, UNLIMITED } from '../support/settings.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'
import { piecesOf } from '../upstream/pieces.ts'
import { type Dialect, type RecordedStream, recordedStream } from './recorded-streams.ts'

const STREAMS = howMany(200, 10_000)
const AT_ONCE = 12
const DIALECTS: readonly Dialect[] = ['chat', 'responses', 'messages']
/** In both kinds. */
const NAMES = ['east', 'west'] as const

interface Sent {
  readonly recorded: RecordedStream
  readonly pieces: readonly Uint8Array[]
  readonly name: string
  readonly body: Buffer
}

test('streams of two upstreams of a kind pass as they are', seeded(run), howMany(60_000, 1_800_000))

async function run(random: Random): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'postern-recorded-'))
  const issuer = await startIssuer()
  const sent = new Map<string, Sent>()
  const wrong: string[] = []
  const upstreams = new Map<string, Upstream>()
  for (const kind of ['openai', 'anthropic']) {
    for (const name of NAMES) upstreams.set(`${kind}-${name}`, await startUpstream())
  }
  for (const [name, upstream] of upstreams) {
    upstream.respond(async (_request, response, body) => {
      upstream.seen.length = 0
      const stream = sent.get(/"run (\d+)"/.exec(body.toString())?.[1] ?? '')
      if (!stream?.body.equals(body)) wrong.push('a request arrived otherwise than it was sent')
      if (stream?.name !== name) wrong.push(`${name} got a request of ${stream?.name}`)
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      for (const piece of stream?.pieces ?? []) await write(response, piece)
      response.end()
    })
  }
  const path = join(folder, 'postern.yaml')
  writeFileSync(path, documentOf(upstreams, issuer, folder), { mode: 0o600 })
  // One caller's error events in a row would slow that caller, as chance has them now and then.
  const circuit = { CIRCUIT_FAILURES: '1000' }
  const env = { ...UNLIMITED, ...circuit, POSTERN_CONFIG: path, IHK: HASH_KEY, DATABASE_URL: '' }
  const gate = await start(env)
  const agent = new http.Agent({ keepAlive: true, maxSockets: AT_ONCE })
  try {
    const token = await issuer.token()
    const ids = new Map<string, Sent>()
    let count = 0
    const lane = async (): Promise<void> => {
      while (count < STREAMS) {
        const number = String((count += 1))
        const stream = toSend(number, random)
        sent.set(number, stream)
        const { id, body } = await soon(ask(gate.port, agent, token, stream, random), number)
        if (!body.equals(stream.recorded.bytes)) wrong.push(`${number}: ${body}`)
        sent.delete(number)
        ids.set(id, stream)
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, lane))
    expect(wrong).toEqual([])
    expect(ids.size).toBe(STREAMS)
    expect(await gate.stop('SIGTERM')).toBe(0)
    expect(miscounted(join(folder, 'postern.db'), ids)).toEqual([])
  } finally {
    agent.destroy()
    await gate.stop()
    for (const upstream of upstreams.values()) await upstream.close()
    await issuer.close()
    rmSync(folder, { recursive: true })
  }
}

const kindOf = (dialect: Dialect): string => (dialect === 'messages' ? 'anthropic' : 'openai')

function documentOf(
  upstreams: ReadonlyMap<string, Upstream>,
  { issuer, jwksUrl, audience }: { issuer: string; jwksUrl: string; audience: string },
  folder: string,
): string {
  const listed = [...upstreams].map(([name, { url }]) => ({
    kind: name.split('-')[0],
    name,
    base_url: name.startsWith('openai') ? `${url}/v1` : url,
    key_header: name.startsWith('anthropic') ? 'none' : undefined,
    callers: ['user'],
    models: [`${name}/*`],
  }))
  return JSON.stringify({
    issuers: [{ issuer, jwks_url: jwksUrl, audiences: [audience] }],
    upstreams: listed,
    devices: { signing_secrets: [HASH_KEY.split('').toReversed().join('')] },
    ledger: { database_url: `sqlite:${join(folder, 'postern.db')}`, identity_hash_key: '${IHK}' },
  })
}

function toSend(number: string, random: Random): Sent {
  const dialect = random.pick(DIALECTS)
  const name = `${kindOf(dialect)}-${random.pick(NAMES)}`
  const space = ' '.repeat(random.int(3))
  const said = random.pick(['hi', 'wörld 🐤', '\\u0041\\n', 'x'.repeat(random.int(3000))])
  const model = `"model":${space}"${name}/m"`
  const content = `"messages":[{"role":"user","content":"${said}"}],"input":"run ${number}"`
  const recorded = recordedStream(dialect, random)
  return {
    recorded,
    pieces: piecesOf(recorded.bytes, random),
    name,
    body: Buffer.from(`{${space}${model},"stream":true,"max_tokens":9,${content}}`),
  }
}

async function write(to: http.ServerResponse | http.ClientRequest, piece: Uint8Array) {
  if (piece.length > 0) to.write(piece)
  if (piece.length % 4 === 0) await new Promise(setImmediate)
}

async function ask(
  port: number,
  agent: http.Agent,
  token: string,
  { recorded, body }: Sent,
  random: Random,
): Promise<{ readonly id: string; readonly body: Buffer }> {
  const answered = Promise.withResolvers<http.IncomingMessage>()
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  const request = http.request(
    { port, agent, method: 'POST', path: recorded.path, headers },
    answered.resolve,
  )
  request.on('error', answered.reject)
  for (const piece of piecesOf(body, random)) await write(request, piece)
  request.end()
  const answer = await answered.promise
  const chunks: Buffer[] = []
  for await (const chunk of answer) chunks.push(chunk as Buffer)
  return { id: String(answer.headers['x-request-id']), body: Buffer.concat(chunks) }
}

interface Row {
  readonly request_id: string
  readonly upstream: string
  readonly usage: string
  readonly input_tokens: number | null
  readonly output_tokens: number | null
  readonly cache_read_tokens: number | null
}

/** The rows that say something else than their streams, and the streams without one row. */
function miscounted(file: string, ids: ReadonlyMap<string, Sent>): readonly object[] {
  const database = new Database(file, { readonly: true })
  const rows = database.query<Row, []>('SELECT * FROM ledger').all()
  database.close()
  const told = new Map(rows.map((row) => [row.request_id, row]))
  const wrong: object[] = rows.length === ids.size ? [] : [{ rows: rows.length }]
  for (const [id, { name, recorded }] of ids) {
    const row = told.get(id)
    const { usage } = recorded
    const isRight = usage
      ? row?.usage === 'exact' &&
        row.input_tokens === usage.input_tokens &&
        row.output_tokens === usage.output_tokens &&
        row.cache_read_tokens === usage.cache_read_tokens
      : row !== undefined && row.usage !== 'exact'
    if (!isRight || row?.upstream !== name) wrong.push({ name, usage, row })
  }
  return wrong.slice(0, 5)
}
