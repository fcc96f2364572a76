// 44: whoever stands still is waited for as long as the settings say, and no longer.

import { afterAll, beforeAll, expect, test } from 'bun:test'
import net from 'node:net'
import { until } from '../support/binary.ts'
import { type Scene, scene } from '../support/gate.ts'
import { chunk, event, type RawRequest, rawUpstream, SSE_HEAD } from './raw-upstream.ts'
import type { RawUpstream } from './raw-upstream.ts'
import { soon } from '../support/patience.ts'
import { type Wire, type WireRequest, wire } from './wire.ts'

// Long beside what the tests in this process cost: nobody is late by a busy machine.
const HEADERS_MS = 4000
const CONNECT_MS = 4000
const IDLE_MS = 5000

const LIMITS = {
  HEADERS_TIMEOUT_SECONDS: '4',
  BODY_TIMEOUT_SECONDS: '4',
  CONNECT_TIMEOUT_SECONDS: '4',
  IDLE_TIMEOUT_SECONDS: '5',
}

let at: Scene
let upstream: RawUpstream
const asked = new Map<string, RawRequest>()
beforeAll(async () => {
  upstream = await rawUpstream(answer, { early: true })
  at = await scene({ env: { ...LIMITS, TINFOIL_BASE_URL: upstream.url } })
})
afterAll(async () => {
  await at.close()
  await upstream.close()
})

function answer(request: RawRequest): void {
  const { query, socket } = request
  const how = query.get('how') ?? ''
  asked.set(how, request)
  // A socket that is not read does not notice its end.
  setTimeout(() => socket.resume(), 300)
  if (how === 'trickle') {
    const head = 'HTTP/1.1 200 OK\r\nX-Never: '
    let sent = 0
    const timer = setInterval(() => socket.write(head[sent++] ?? 'x'), 50)
    void request.closed.then(() => clearInterval(timer))
  } else if (how === 'idle') {
    socket.write(SSE_HEAD + chunk(event(0)))
  } else if (how.startsWith('early')) {
    const [status, words] = how === 'early-413' ? [413, 'too much'] : [200, 'good already']
    socket.write(
      `HTTP/1.1 ${status} Early\r\nContent-Type: text/plain\r\n` +
        `Content-Length: ${words.length}\r\n\r\n${words}`,
    )
  }
}

const ask = (how: string, more: Partial<WireRequest> = {}, of = at): Wire =>
  wire(of.gate.port, {
    token: of.token,
    path: `/v1/chat/completions?how=${how}`,
    body: '{}',
    ...more,
  })

async function timed(of: Wire): Promise<number> {
  const started = performance.now()
  await soon(of.finished, 'an answer')
  return performance.now() - started
}

const codeOf = (of: Wire): unknown => JSON.parse(of.body().toString()).error.code

for (const how of ['silence', 'trickle']) {
  test.concurrent(`44: no headers (${how}): 504 when their time is over`, async () => {
    const one = ask(how)
    const took = await timed(one)
    expect([one.status, codeOf(one)]).toEqual([504, 'upstream_timeout'])
    expect(took).toBeGreaterThan(HEADERS_MS - 50)
    await soon(asked.get(how)?.closed ?? Promise.reject(), "the upstream's connection")
    const line = await at.gate.logged(one.headers.get('x-request-id') ?? '')
    expect(line).toMatchObject({ status: 504, end: 'timeout', reason: 'headers_timeout' })
  })
}

test.concurrent('44: a stream that stands still is broken, not ended', async () => {
  const one = ask('idle')
  const started = performance.now()
  await soon(one.head, 'the head')
  const line = await at.gate.logged(one.headers.get('x-request-id') ?? '')
  expect(performance.now() - started).toBeGreaterThan(IDLE_MS - 50)
  expect(line).toMatchObject({ level: 'warn', status: 200, end: 'timeout' })
  await soon(asked.get('idle')?.closed ?? Promise.reject(), "the upstream's connection")
  await soon(one.end, 'the break')
  expect(one.body().toString()).toBe(event(0))
  expect(one.whole).toBe(false)
})

test.concurrent('44: a small upload that stands still is 408 and reaches no upstream', async () => {
  const one = ask('never', { headers: ['Content-Length: 100'], body: 'ten bytes.' })
  await timed(one)
  expect([one.status, codeOf(one)]).toEqual([408, 'request_timeout'])
  expect(asked.has('never')).toBe(false)
})

