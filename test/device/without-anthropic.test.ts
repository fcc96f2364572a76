// Devices of a gate that has no key for Anthropic: they enrol wherever an upstream takes them.

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SECRET } from '../support/anthropic.ts'
import { type Running, runToEnd, start } from '../support/binary.ts'
import { HASH_KEY, UNLIMITED } from '../support/settings.ts'
import { bearer } from '../support/sink.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'

const folder = mkdtempSync(join(tmpdir(), 'postern-devices-'))
const common = {
  DATABASE_URL: `sqlite:${join(folder, 'postern.db')}`,
  IDENTITY_HASH_KEY: HASH_KEY,
}
let upstream: Upstream
let gate: Running

beforeAll(async () => {
  upstream = await startUpstream()
  gate = await start({
    ...UNLIMITED,
    ...common,
    OPENAI_UPSTREAM_URL: `${upstream.url}/v1`,
    OPENAI_UPSTREAM_KEY: 'openai-key-canary',
    OPENAI_UPSTREAM_CALLERS: 'device',
    JWT_SECRET: SECRET,
    BOOTSTRAP: 'code',
    PROXY_BASE_URL: 'https://gate.example.test',
  })
})
afterAll(async () => {
  await gate.stop()
  await upstream.close()
  rmSync(folder, { recursive: true })
})

test("a device enrols, and reaches an upstream for devices with that upstream's key", async () => {
  const { stdout } = await runToEnd(['enrol', '--models', 'gpt-*'], common, folder)
  const enrolled = await fetch(`${gate.url}/bootstrap`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ device_id: 'd', enrollment_code: stdout.trim() }),
  })
  expect(enrolled.status).toBe(200)
  const { wrapper_token: token } = (await enrolled.json()) as { wrapper_token: string }
  const ask = async (model: string): Promise<number> => {
    const answer = await fetch(`${gate.url}/v1/chat/completions`, {
      method: 'POST',
      headers: bearer(token),
      body: JSON.stringify({ model, messages: [] }),
    })
    await answer.bytes()
    return answer.status
  }
  expect([await ask('gpt-5'), await ask('o9')]).toEqual([200, 404])
  expect(upstream.seen.map(({ url, headers }) => [url, headers.authorization])).toEqual([
    ['/v1/chat/completions', 'Bearer openai-key-canary'],
  ])
})
