// What a signal does to a running gate, amid a stream: none ends it at once but the second of those
// that stop it.

import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'bun:test'
import type { ReadableStreamDefaultReader } from 'node:stream/web'
import { until } from '../support/binary.ts'
import { type Scene, scene } from '../support/gate.ts'
import { bearer } from '../support/sink.ts'
import { chunk, event, LAST_CHUNK, rawUpstream, SSE_HEAD } from '../stream/raw-upstream.ts'
import type { RawRequest, RawUpstream } from '../stream/raw-upstream.ts'
import { redirected } from './scene.ts'

const LIMIT_MS = 30_000

let upstream: RawUpstream
let asked: RawRequest | undefined
beforeAll(async () => {
  upstream = await rawUpstream((request) => {
    asked = request
    request.socket.write(SSE_HEAD + chunk(event(0)))
  })
})
afterAll(() => upstream.close())

let at: Scene
beforeEach(async () => {
  at = await scene({ env: { TINFOIL_BASE_URL: upstream.url } })
})
afterEach(() => at.close())

async function stream(): Promise<ReadableStreamDefaultReader<Uint8Array>> {
  const response = await fetch(`${at.gate.url}/v1/chat/completions`, {
    method: 'POST',
    headers: bearer(at.token),
    body: '{}',
  })
  const reader = (
    response.body as ReadableStream<Uint8Array>
  ).getReader() as ReadableStreamDefaultReader<Uint8Array>
  await reader.read()
  return reader
}

async function rest(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<string> {
  let text = ''
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return text
    text += Buffer.from(value).toString()
  }
}

const said = (signal: string, times: number): Promise<unknown> =>
  until(() => at.gate.lines().filter((line) => line['signal'] === signal).length === times)

test(
  'SIGHUP, SIGUSR1, SIGUSR2 are said and end nothing, not even the second time',
  async () => {
    const reader = await stream()
    for (const signal of ['SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const) {
      for (const times of [1, 2]) {
        at.gate.process.kill(signal)
        await said(signal, times)
      }
    }
    at.gate.process.kill('SIGPIPE')
    asked?.socket.write(chunk(event(1)) + LAST_CHUNK)
    expect(await rest(reader)).toBe(event(1))
    const hup = at.gate.lines().find(({ signal }) => signal === 'SIGHUP')
    expect(hup?.['msg']).toContain('settings are read at start')
    // Neither a debugger nor a second listener came of it.
    expect(at.gate.errors()).toBe('')
    expect(await at.gate.stop('SIGTERM')).toBe(0)
  },
  LIMIT_MS,
)

test(
  'SIGQUIT drains like SIGTERM',
  async () => {
    const reader = await stream()
    const exited = at.gate.stop('SIGQUIT')
    await said('SIGQUIT', 1)
    asked?.socket.write(chunk(event(1)) + LAST_CHUNK)
    expect(await rest(reader)).toBe(event(1))
    expect(await exited).toBe(0)
    expect(at.gate.lines().at(-1)?.['msg']).toBe('stopped')
  },
  LIMIT_MS,
)

test.each([
  ['SIGQUIT', 'SIGTERM', 143],
  ['SIGTERM', 'SIGQUIT', 131],
  ['SIGTERM', 'SIGINT', 130],
] as const)(
  '%s and then %s ends it at once',
  async (first, second, exitCode) => {
    const reader = await stream()
    at.gate.process.kill(first)
    await said(first, 1)
    expect(await at.gate.stop(second)).toBe(exitCode)
    await reader.cancel().catch(() => {})
  },
  LIMIT_MS,
)

test(
  'SIGHUP during a drain changes nothing of it',
  async () => {
    const reader = await stream()
    const exited = at.gate.stop('SIGTERM')
    await said('SIGTERM', 1)
    at.gate.process.kill('SIGHUP')
    await said('SIGHUP', 1)
    asked?.socket.write(chunk(event(1)) + LAST_CHUNK)
    expect(await rest(reader)).toBe(event(1))
    expect(await exited).toBe(0)
  },
  LIMIT_MS,
)

test(
  'SIGTSTP stops it, and SIGCONT lets it go on',
  async () => {
    const reader = await stream()
    at.gate.process.kill('SIGTSTP')
    at.gate.process.kill('SIGCONT')
    asked?.socket.write(chunk(event(1)) + LAST_CHUNK)
    expect(await rest(reader)).toBe(event(1))
    expect(await at.gate.stop('SIGTERM')).toBe(0)
  },
  LIMIT_MS,
)

test.skipIf(process.platform !== 'linux')(
  'a gate whose terminal was closed drains and ends; under nohup it goes on',
  async () => {
    const gate = await redirected('', ':', { onTerminal: true })
    gate.child.terminal?.close()
    expect(await gate.child.exited).toBe(0)

    const kept = await redirected('>/dev/null', "trap '' HUP", { onTerminal: true })
    kept.child.terminal?.close()
    kept.child.kill('SIGHUP')
    expect(await kept.ask()).toBe(401)
    expect(await kept.end()).toBe(0)
  },
  LIMIT_MS,
)
