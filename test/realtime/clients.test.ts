// The official client in development mode, and sessions through nginx and HAProxy.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import tls from 'node:tls'
import { authority } from '../support/authority.ts'
import { type Running, start } from '../support/binary.ts'
import { soon } from '../support/patience.ts'
import { isMissing, PROXIES, startProxy } from '../support/proxies.ts'
import { openRealtime } from '../support/realtime-client.ts'

const folder = mkdtempSync(join(tmpdir(), 'postern-realtime-'))
const path = join(folder, 'dev.yaml')
writeFileSync(
  path,
  `upstreams:
  - { kind: openai, name: voice, models: [gpt-realtime*], routes: [models, realtime] }
policies:
  - { name: voice, routes: [models, realtime] }
rules:
  - { kind: user, policy: voice }
`,
  { mode: 0o600 },
)
let gate: Running
let token = ''
beforeAll(async () => {
  gate = await start({
    DEV_MODE: 'true',
    POSTERN_CONFIG: path,
    DATABASE_URL: `sqlite:${join(folder, 'dev.db')}`,
  })
  token = /ey[\w-]+\.[\w-]+\.[\w-]+/.exec(gate.output())?.[0] ?? ''
})
afterAll(async () => {
  await gate.stop()
  rmSync(folder, { recursive: true })
})

interface Talked {
  readonly text: string
  readonly types: readonly string[]
  readonly usage: { readonly total_tokens: number }
  readonly error: string
}

test('the official client talks by both of its classes, and with a client secret', async () => {
  const issuing = authority()
  const { cert, key } = issuing.issue('localhost')
  issuing.close()
  const front = tls.createServer({ cert, key }, (socket) => {
    const to = net.connect(gate.port, '127.0.0.1')
    socket.pipe(to).on('error', () => socket.destroy())
    to.pipe(socket).on('error', () => to.destroy())
  })
  await new Promise<void>((resolve) => front.listen(0, '127.0.0.1', resolve))
  const { port } = front.address() as net.AddressInfo
  const script = new URL('../support/realtime-sdk.ts', import.meta.url).pathname
  const child = Bun.spawn(
    [process.execPath, script, `https://localhost:${port}/v1`, token, 'gpt-realtime'],
    { env: { NODE_TLS_REJECT_UNAUTHORIZED: '0' }, stdout: 'pipe', stderr: 'pipe' },
  )
  const [said, wrong] = await soon(
    Promise.all([child.stdout.text(), child.stderr.text()]),
    "the client's end",
  )
  front.close()
  if (said === '') throw new Error(wrong)
  const found = JSON.parse(said) as Record<'ws' | 'webSocket' | 'secret' | 'wrong', Talked>
  for (const { text, types, usage } of [found.ws, found.webSocket, found.secret]) {
    expect(text).toContain('You said: Ahoy!')
    expect(types).toContain('session.updated')
    expect(types).toContain('response.done')
    expect(usage.total_tokens).toBeGreaterThan(10)
  }
  expect(found.wrong.error).toBeTruthy()
  const lines = gate
    .lines()
    .filter(({ route, status }) => route === '/v1/realtime' && status === 200)
  expect(lines.map(({ usage, model }) => [usage, model])).toEqual(
    Array.from({ length: 3 }, () => ['exact', 'gpt-realtime']),
  )
})

for (const name of PROXIES) {
  describe.skipIf(isMissing(name))(`behind ${name}`, () => {
    test('messages pass both ways, and the close', async () => {
      const proxy = await startProxy(name, gate.port)
      const client = await openRealtime(
        `http://127.0.0.1:${proxy.port}/v1/realtime?model=gpt-realtime`,
        { protocols: ['realtime', `openai-insecure-api-key.${token}`] },
      )
      await client.event('session.created')
      client.socket.send('{"type":"session.update","session":{"instructions":"Be brief."}}')
      expect(await client.event('session.updated')).toMatchObject({
        session: { instructions: 'Be brief.' },
      })
      client.socket.close(4000, 'enough')
      expect(await client.closed).toEqual([4000, 'enough'])
      await proxy.stop()
    })
  })
}
