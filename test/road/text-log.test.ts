// The log made for eyes: a line for each request, and nothing in it that would move a terminal.

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { binary, passing, until } from '../support/binary.ts'
import { startForge, type Forge } from '../support/forge.ts'
import { API_KEY } from '../support/gate.ts'
import { bearer, eventually } from '../support/sink.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'

let forge: Forge
let upstream: Upstream
let child: Bun.Subprocess<'ignore', 'pipe', 'inherit'>
let out = ''
let url = ''
beforeAll(async () => {
  const path = await binary()
  ;[forge, upstream] = await Promise.all([startForge(), startUpstream()])
  child = Bun.spawn([path], {
    env: {
      ...forge.env,
      HOST: '127.0.0.1',
      PORT: '0',
      TINFOIL_API_KEY: API_KEY,
      TINFOIL_BASE_URL: upstream.url,
      REQUIRE_EHBP: 'false',
      ...passing(),
    },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'inherit',
  })
  void (async () => {
    for await (const chunk of child.stdout) out += Buffer.from(chunk).toString()
  })()
  url = `http://${await until(() => /listening {2}address=(\S+)/.exec(out)?.[1])}`
  await eventually(async () => (await fetch(`${url}/readyz`)).ok)
})
afterAll(async () => {
  child.kill('SIGKILL')
  await child.exited
  await Promise.all([forge.close(), upstream.close()])
})

const lineOf = (id: string): Promise<string> =>
  until(() => out.split('\n').find((line) => line.endsWith(`id=${id}`)))

test('is the default, with one line for each request', async () => {
  upstream.respond((_request, response) => {
    response.setHeader('x-tinfoil-usage-metrics', 'prompt=3,completion=5,total=8')
    response.end('answer')
  })
  await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { ...bearer(forge.token()), 'x-request-id': 'for-eyes' },
    body: 'prompt',
  })
  expect(await lineOf('for-eyes')).toMatch(
    /^\d\d:\d\d:\d\d\.\d{3} INFO {2}POST \/v1\/chat\/completions {2}200 {2}complete {2}\d+ms \(headers \d+ms\) {2}6B in, 6B out {2}3 → 5 tokens {2}upstream=tinfoil {2}who=[0-9a-f]{12} {2}id=for-eyes$/,
  )
})

test('a refusal says why, a failure is an error', async () => {
  await fetch(`${url}/v1/models`, {
    headers: { ...bearer('nonsense'), 'x-request-id': 'refused' },
  })
  expect(await lineOf('refused')).toMatch(
    / WARN {2}GET \/v1\/models {2}401 {2}refused {2}.*reason="/,
  )
  upstream.respond((_request, response) => void response.destroy())
  await fetch(`${url}/v1/models`, {
    headers: { ...bearer(forge.token()), 'x-request-id': 'failed' },
  })
  expect(await lineOf('failed')).toMatch(/ ERROR GET \/v1\/models {2}502 {2}upstream_error /)
})

test('away from a terminal there is no colour, and never a control character', () => {
  // oxlint-disable-next-line no-control-regex
  expect(out).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f]/)
})
