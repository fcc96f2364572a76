// Reloads under a crowd of streams: none is touched, whatever is exchanged and however often, while others
// ask, and no memory is left behind. `POSTERN_LONG=1`: 200 reloads under 500 streams, and the heap.

import type { Subprocess } from 'bun'
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type DevIssuer, startIssuer } from '../../src/dev/issuer.ts'
import { authority } from '../support/authority.ts'
import { type LogLine, type Running, start, until } from '../support/binary.ts'
import { HASH_KEY, UNLIMITED } from '../support/settings.ts'

const LONG = process.env['POSTERN_LONG'] === '1'
const STREAMS = LONG ? 500 : 60
const RELOADS = LONG ? 100 : 20
const PERIOD_MS = 100
const EVENTS = LONG ? 60 : 10
const MB = 1_048_576

const folder = mkdtempSync(join(tmpdir(), 'postern-reloads-'))
const at = (name: string): string => join(folder, name)
const ca = authority()
const children = new Set<Subprocess>()
let issuer: DevIssuer

beforeAll(async () => {
  issuer = await startIssuer()
})
afterAll(async () => {
  for (const child of children) child.kill('SIGKILL')
  await issuer.close()
  ca.close()
  rmSync(folder, { recursive: true })
})

function put(name: string, text: string): void {
  writeFileSync(at(`${name}.new`), text, { mode: 0o600 })
  renameSync(at(`${name}.new`), at(name))
}

/** All that a reload can exchange, each time another. */
function write(number: number, upstream: string): void {
  const key = (digit: string): string => digit + HASH_KEY.slice(1)
  const [now, before] = number % 2 === 0 ? [key('1'), key('2')] : [key('2'), key('1')]
  const extra = `
  - { name: b, issuer: "https://b${number}.example", jwks_url: "${issuer.jwksUrl}", audiences: [b] }`
  const another = `
  - { kind: openai, name: o${number}, base_url: "${upstream}/v1", callers: [key] }`
  put('key', `tinfoil-key-${number}`)
  const prices = { input: number, output: 1, cache_read: 0, cache_write_5m: 0, cache_write_1h: 0 }
  put('prices.json', JSON.stringify({ date: '2026-11-29', models: { m: prices } }))
  put(
    'postern.yaml',
    `issuers:
  - { name: a, issuer: "${issuer.issuer}", jwks_url: "${issuer.jwksUrl}", audiences: [${issuer.audience}] }${number % 3 === 0 ? '' : extra}
upstreams:
  - { kind: tinfoil, api_key_file: ${at('key')}, base_url: "${upstream}", require_ehbp: false }${number % 2 === 0 ? '' : another}
policies: [{ name: p${number}, requests_per_minute: 0, concurrency: ${50_000 + number} }]
rules: [{ kind: user, policy: p${number} }]
limits:
  connect_seconds: ${10 + (number % 5)}
  headers_seconds: ${60 + (number % 5)}
  idle_seconds: ${60 + (number % 5)}
  circuit: { failures: ${5 + (number % 3)} }
listen: { cors_origins: ["https://app${number}.example"], trusted_proxies: [loopback] }
egress: { ca_file: ${ca.file}, no_proxy: host${number}.example }
ledger:
  prices_file: ${at('prices.json')}
  identity_hash_key: ${now}
  identity_hash_keys_old: [${before}]
log: { level: ${number % 2 === 0 ? 'info' : 'debug'} }
`,
  )
}

type Gate = Pick<Running, 'url' | 'port' | 'process' | 'lines' | 'rssBytes'>

const ENV = { ...UNLIMITED, MAX_IDENTITY_CONCURRENCY: '', POSTERN_CONFIG: at('postern.yaml') }

interface Measured {
  readonly before: number
  readonly after: number
}

/**
 * While events flow, and then again while every stream stands still: between those `measure` is asked, and
 * at the end, so that nothing but the reloads makes a difference.
 */
