// Development mode as a newcomer meets it: what it prints works when pasted, and it is not to be
// mistaken for the real thing.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { type Running, runToEnd, start } from '../support/binary.ts'

let gate: Running
let printed: string
beforeAll(async () => {
  gate = await start({}, { args: ['--dev-mode'] })
  printed = gate.output()
})
afterAll(() => gate.stop())

/** The command lines of the banner, each with what continues it. */
function commands(): string[] {
  const lines = printed.replaceAll('\\\n', '\\\u0000').split('\n')
  return lines
    .filter((line) => /^(?:curl |export |DEVICE=)/.test(line))
    .map((line) => line.replaceAll('\u0000', '\n'))
}

async function bash(script: string): Promise<{ exitCode: number; stdout: string }> {
  const child = Bun.spawn(['bash', '-c', script], {
    env: { PATH: process.env['PATH'] ?? '' },
    stdout: 'pipe',
    stderr: 'ignore',
  })
  const [stdout, exitCode] = await Promise.all([new Response(child.stdout).text(), child.exited])
  return { exitCode, stdout }
}

test('the banner says in one line that the gate is not for production', () => {
  const lines = printed.split('\n').filter((line) => line.includes('not for production'))
  expect(lines).toHaveLength(1)
  expect(lines[0]).toContain('DEVELOPMENT MODE')
})

test('it prints a token and three commands, and how a device enrols and asks', () => {
  expect(commands().map((line) => line.split(/[ =]/)[0])).toEqual([
    'export',
    'curl',
    'curl',
    'curl',
    'DEVICE',
    'curl',
  ])
})

describe.skipIf(!Bun.which('bash') || !Bun.which('curl'))('as printed, in bash', () => {
  const run = (index: number): Promise<{ exitCode: number; stdout: string }> => {
    const [setToken = '', ...curls] = commands()
    return bash(`${setToken}\n${curls[index] ?? 'false'}`)
  }

  test.concurrent('the first lists the models', async () => {
    const { exitCode, stdout } = await run(0)
    expect(exitCode).toBe(0)
    expect(JSON.parse(stdout).data.map(({ id }: { id: string }) => id)).toContain('gpt-oss-120b')
  })

  test.concurrent('the second is a chat completion', async () => {
    const { exitCode, stdout } = await run(1)
    expect(exitCode).toBe(0)
    expect(JSON.parse(stdout).choices[0].message.content).toEndWith('You said: Hello')
  })

  test.concurrent('the third is a streamed one', async () => {
    const { exitCode, stdout } = await run(2)
    expect(exitCode).toBe(0)
    expect(stdout).toStartWith('data: {')
    expect(stdout).toEndWith('data: [DONE]\n\n')
  })

  test.concurrent('the last two enrol a device, whose token Anthropic answers to', async () => {
    const { exitCode, stdout } = await bash(commands().slice(-2).join('\n'))
    expect(exitCode).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ type: 'message', role: 'assistant' })
  })
})

describe('development mode is loopback only', () => {
  const hosts = ['0.0.0.0', '::', '192.168.1.1', 'example.test', '127.0.0.1.evil.test']
  for (const host of hosts) {
    test.concurrent(`HOST=${host} stops the start`, async () => {
      const { exitCode, stdout, stderr } = await runToEnd(['--dev-mode'], { HOST: host, PORT: '0' })
      expect([exitCode, stdout]).toEqual([78, ''])
      expect(stderr).toContain('HOST is not loopback')
    })
  }

  test.concurrent('ADDR=:0 is loopback here, ADDR=0.0.0.0:0 stops the start', async () => {
    const { exitCode, stderr } = await runToEnd(['--dev-mode'], { ADDR: '0.0.0.0:0' })
    expect(exitCode).toBe(78)
    expect(stderr).toContain('ADDR is not loopback')
  })

  test.concurrent('with the issuer of production it does not start', async () => {
    const env = { DEV_MODE: 'true', JWKS_URL: 'https://issuer.test/jwks.json', PORT: '0' }
    const { exitCode, stderr } = await runToEnd([], env)
    expect(exitCode).toBe(78)
    expect(stderr).toContain('JWKS_URL is set in development mode')
  })

  test('nothing of it listens anywhere but on loopback', async () => {
    const { stdout } = await bash('cat /proc/net/tcp /proc/net/tcp6 2>/dev/null')
    const port = gate.port.toString(16).toUpperCase().padStart(4, '0')
    const local = stdout
      .split('\n')
      .filter((line) => line.includes(`:${port} `) && line.includes(' 0A '))
      .map((line) => line.trim().split(/\s+/)[1]?.split(':')[0])
    for (const address of local) expect(address).toBeOneOf(['0100007F'])
  })
})
