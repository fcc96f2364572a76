// A log that cannot be written is no trouble of a request: whatever stdout is, answers go on, memory
// and CPU stay as they are, SIGTERM ends the gate, and what was lost is counted.

import { afterEach, describe, expect, test } from 'bun:test'
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  truncateSync,
} from 'node:fs'
import net, { type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { logOutput } from '../../src/log-output.ts'
import { binary, passing, until } from '../support/binary.ts'
import { type Redirected, redirected } from './scene.ts'

const LIMIT_MS = 60_000
const folders: string[] = []
const gates: Redirected[] = []
function folder(): string {
  const made = mkdtempSync(`${tmpdir()}/postern-log-`)
  folders.push(made)
  return made
}
afterEach(() => {
  for (const { child } of gates.splice(0)) child.kill('SIGKILL')
  for (const each of folders.splice(0)) rmSync(each, { recursive: true, force: true })
})
async function start(...of: Parameters<typeof redirected>): Promise<Redirected> {
  const gate = await redirected(...of)
  gates.push(gate)
  return gate
}

/** 500 requests are more than a pipe holds. */
async function isUntroubled(gate: Redirected): Promise<void> {
  await gate.askMany(100)
  const before = gate.rssBytes()
  await gate.askMany(400)
  expect(await gate.ask()).toBe(401)
  expect((await fetch(`${gate.url}/healthz`)).status).toBe(200)
  expect(gate.rssBytes() - before).toBeLessThan(32 * 1_048_576)
  const from = gate.cpuMs()
  const began = performance.now()
  await Bun.sleep(300)
  // What burns takes all of it.
  expect(gate.cpuMs() - from).toBeLessThan((performance.now() - began) / 2)
}

/** No other process holds its ends: one that outlives the gate would keep this run's own output open. */
const UNREAD_PIPE = 'f=$(mktemp -u); mkfifo "$f"; exec 4<>"$f" 3>"$f"; rm "$f"'

const onLinux = describe.skipIf(process.platform !== 'linux')

onLinux('answers go on, nothing burns, and SIGTERM ends it, where stdout is', () => {
  test.each([
    ['full', '>/dev/full', ':'],
    ['closed', '>&-', ':'],
    ['a pipe that nobody reads', '>&3', UNREAD_PIPE],
    ['a pipe whose reader has left', '>&3', 'exec 3> >(exec true)'],
  ])(
    '%s',
    async (_what, redirection, before) => {
      const gate = await start(redirection, before)
      await isUntroubled(gate)
      expect(await gate.end()).toBe(0)
    },
    LIMIT_MS,
  )

  test(
    'a socket without a reader keeps the lines for a later one',
    async () => {
      const { promise, resolve } = Promise.withResolvers<net.Socket>()
      const listener = net.createServer({ pauseOnConnect: true }, resolve).listen(0, '127.0.0.1')
      await until(() => listener.address())
      const { port } = listener.address() as AddressInfo
      const gate = await start('>&3', `exec 3<>/dev/tcp/127.0.0.1/${port}`)
      const socket = await promise
      await isUntroubled(gate)
      let text = ''
      socket.on('data', (piece) => (text += String(piece))).resume()
      await until(() => text.split('"status":401').length > 501)
      expect(await gate.end()).toBe(0)
      expect(text).toContain('"msg":"stopped"')
      listener.close()
      socket.destroy()
    },
    LIMIT_MS,
  )

  test(
    'a terminal that is gone',
    async () => {
      const gate = await start('', "trap '' HUP", { onTerminal: true })
      gate.child.terminal?.close()
      await isUntroubled(gate)
      expect(await gate.end()).toBe(0)
    },
    LIMIT_MS,
  )

  test(
    'a terminal that shows nothing more (Ctrl-S)',
    async () => {
      const gate = await start('', ':', { onTerminal: true })
      gate.child.terminal?.write('\u0013')
      await isUntroubled(gate)
      expect(await gate.end()).toBe(0)
    },
    LIMIT_MS,
  )
})

interface Line {
  readonly msg: string
  readonly status?: number
  readonly lost?: number
}
const parsed = (text: string): Line[] =>
  text
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line))
const LOST = 'lines were lost while the log could not be written'
const told = (lines: readonly Line[]): number =>
  lines.reduce((sum, { lost }) => sum + (lost ?? 0), 0)
const answered = (lines: readonly Line[]): number =>
  lines.filter(({ status }) => status === 401).length