async function reloadedUnder(
  begin: () => Promise<Gate>,
  measure: (gate: Gate) => number | Promise<number>,
): Promise<Measured> {
  const here = import.meta.dir
  const upstream = run([
    `${here}/crowd-upstream.ts`,
    ...[STREAMS, EVENTS, PERIOD_MS].map(String),
    'held',
  ])
  const address = `http://127.0.0.1:${await until(() => upstream.lines()[0])}`
  write(0, address)
  const gate = await begin()
  const token = await issuer.token()
  const args = [`${here}/crowd-clients.ts`, gate.port, token, STREAMS, EVENTS].map(String)
  const clients = run(args)
  await until(() => clients.lines().includes('full'))
  const reloads = (): number => gate.lines().filter(({ msg }) => msg === 'settings reloaded').length
  const reload = async (number: number): Promise<void> => {
    const before = reloads()
    // Two at once, now and then.
    write(number, address)
    gate.process.kill('SIGHUP')
    if (number % 4 === 0) gate.process.kill('SIGHUP')
    // Requests that are admitted while it is exchanged.
    const asked = await Promise.all(
      Array.from({ length: 4 }, () =>
        fetch(`${gate.url}/v1/models`, { headers: { authorization: 'Bearer x' } }),
      ),
    )
    for (const each of asked) expect(each.status).toBe(401)
    await until(() => reloads() > before)
  }
  for (let number = 1; number <= RELOADS; number += 1) await reload(number)
  await until(() => upstream.lines().includes('held'))
  const before = await measure(gate)
  for (let number = 1; number <= RELOADS; number += 1) await reload(RELOADS + number)
  const after = await measure(gate)
  expect(gate.lines().filter(({ level }) => level === 'error')).toEqual([])
  // A wrong one changes nothing.
  put('postern.yaml', 'lissen: {}\n')
  gate.process.kill('SIGHUP')
  await until(() => gate.lines().some(({ msg }) => String(msg).includes('those of before go on')))
  expect(clients.lines()).toEqual(['full'])
  upstream.process.kill('SIGUSR2')
  const { longestGapMs: _, ...results } = JSON.parse((await until(() => clients.lines()[1])) ?? '')
  expect(results).toEqual({ complete: STREAMS, broken: 0 })
  gate.process.kill('SIGKILL')
  return { before, after }
}

test('no stream is touched, and the binary keeps its size', async () => {
  const { before, after } = await reloadedUnder(
    () => start(ENV),
    (gate) => gate.rssBytes(),
  )
  const grown = after - before
  console.log(`RSS ${(before / MB).toFixed(1)} MB, and ${(after / MB).toFixed(1)} MB after`)
  // What the collector has not got to yet: after 400 more it is no larger.
  expect(grown).toBeLessThan(32 * MB)
}, 120_000)

test.if(LONG)(
  'nor does the heap grow',
  async () => {
    const socket = at('heap')
    const { before, after } = await reloadedUnder(
      () => fromSource(socket),
      async () => {
        const { heapSize } = JSON.parse(await heapAt(socket)) as { heapSize: number }
        return heapSize
      },
    )
    console.log(`heap ${(before / MB).toFixed(2)} MB, and ${(after / MB).toFixed(2)} MB after`)
    expect(after - before).toBeLessThan(MB)
  },
  120_000,
)

async function heapAt(socket: string): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>()
  let text = ''
  await Bun.connect({
    unix: socket,
    socket: {
      data: (_socket, bytes) => void (text += bytes.toString()),
      close: () => resolve(text),
    },
  })
  return promise
}

async function fromSource(socket: string): Promise<Gate> {
  const env = {
    HOST: '127.0.0.1',
    PORT: '0',
    LOG_FORMAT: 'json',
    DATABASE_URL: 'sqlite::memory:',
    HEAP_SOCKET: socket,
    ...ENV,
  }
  const child = run([`${import.meta.dir}/heap-gate.ts`], env)
  const lines = (): LogLine[] => child.lines().map((line) => JSON.parse(line) as LogLine)
  const address = await until(() => lines().find(({ msg }) => msg === 'listening')?.['address'])
  const port = Number(String(address).split(':').at(-1))
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    process: child.process,
    lines,
    rssBytes: () => 0,
  }
}

function run(
  args: readonly string[],
  env?: Readonly<Record<string, string>>,
): { readonly process: Subprocess; lines(): string[] } {
  const child = Bun.spawn([process.execPath, ...args], {
    stdout: 'pipe',
    stderr: 'inherit',
    ...(env && { env }),
  })
  children.add(child)
  let text = ''
  const read = async (): Promise<void> => {
    const decoder = new TextDecoder()
    for await (const bytes of child.stdout) text += decoder.decode(bytes)
  }
  void read()
  return { process: child, lines: () => text.split('\n').slice(0, -1) }
}
