import { PATIENCE_MS } from '../support/patience.ts'
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import type { Subprocess } from 'bun'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { type FakeGate, startFakeGate } from '../client/fake-gate.ts'
import { folder } from '../client/scene.ts'
import { until } from '../support/binary.ts'

const runner = new URL('run.ts', import.meta.url).pathname
let gate: FakeGate
let kept: ReturnType<typeof folder>

beforeEach(async () => {
  gate = await startFakeGate()
  kept = folder()
})
afterEach(async () => {
  await gate.close()
  kept.remove()
})

type Piped = Subprocess<'pipe', 'pipe', 'pipe'>

function start(more: object, env: Record<string, string> = {}): Piped {
  const argument = JSON.stringify({ gate: gate.url, folder: kept.path, ...more })
  return Bun.spawn([process.execPath, runner, argument], {
    env: { PATH: process.env['PATH'] ?? '', HOME: kept.path, ...env },
    stdin: 'pipe',
    stdout: 'pipe',
    stderr: 'pipe',
  })
}

async function finish(child: Piped): Promise<{ code: number; out: string; err: string }> {
  const [out, err] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ])
  return { code: await child.exited, out, err }
}

async function run(
  more: object,
  env: Record<string, string> = {},
): Promise<{ code: number; out: string; err: string }> {
  const child = start(more, env)
  await child.stdin.end()
  return finish(child)
}

describe('postern exec', () => {
  test('gives the command the gate, and takes other credentials away', async () => {
    const { code, out } = await run(
      { command: ['env'], enrollment: 'code', withhold: ['POSTERN_ENROLLMENT'] },
      {
        ANTHROPIC_API_KEY: 'sk-ant-own',
        ANTHROPIC_AUTH_TOKEN: 'old',
        CLAUDE_CODE_OAUTH_TOKEN: 'own',
        POSTERN_ENROLLMENT: 'code',
        KEPT: 'yes',
      },
    )
    const env = new Map(out.split('\n').map((line) => line.split('=') as [string, string]))
    expect(code).toBe(0)
    expect(gate.issued.has(env.get('ANTHROPIC_AUTH_TOKEN') ?? '')).toBe(true)
    expect(env.get('ANTHROPIC_BASE_URL')).toBe(gate.url)
    expect(env.get('KEPT')).toBe('yes')
    expect(env.has('ANTHROPIC_API_KEY')).toBe(false)
    expect(env.has('CLAUDE_CODE_OAUTH_TOKEN')).toBe(false)
    expect(env.has('POSTERN_ENROLLMENT')).toBe(false)
  })

  test('passes streams and arguments on, to a byte', async () => {
    const script = 'cat; printf "%s|" "$@" >&2'
    const child = start({ command: ['sh', '-c', script, 'sh', 'a b', '', '--x', '$HOME'] })
    child.stdin.write('in\0put')
    await child.stdin.end()
    expect(await finish(child)).toEqual({ code: 0, out: 'in\0put', err: 'a b||--x|$HOME|' })
  })

  test('ends as the command ends', async () => {
    expect((await run({ command: ['sh', '-c', 'exit 37'] })).code).toBe(37)
    expect((await run({ command: ['sh', '-c', 'kill -TERM $$'] })).code).toBe(143)
    expect((await run({ command: ['sh', '-c', 'kill -KILL $$'] })).code).toBe(137)
  })

  test('a command that is not there is 127, one that cannot run 126, none at all 64', async () => {
    expect(await run({ command: ['no-such-command-here'] })).toMatchObject({
      code: 127,
      err: expect.stringContaining('not found'),
    })
    expect((await run({ command: [runner] })).code).toBe(126)
    expect((await run({ command: [] })).code).toBe(64)
    expect(gate.issued.size).toBe(1)
  })

  test.each(['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGWINCH'] as const)(
    'passes %s on, once, and waits for the command to answer it',
    async (signal) => {
      const name = signal.slice(3)
      const script = `trap 'n=$((n+1))' ${name}; echo up; while [ -z "$n" ]; do sleep 0.02; done
        sleep 0.1; echo "got $n"; exit 9`
      const child = start({ command: ['sh', '-c', script] })
      const reader = child.stdout.getReader()
      expect(new TextDecoder().decode((await reader.read()).value)).toBe('up\n')
      child.kill(signal)
      expect(new TextDecoder().decode((await reader.read()).value)).toBe('got 1\n')
      expect(await child.exited).toBe(9)
    },
  )

  test('a signal that ends the command is 128 and its number', async () => {
    const child = start({ command: ['sleep', '30'] })
    await until(() => gate.count('/healthz') > 1)
    child.kill('SIGTERM')
    expect((await finish(child)).code).toBe(143)
  })

  test('a gate that is down is exit code 69, one that refuses is 77, and no token is printed', async () => {
    gate.healthy = false
    const ill = await run({ command: ['echo', 'started'] })
    expect({ code: ill.code, out: ill.out }).toEqual({ code: 69, out: '' })
    gate.healthy = true
    gate.codes = new Set()
    const refused = await run({ command: ['echo', 'started'], enrollment: 'canary-code' })
    expect({ code: refused.code, out: refused.out }).toEqual({ code: 77, out: '' })
    expect(ill.err + refused.err).not.toContain('canary')
  })

  test('Ctrl-C at a terminal reaches the command once', async () => {
    const python = Bun.which('python3')
    if (!python) return console.warn('skipped: no python3 to make a terminal with')
    // Not a shell's trap, which makes one of two that come close together.
    const script = `
import signal, time
n = 0
def count(*_):
    global n
    n += 1
signal.signal(signal.SIGINT, count)
print('up', flush=True)
end = time.monotonic() + 0.3
while time.monotonic() < end: time.sleep(0.01)
print('got', n, flush=True)
raise SystemExit(9)`
    const command = [python, '-c', script]
    const argument = { gate: gate.url, folder: kept.path, command }
    const terminal = `
import os, pty, sys
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
said = b''
while True:
    try: data = os.read(fd, 1024)
    except OSError: break
    if not data: break
    said += data
    if b'up' in data: os.write(fd, b'\\x03')
sys.stdout.write(said.decode())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`
    const run = Bun.spawn(
      [python, '-c', terminal, process.execPath, runner, JSON.stringify(argument)],
      { stdout: 'pipe', stderr: 'pipe', timeout: PATIENCE_MS },
    )
    expect(await new Response(run.stdout).text()).toContain('got 1')
    expect(await run.exited).toBe(9)
  })
})