for (const framing of ['Content-Length: 400000', 'Transfer-Encoding: chunked']) {
  const how = framing.startsWith('C') ? 'stuck-counted' : 'stuck-chunked'
  test.concurrent(
    `44: an upload that stands still (${framing}) is 408, its upstream left`,
    async () => {
      const body = framing.startsWith('C') ? 'x'.repeat(300_000) : chunk('x'.repeat(300_000))
      const one = ask(how, { headers: [framing], body })
      await timed(one)
      expect([one.status, codeOf(one)]).toEqual([408, 'request_timeout'])
      await soon(asked.get(how)?.closed ?? Promise.reject(), "the upstream's connection")
      const line = await at.gate.logged(one.headers.get('x-request-id') ?? '')
      expect(line).toMatchObject({ status: 408, end: 'timeout', reason: 'body_timeout' })
    },
  )
}

for (const [how, status, words] of [
  ['early-413', 413, 'too much'],
  ['early-200', 200, 'good already'],
] as const) {
  test.concurrent(
    `44: an answer before its question is over (${status}) gets through`,
    async () => {
      const headers = ['Content-Length: 8000000']
      const one = ask(how, { headers, body: 'x'.repeat(300_000) })
      await timed(one)
      expect([one.status, one.body().toString()]).toEqual([status, words])
      const line = await at.gate.logged(one.headers.get('x-request-id') ?? '')
      expect(line).toMatchObject({ status, end: 'complete' })
      await soon(asked.get(how)?.closed ?? Promise.reject(), "the upstream's connection")
      one.socket.destroy()
    },
  )
}

test.concurrent('44: nobody listens: 502 at once', async () => {
  const free = net.createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => free.once('listening', resolve))
  const { port } = free.address() as net.AddressInfo
  await new Promise((resolve) => free.close(resolve))
  // No limit of time decides how soon a refusal is told.
  const dead = await scene({ env: { TINFOIL_BASE_URL: `http://127.0.0.1:${port}` } })
  try {
    // 51, as far as it exists: without a breaker too, a dead upstream costs next to nothing.
    const all = await Promise.all(
      Array.from({ length: 200 }, async () => {
        const one = ask('', { headers: ['Connection: close'] }, dead)
        await timed(one)
        return [one.status, codeOf(one)]
      }),
    )
    for (const each of all) expect(each).toEqual([502, 'upstream_unavailable'])
    expect(dead.gate.errors()).toBe('')
  } finally {
    await dead.close()
  }
})

test.concurrent('44: a black hole: 504 when the time to connect is over', async () => {
  const hole = await blackHole()
  const far = await scene({
    env: { ...LIMITS, HEADERS_TIMEOUT_SECONDS: '60', TINFOIL_BASE_URL: hole.url },
  })
  try {
    const one = ask('', {}, far)
    const took = await timed(one)
    expect([one.status, codeOf(one)]).toEqual([504, 'upstream_timeout'])
    expect(took).toBeGreaterThan(CONNECT_MS - 50)
    const line = await far.gate.logged(one.headers.get('x-request-id') ?? '')
    expect(line).toMatchObject({ end: 'timeout', reason: 'connect_timeout' })
  } finally {
    await far.close()
    await hole.close()
  }
})

/** A listener that accepts nothing, its backlog full: a SYN to it stays unanswered. */
async function blackHole(): Promise<{ url: string; close(): Promise<void> }> {
  const listener = Bun.spawn(
    [
      process.execPath,
      '-e',
      `const s = require('node:net').createServer()
       s.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => console.log(s.address().port))`,
    ],
    { stdout: 'pipe' },
  )
  const { value } = await listener.stdout.getReader().read()
  const port = Number(new TextDecoder().decode(value))
  listener.kill('SIGSTOP')
  // Bun listens with a backlog of 512, whatever it is asked for.
  let standing = 0
  const fillers = Array.from({ length: 600 }, () => {
    const filler = net.connect({ port, host: '127.0.0.1' })
    filler.on('error', () => {})
    filler.once('connect', () => (standing += 1))
    return filler
  })
  await until(() => standing > 500)
  await Bun.sleep(200)
  expect(standing).toBeLessThan(600)
  return {
    url: `http://127.0.0.1:${port}`,
    async close() {
      for (const filler of fillers) filler.destroy()
      listener.kill('SIGKILL')
      await listener.exited
    },
  }
}
