// A gate before two or three scripted upstreams of one kind, as a document sets it up.

import { Database } from 'bun:sqlite'
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type CommandEnd, type Running, runToEnd, start } from '../support/binary.ts'
import { HASH_KEY, UNLIMITED } from '../support/settings.ts'
import { bearer, eventually } from '../support/sink.ts'
import { type ScriptedUpstream, scriptedUpstream } from './scripted-upstream.ts'

export interface Answered {
  readonly status: number
  readonly headers: Headers
  readonly body: string
  readonly id: string
}

export interface Row {
  readonly request_id: string
  readonly upstream: string
  readonly end_reason: string | null
  readonly status: number | null
  readonly cost_micro_usd: number | null
  readonly estimated_cost_micro_usd: number | null
}

export interface FallbackScene {
  readonly gate: Running
  readonly one: ScriptedUpstream
  readonly two: ScriptedUpstream
  /** How many bodies reached each since the last call. */
  reached(): readonly [one: number, two: number]
  ask(body?: object, more?: AskOptions): Promise<Answered>
  /** The key that may do everything. */
  readonly token: string
  key(name: string, ...flags: string[]): Promise<string>
  command(...args: string[]): Promise<CommandEnd>
  rows(id: string): Promise<readonly Row[]>
  /** Of the request's line in the log. */
  logged(id: string): Promise<Readonly<Record<string, unknown>>>
  /** A reload, waited for. */
  write(more: string): Promise<void>
  close(): Promise<void>
}

export interface AskOptions {
  readonly path?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly key?: string
  readonly signal?: AbortSignal
  readonly raw?: string | ReadableStream<Uint8Array>
}

export const KEYS = { one: 'key-canary-of-one-0123', two: 'key-canary-of-two-4567' }
export const CHAT = { model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'hi' }] }

let asked = 0

export interface SceneOptions {
  /** What the gate takes for the first upstream: a proxy before it. */
  readonly oneUrl?: (url: string) => string | Promise<string>
  /** Instead of an upstream of kind openai. */
  readonly oneEntry?: (url: string) => string
  readonly twoEntry?: (url: string) => string
  readonly env?: Readonly<Record<string, string>>
  /** By which a new key is tried, if not by a chat. */
  readonly warmUp?: Pick<AskOptions, 'path' | 'headers'>
}

const entryOf = (name: keyof typeof KEYS, url: string): string =>
  `kind: openai, name: ${name}, base_url: "${url}/v1", api_key: "\${KEY_${name.toUpperCase()}}", callers: [key]`

/** `more`: what stands in the document beside the upstreams. */
export async function fallbackScene(
  more: string,
  options: SceneOptions = {},
): Promise<FallbackScene> {
  const folder = mkdtempSync(join(tmpdir(), 'postern-fallback-'))
  const config = join(folder, 'postern.yaml')
  const database = join(folder, 'postern.db')
  const one = await scriptedUpstream()
  const two = await scriptedUpstream()
  const oneUrl = (await options.oneUrl?.(one.url)) ?? one.url
  const put = (text: string): void => {
    const first = options.oneEntry?.(oneUrl) ?? entryOf('one', oneUrl)
    const lines = [
      'upstreams:',
      `  - { ${first} }`,
      `  - { ${options.twoEntry?.(two.url) ?? entryOf('two', two.url)} }`,
      text,
    ]
    writeFileSync(`${config}.new`, `${lines.join('\n')}\n`, { mode: 0o600 })
    renameSync(`${config}.new`, config)
  }
  put(more)
  const env = {
    POSTERN_CONFIG: config,
    DATABASE_URL: `sqlite:${database}`,
    IDENTITY_HASH_KEY: HASH_KEY,
    KEY_ONE: KEYS.one,
    KEY_TWO: KEYS.two,
    CONNECT_TIMEOUT_SECONDS: '2',
    ...UNLIMITED,
    ...options.env,
  }
  const command = (...args: string[]): Promise<CommandEnd> => runToEnd(args, env, folder)
  const gate = await start(env)
  const addKey = async (name: string, ...flags: string[]): Promise<string> => {
    const { stdout, stderr, exitCode } = await command('key', 'add', name, ...flags)
    if (exitCode !== 0) throw new Error(stderr)
    return stdout.trim()
  }
  const key = await addKey('all')
  const ask: FallbackScene['ask'] = async (body = CHAT, options = {}) => {
    const id = `fallback-${(asked += 1)}`
    const headers = {
      ...bearer(options.key ?? key),
      'content-type': 'application/json',
      'x-request-id': id,
      ...options.headers,
    }
    const response = await fetch(gate.url + (options.path ?? '/v1/chat/completions'), {
      method: 'POST',
      headers,
      body: options.raw ?? JSON.stringify(body),
      ...(options.signal && { signal: options.signal }),
    })
    const { status } = response
    let text = ''
    try {
      text = await response.text()
    } catch {
      text = 'broken'
    }
    return { status, headers: response.headers, body: text, id }
  }
  /** A key is taken in a little later. */
  const known = async (its: string): Promise<void> => {
    await eventually(async () => (await ask(CHAT, { key: its, ...options.warmUp })).status === 200)
    for (const { taken } of [one, two]) taken.length = 0
  }
  await known(key)
  return {
    gate,
    one,
    two,
    reached: () => [one.taken.splice(0).length, two.taken.splice(0).length],
    ask,
    token: key,
    command,
    async key(name, ...flags) {
      const its = await addKey(name, ...flags)
      await known(its)
      return its
    },
    rows: (id) =>
      eventually(async () => {
        const rows = openRows(database, id)
        return rows.length > 0 && rows.every(({ end_reason: end }) => end !== null) && rows
      }),
    logged: (id) =>
      eventually(async () =>
        gate.lines().find((line) => line['request_id'] === id && line['msg'] === 'request'),
      ),
    async write(text) {
      const before = reloads(gate)
      put(text)
      await eventually(async () => reloads(gate) > before)
    },
    async close() {
      await gate.stop()
      await one.down()
      await two.down()
      rmSync(folder, { recursive: true })
    },
  }
}

function openRows(path: string, id: string): readonly Row[] {
  const database = new Database(path, { readonly: true })
  try {
    return database
      .query<Row, [string]>('SELECT * FROM ledger WHERE request_id = ? ORDER BY id')
      .all(id)
  } finally {
    database.close()
  }
}

const reloads = (gate: Running): number =>
  gate.lines().filter(({ msg }) => msg === 'settings reloaded').length
