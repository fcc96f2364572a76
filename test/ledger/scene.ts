// The compiled binary in production mode between devices and an Anthropic that counts what it gives
// out, with a ledger in a folder of its own that goes when the test does.

import { mkdtempSync, rmSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type CommandEnd, type Running, start, until } from '../support/binary.ts'
import { runCommand } from '../support/command.ts'
import { HASH_KEY, devicesOf, UNLIMITED } from '../support/settings.ts'
import { bearer, eventually } from '../support/sink.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'

export const ADMIN_TOKEN = 'operator-canary-operator-canary-0000'
export const HAIKU = 'claude-haiku-4-5'

/** The four classes, as the ledger's API names them. */
export interface Used {
  readonly input: number
  readonly output: number
  readonly cacheRead: number
  readonly cacheCreation: number
}

export const NOTHING: Used = { input: 0, output: 0, cacheRead: 0, cacheCreation: 0 }

export function sum(all: Iterable<Used>): Used {
  const total = { ...NOTHING }
  for (const used of all) for (const name of CLASSES) total[name] += used[name]
  return total
}

const CLASSES = ['input', 'output', 'cacheRead', 'cacheCreation'] as const

/** Micro-dollars, by the rates of HAIKU in prices.json: 1, 5, 0.1 and 1.25 for a token. */
export const haikuCost = ({ input, output, cacheRead, cacheCreation }: Used): number =>
  Math.ceil((input * 100 + output * 500 + cacheRead * 10 + cacheCreation * 125) / 100)

export type Json = Readonly<Record<string, any>>

export interface Device {
  readonly token: string
  post(body: unknown, init?: RequestInit): Promise<Response>
  /** What it reads of itself. */
  own(query?: string): Promise<Json>
  /** The same, once so many of its requests have ended. */
  rows(count: number): Promise<readonly Json[]>
}

export interface LedgerScene {
  readonly gate: Running
  readonly upstream: Upstream
  readonly folder: string
  readonly env: Readonly<Record<string, string>>
  /** With a code of `postern enrol`'s, which takes these words. */
  device(...terms: readonly string[]): Promise<Device>
  /** With the operator's key. */
  admin(path: string, init?: RequestInit): Promise<Json>
  /** Starts it again with the same file, after whatever became of the one before. */
  restart(env?: Readonly<Record<string, string>>): Promise<void>
  command(...words: readonly string[]): Promise<CommandEnd>
  close(): Promise<void>
}

/** `run`: `runToEnd` where it matters that each command is a process. */
export async function ledgerScene(
  more: Readonly<Record<string, string>> = {},
  run = runCommand,
): Promise<LedgerScene> {
  const upstream = await startUpstream()
  const folder = mkdtempSync(join(tmpdir(), 'postern-ledger-test-'))
  const env = {
    ...devicesOf(upstream.url),
    IDENTITY_HASH_KEY: HASH_KEY,
    ADMIN_TOKEN,
    DATABASE_URL: `sqlite:${folder}/data/postern.db`,
    ...UNLIMITED,
    CIRCUIT_FAILURES: '1000',
    ...more,
  }
  let gate = await start(env)
  let enrolled = 0
  const scene: LedgerScene = {
    get gate() {
      return gate
    },
    upstream,
    folder,
    env,
    async device(...terms) {
      const { stdout } = await runCommand(['enrol', ...terms], env)
      enrolled += 1
      const response = await fetch(`${gate.url}/bootstrap`, {
        method: 'POST',
        body: JSON.stringify({ device_id: `device-${enrolled}`, enrollment_code: stdout.trim() }),
      })
      const { wrapper_token: token } = (await response.json()) as { wrapper_token: string }
      const own: Device['own'] = async (query = '') =>
        (await fetch(`${gate.url}/admin/usage${query}`, { headers: bearer(token) })).json() as never
      return {
        token,
        post: (body, init = {}) =>
          fetch(`${gate.url}/v1/messages`, {
            method: 'POST',
            body: typeof body === 'string' ? body : JSON.stringify(body),
            ...init,
            headers: {
              ...bearer(token),
              'content-type': 'application/json',
              ...(init.headers as Record<string, string>),
            },
          }),
        own,
        rows: (count) =>
          eventually(async () => {
            const { stats, metrics } = await own()
            return stats.totalRequests >= count && metrics
          }),
      }
    },
    async admin(path, init = {}) {
      const response = await fetch(gate.url + path, { ...init, headers: bearer(ADMIN_TOKEN) })
      return (await response.json()) as Json
    },
    async restart(other = {}) {
      hadNoBug(gate)
      gate = await start({ ...env, ...other })
    },
    command: (...words) => run(words, env),
    async close() {
      await gate.stop()
      await upstream.close()
      rmSync(folder, { recursive: true, force: true })
      hadNoBug(gate)
    },
  }
  return scene
}

