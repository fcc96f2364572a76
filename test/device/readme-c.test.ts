// System C's README, line by line: what its users paste, through a shell, against the binary.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import {
  ADMIN_TOKEN,
  anthropicScene,
  type DeviceScene,
  freePort,
  type Minted,
  refusalOf,
} from '../support/anthropic.ts'
import { type Running, start, until } from '../support/binary.ts'

async function shell(script: string): Promise<string> {
  const child = Bun.spawn(['bash', '-euo', 'pipefail', '-c', script], {
    env: { PATH: process.env['PATH'] ?? '' },
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const out = await new Response(child.stdout).text()
  if ((await child.exited) !== 0) throw new Error(await new Response(child.stderr).text())
  return out
}

describe('in development mode', () => {
  let gate: Running
  let port: number
  let token: string
  beforeAll(async () => {
    port = await freePort()
    gate = await start({ ADMIN_TOKEN, PORT: String(port) }, { args: ['--dev-mode'] })
    token = (JSON.parse(await shell(bootstrapCommand())) as Minted).wrapper_token
  })
  afterAll(() => gate.stop())

  const bootstrapCommand = (): string => `curl -sS -X POST http://localhost:${port}/bootstrap \\
  -H "Content-Type: application/json" \\
  -d '{"device_id": "test-device-123"}'`

  test('"Bootstrap a new token" gives the three members, in its order', async () => {
    const minted = JSON.parse(await shell(bootstrapCommand())) as Minted
    expect(Object.keys(minted)).toEqual(['wrapper_token', 'proxy_base_url', 'expires_at'])
    expect(minted.wrapper_token).toStartWith('eyJ')
    expect(minted.proxy_base_url).toBe(`http://127.0.0.1:${port}`)
    expect(minted.expires_at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z$/)
    const leftMs = Date.parse(minted.expires_at) - Date.now()
    expect(leftMs).toBeWithin(86_400_000 - 60_000, 86_400_000 + 1000)
  })

  test('"Use the token to make API calls" is answered by Claude', async () => {
    const out = await shell(`curl -sS -X POST http://localhost:${port}/v1/messages \\
  -H "Authorization: Bearer ${token}" \\
  -H "Content-Type: application/json" \\
  -H "anthropic-version: 2023-06-01" \\
  -d '{
    "model": "claude-sonnet-4-5-20250929",
    "max_tokens": 1024,
    "messages": [
      {"role": "user", "content": "Hello!"}
    ]
  }'`)
    expect(JSON.parse(out)).toMatchObject({
      type: 'message',
      role: 'assistant',
      model: 'claude-sonnet-4-5-20250929',
      usage: { input_tokens: expect.any(Number), output_tokens: expect.any(Number) },
    })
  })

  test('"POST /bootstrap" takes an app_version', async () => {
    const out = await shell(`curl -sS -X POST http://localhost:${port}/bootstrap \\
      -H 'Content-Type: application/json' \\
      -d '{ "device_id": "unique-device-identifier", "app_version": "1.0.0" }'`)
    expect(Object.keys(JSON.parse(out) as object)).toContain('wrapper_token')
  })

  test('"POST /refresh" answers like bootstrap', async () => {
    const { wrapper_token: old } = JSON.parse(await shell(bootstrapCommand())) as Minted
    const out = await shell(`curl -sS -X POST http://localhost:${port}/refresh \\
      -H "Authorization: Bearer ${old}"`)
    const minted = JSON.parse(out) as Minted
    expect(Object.keys(minted)).toEqual(['wrapper_token', 'proxy_base_url', 'expires_at'])
    expect(minted.wrapper_token).not.toBe(old)
  })

  test('"Health checks" are 200', async () => {
    const probe = (path: string): Promise<string> =>
      shell(`curl -sS -o /dev/null -w '%{http_code}' http://localhost:${port}${path}`)
    expect(await Promise.all([probe('/healthz'), probe('/readyz')])).toEqual(['200', '200'])
  })

  test('"POST /v1/complete", "count_tokens" and streaming with "stream": true', async () => {
    const post = (path: string, body: string): Promise<string> =>
      shell(`curl -sSNi http://localhost:${port}${path} -H "x-api-key: ${token}" \\
        -H "Content-Type: application/json" -d '${body}'`)
    const prompt = '"messages":[{"role":"user","content":"Hello!"}]'
    const [complete, count, stream] = await Promise.all([
      post(
        '/v1/complete',
        '{"model":"claude-2.1","max_tokens_to_sample":9,"prompt":"\\n\\nHuman: Hi\\n\\nAssistant:"}',
      ),
      post('/v1/messages/count_tokens', `{"model":"claude-sonnet-4-5-20250929",${prompt}}`),
      post(
        '/v1/messages',
        `{"model":"claude-sonnet-4-5-20250929","max_tokens":20,"stream":true,${prompt}}`,
      ),
    ])
    expect(complete).toContain('"type":"completion"')
    expect(count).toMatch(/"input_tokens":\d+/)
    expect(stream).toMatch(/^content-type: text\/event-stream/im)
    expect(stream).toContain('event: message_start')
    expect(stream).toContain('event: message_stop')
  })

  test('"GET /admin/usage" and "/admin/stats" are the device\'s own', async () => {
    const get = (path: string): Promise<string> =>
      shell(`curl -sS http://localhost:${port}${path} -H "Authorization: Bearer ${token}"`)
    expect(JSON.parse(await get('/admin/usage'))).toMatchObject({
      stats: { totalRequests: expect.any(Number) },
      metrics: expect.any(Array),
    })
    expect(Object.keys(JSON.parse(await get('/admin/stats')) as object)).toEqual(
      expect.arrayContaining([
        'totalRequests',
        'totalInputTokens',
        'totalOutputTokens',
        'averageLatency',
        'successRate',
      ]),
    )
  })

  test("the circuit breaker is shown and reset, with the operator's key", async () => {
    const curl = (how: string): Promise<string> =>
      shell(`curl -sS ${how} -H "Authorization: Bearer ${ADMIN_TOKEN}"`)
    const at = `http://localhost:${port}/admin/circuit-breaker`
    expect(await curl(at)).toContain('CLOSED')
    expect(Object.keys(JSON.parse(await curl(`-X POST ${at}/reset`)) as object)).toEqual([
      'message',
    ])
  })
})

describe('in production', () => {
  let off: DeviceScene
  let code: DeviceScene
  beforeAll(async () => {
    ;[off, code] = await Promise.all([
      anthropicScene({ env: { BOOTSTRAP: 'off' } }),
      anthropicScene({ env: { BOOTSTRAP: 'code' } }),
    ])
  })
  afterAll(() => Promise.all([off.close(), code.close()]))

  const curl = (gate: Running, more = ''): Promise<string> =>
    shell(`curl -sS -w '\\n%{http_code}' -X POST ${gate.url}/bootstrap \\
      -H "Content-Type: application/json" ${more} -d '{"device_id": "test-device-123"}'`)

  test('/bootstrap is closed by default', async () => {
    const out = await curl(off.gate)
    expect(out).toEndWith('\n403')
    expect(out).toContain('this gate enrols no devices')
    expect(await refusalOf(await off.bootstrap('test-device-123'))).toBe('403 permission_error')
    const line = await until(() => off.gate.lines().find(({ route }) => route === '/bootstrap'))
    expect(line).toMatchObject({ status: 403, end: 'refused' })
  })

  test('/bootstrap needs the enrolment: as a bearer, or as enrollment_code', async () => {
    expect(await curl(code.gate)).toContain('an enrolment is required')
    const asBearer = await code.code()
    expect(await curl(code.gate, `-H "Authorization: Bearer ${asBearer}"`)).toEndWith('\n200')
    expect((await code.bootstrap('test-device-123', await code.code())).status).toBe(200)
  })

  test('proxy_base_url is the configured URL, whatever the Host', async () => {
    const out = await curl(
      code.gate,
      `-H "Authorization: Bearer ${await code.code()}" -H 'Host: evil.example'`,
    )
    expect(out).toContain('"proxy_base_url":"https://gate.example.test"')
  })
})