describe('postern token', () => {
  /** What is kept of a token, as if but half an hour of its life were left. */
  function ageToken(): void {
    const files = readdirSync(kept.path, { withFileTypes: true }).filter((each) => each.isFile())
    const paths = files.map(({ name }) => `${kept.path}/${name}`)
    const file = paths.find((path) => readFileSync(path, 'utf8').includes('expiresAtMs')) ?? ''
    const grant = JSON.parse(readFileSync(file, 'utf8')) as object
    writeFileSync(file, JSON.stringify({ ...grant, expiresAtMs: Date.now() + 1_800_000 }))
  }

  test('prints the token alone, and the second time asks no more than whether it is good', async () => {
    const first = await run({ command: 'token' })
    expect(first).toMatchObject({ code: 0, err: '' })
    expect(gate.issued.has(first.out.trimEnd())).toBe(true)
    expect(first.out).toMatch(/^\S+\n$/)
    const asks = gate.asks.length
    expect(await run({ command: 'token' })).toEqual(first)
    expect(gate.asks.slice(asks).map(({ path }) => path)).toEqual(['/device'])
    for (const device of ['absent', 'lost'] as const) {
      gate.device = device
      expect(await run({ command: 'token' })).toEqual(first)
    }
  })

  test('of a revoked device says so, and enrols again with a code', async () => {
    const first = await run({ command: 'token' })
    gate.revoked.add(1)
    gate.codes = new Set(['code-2'])
    const { code, out, err } = await run({ command: 'token' })
    expect({ code, out }).toEqual({ code: 77, out: '' })
    expect(err).toStartWith('postern token: this device was revoked at the gate; ')
    const next = await run({ command: 'token', enrollment: 'code-2' })
    expect(next).toMatchObject({ code: 0, err: '' })
    expect(next.out).not.toBe(first.out)
  })

  test('with refresh prints a newer one', async () => {
    const first = await run({ command: 'token' })
    const next = await run({ command: 'token', refresh: true })
    expect(next.code).toBe(0)
    expect(next.out).not.toBe(first.out)
  })

  test('refreshes one that is about to expire, and prints the old one if the gate is down', async () => {
    const first = await run({ command: 'token' })
    ageToken()
    const second = await run({ command: 'token' })
    expect(second.out).not.toBe(first.out)
    ageToken()
    gate.healthy = false
    expect(await run({ command: 'token' })).toEqual(second)
  })

  test('prints only the reason if there is no token', async () => {
    gate.codes = new Set()
    const { code, out, err } = await run({ command: 'token', enrollment: 'canary' })
    expect({ code, out }).toEqual({ code: 77, out: '' })
    expect(err).toBe(
      'postern token: the gate did not accept the enrolment: its code is unknown, used or expired\n    ask its operator for a code, and give it as POSTERN_CODE=…\n',
    )
    expect((await run({ command: 'token' })).err).toBe(
      'postern token: the gate asks for an enrolment code, or the token of a user, and none was given\n    ask its operator for a code, and give it as POSTERN_CODE=…\n',
    )
  })
})