/** A bug of one request ends no other, so that only the log tells of it. */
function hadNoBug(gate: Running): void {
  const bug = gate.lines().find(({ msg }) => /^un(?:handled|caught) |internal/.test(String(msg)))
  if (bug) throw new Error(JSON.stringify(bug))
}

/** The sums of the whole ledger, as a process of its own reads them. */
export async function told(scene: LedgerScene, ...words: readonly string[]): Promise<Json> {
  const { stdout } = await scene.command('usage', '--json', '--since', 'all', ...words)
  return JSON.parse(stdout).total
}

/** Waits until so many requests of everybody's have ended. */
export const ended = (scene: LedgerScene, count: number): Promise<Json> =>
  eventually(async () => {
    const stats = await scene.admin('/admin/stats')
    return stats['totalRequests'] >= count && stats
  })

const usageOf = ({ input, output, cacheRead, cacheCreation }: Used): Json => ({
  input_tokens: input,
  output_tokens: output,
  cache_read_input_tokens: cacheRead,
  cache_creation_input_tokens: cacheCreation,
})

/** A whole message. */
export function answerUnary(response: ServerResponse, used: Used, model = HAIKU): void {
  const body = { id: 'msg_1', type: 'message', role: 'assistant', model, content: [] }
  response
    .writeHead(200, { 'content-type': 'application/json' })
    .end(JSON.stringify({ ...body, usage: usageOf(used) }))
}

export const event = (name: string, more: object = {}): string =>
  `event: ${name}\ndata: ${JSON.stringify({ type: name, ...more })}\n\n`

/** The first words of a stream: they say all of the usage but how much will be written. */
export function beginStream(response: ServerResponse, used: Used, model = HAIKU): void {
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' })
  const usage = usageOf({ ...used, output: 1 })
  response.write(event('message_start', { message: { id: 'msg_1', model, usage } }))
}

export function delta(response: ServerResponse, text = 'some words '): void {
  const more = { index: 0, delta: { type: 'text_delta', text } }
  response.write(event('content_block_delta', more))
}

export function endStream(response: ServerResponse, { output }: Used): void {
  response.write(event('message_delta', { delta: {}, usage: { output_tokens: output } }))
  response.end(event('message_stop'))
}

export const refuseWith = (response: ServerResponse, status: number, type = 'api_error'): void =>
  void response
    .writeHead(status, { 'content-type': 'application/json' })
    .end(JSON.stringify({ type: 'error', error: { type, message: 'as it came' } }))

/** Leaves as soon as the request is upstream, which must have had none before it. */
export async function leaveAtOnce(
  { upstream }: LedgerScene,
  device: Device,
  body: unknown,
): Promise<void> {
  const leaving = new AbortController()
  const asked = device.post(body, { signal: leaving.signal }).catch(() => {})
  await until(() => upstream.seen.length === 1)
  leaving.abort()
  await asked
}

/** Reads one chunk, so that the answer has begun, and then leaves. */
export async function leaveMidway(device: Device, body: unknown): Promise<void> {
  const leaving = new AbortController()
  const response = await device.post(body, { signal: leaving.signal })
  await response.body?.getReader().read()
  leaving.abort()
}

export { until }