onLinux('a log that can be written again', () => {
  test(
    'in a pipe whose reader comes back: each line is there or counted, and none is broken',
    async () => {
      const fifo = `${folder()}/fifo`
      Bun.spawnSync(['mkfifo', fifo])
      const { O_RDWR, O_NONBLOCK } = constants
      const reader = openSync(fifo, O_RDWR | O_NONBLOCK)
      const gate = await start(`>${fifo}`)
      await gate.askMany(6000)
      let text = ''
      const room = Buffer.alloc(65_536)
      const read = (): void => {
        for (;;) {
          try {
            text += room.toString('latin1', 0, readSync(reader, room))
          } catch {
            return
          }
        }
      }
      await until(() => {
        read()
        return text.includes(LOST)
      })
      await gate.ask()
      expect(await gate.end()).toBe(0)
      read()
      const lines = parsed(text)
      expect(told(lines)).toBeGreaterThan(100)
      expect(answered(lines) + told(lines)).toBe(6001)
      expect(lines.at(-1)?.msg).toBe('stopped')
      closeSync(reader)
    },
    LIMIT_MS,
  )

  test(
    'in a file that was full, once it has been cut (copytruncate)',
    async () => {
      const file = `${folder()}/log`
      // In KiB; SQLite's own files are smaller.
      const gate = await start(`>>${file}`, 'ulimit -f 1024')
      await gate.askMany(10_000)
      expect(statSync(file).size).toBe(1_048_576)
      let before = ''
      await until(() => {
        if (statSync(file).size === 1_048_576) {
          before += readFileSync(file, 'latin1')
          truncateSync(file)
        }
        return readFileSync(file, 'latin1').includes(LOST)
      })
      expect(await gate.end()).toBe(0)
      const lines = parsed(before + readFileSync(file, 'latin1'))
      expect(told(lines)).toBeGreaterThan(100)
      expect(answered(lines) + told(lines)).toBe(10_000)
    },
    LIMIT_MS,
  )
})

onLinux('what was logged in the turn in which a gate ends is there', () => {
  test.each([
    ['a socket', (port: number) => `exec 3<>/dev/tcp/127.0.0.1/${port}; exec "$0" >&3`],
    ['a pipe', (port: number) => `"$0" | cat >/dev/tcp/127.0.0.1/${port}`],
  ])(
    'in %s',
    async (_what, script) => {
      let text = ''
      const listener = net.createServer((socket) => {
        socket.on('data', (piece) => (text += String(piece)))
      })
      listener.listen(0, '127.0.0.1')
      await until(() => listener.address())
      const { port } = listener.address() as AddressInfo
      const child = Bun.spawn(['bash', '-c', script(port), await binary()], {
        env: {
          PATH: process.env['PATH'] ?? '',
          ...passing(),
          LOG_FORMAT: 'json',
          TINFOIL_API_KEY: 'k',
          JWKS_URL: 'http://127.0.0.1:1/jwks.json',
          ISSUER: 'i',
          AUDIENCES: 'a',
          // Of a block that is nobody's (RFC 5737).
          HOST: '203.0.113.1',
        },
        stdin: 'ignore',
        stdout: 'ignore',
        stderr: 'pipe',
      })
      expect(await new Response(child.stderr).text()).toContain('cannot listen')
      await until(() => text.includes('IDENTITY_HASH_KEY is not set'))
      listener.close()
    },
    LIMIT_MS,
  )
})

onLinux('the output itself', () => {
  function pipe() {
    const fifo = `${folder()}/fifo`
    Bun.spawnSync(['mkfifo', fifo])
    const reader = openSync(fifo, constants.O_RDWR | constants.O_NONBLOCK)
    const writer = openSync(fifo, constants.O_WRONLY)
    const flags = (): string =>
      /flags:\s*(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${writer}`, 'utf8'))?.[1] ?? ''
    const read = (): string => {
      let text = ''
      const room = Buffer.alloc(65_536)
      for (;;) {
        try {
          const bytes = readSync(reader, room)
          if (bytes === 0) return text
          text += room.toString('latin1', 0, bytes)
        } catch {
          return text
        }
      }
    }
    return { writer, flags, read }
  }

  test('leaves the pipe as other processes have it', async () => {
    const { writer, flags, read } = pipe()
    const before = flags()
    const output = logOutput(writer)
    output.write('line\n')
    await output.finish(1000)
    expect(read()).toBe('line\n')
    expect(flags()).toBe(before)
  })

  test('keeps a reserve for errors, and reports lost lines after the kept ones', async () => {
    const { writer, read } = pipe()
    const output = logOutput(writer)
    output.onRecovery(({ lines, reason }) => output.write(`lost ${lines} ${reason}\n`, true))
    const line = `${'x'.repeat(1023)}\n`
    for (let each = 0; each < 4096; each += 1) {
      output.write(line)
      // One turn for what the pipe and the piece in hand hold.
      if (each === 100) await Bun.sleep(1)
    }
    output.write('error\n', true)
    output.write('small\n')
    await output.finish(1)
    let text = ''
    const deadlineMs = performance.now() + 20_000
    while (!text.includes('lost') && performance.now() < deadlineMs) {
      text += read()
      await Bun.sleep(1)
    }
    const kept = text.split('x\n').length - 1
    expect(text.slice(kept * 1024)).toBe(`error\nlost ${4096 - kept + 1} EAGAIN\n`)
    expect(kept).toBeGreaterThan(1024)
    expect(kept).toBeLessThan(1400)
  })

  test('ends in time if nobody reads', async () => {
    const { writer } = pipe()
    const output = logOutput(writer)
    output.write('x'.repeat(1_000_000))
    const from = performance.now()
    await output.finish(50)
    expect(performance.now() - from).toBeLessThan(5000)
  })
})
