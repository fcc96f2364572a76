// Processes that a run has started: each ends with the run, whatever ends the run, and by its own
// process id alone.

import type { Subprocess } from 'bun'
import { connect } from 'node:net'
import { treeOf } from './proc.ts'

const running = new Set<Subprocess>()

process.on('exit', () => {
  for (const child of running) killTree(child.pid)
})
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130))

/** nginx's workers outlive a master that is killed. */
function killTree(root: number): void {
  for (const pid of treeOf(root)) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It has ended by itself.
    }
  }
}

export interface ChildOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** Where what it prints goes; without it, nowhere. */
  readonly logFile?: string
  readonly errorFile: string
}

export function startChild(
  command: readonly string[],
  { env = {}, cwd = '/', logFile, errorFile }: ChildOptions,
): Subprocess {
  const child = Bun.spawn([...command], {
    cwd,
    env: { PATH: process.env['PATH'] ?? '', ...env },
    stdin: 'ignore',
    stdout: logFile === undefined ? 'ignore' : Bun.file(logFile),
    stderr: Bun.file(errorFile),
  })
  running.add(child)
  void child.exited.then(() => running.delete(child))
  return child
}

export async function endChild(child: Subprocess, signal: NodeJS.Signals): Promise<void> {
  child.kill(signal)
  const timer = setTimeout(killTree, 5000, child.pid)
  await child.exited
  clearTimeout(timer)
}

/** A program of ours in this folder, on this Bun, spoken to by lines. */
export interface Program {
  readonly pid: number
  /** Its next line of output; rejects where it ends without one, or says nothing for too long. */
  line(timeoutMs?: number): Promise<string>
  send(line: string): void
  end(): Promise<void>
}

export function startProgram(file: string, args: readonly string[]): Program {
  const child = Bun.spawn([process.execPath, `${import.meta.dir}/${file}`, ...args], {
    stdin: 'pipe',
    stdout: 'pipe',
    stderr: 'inherit',
  })
  running.add(child)
  void child.exited.then(() => running.delete(child))
  const lines = linesOf(child.stdout)
  return {
    pid: child.pid,
    async line(timeoutMs = 30_000) {
      const late = Promise.withResolvers<never>()
      const timer = setTimeout(() => late.reject(new Error(`${file} said nothing`)), timeoutMs)
      const { value } = await Promise.race([lines.next(), late.promise]).finally(() => {
        clearTimeout(timer)
      })
      if (value === undefined) throw new Error(`${file} ended`)
      return value
    },
    send(line) {
      child.stdin.write(`${line}\n`)
      void child.stdin.flush()
    },
    end: () => endChild(child, 'SIGKILL'),
  }
}

async function* linesOf(bytes: ReadableStream<Uint8Array>): AsyncGenerator<string, undefined> {
  const decoder = new TextDecoder()
  let text = ''
  for await (const piece of bytes) {
    text += decoder.decode(piece, { stream: true })
    const lines = text.split('\n')
    text = lines.pop() ?? ''
    yield* lines
  }
  return undefined
}

const given = new Set<number>()

/** A port that was free a moment ago, and that this run has not been given before. */
export async function freePort(): Promise<number> {
  for (;;) {
    const probe = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data() {} } })
    const { port } = probe
    probe.stop(true)
    if (given.has(port)) continue
    given.add(port)
    return port
  }
}

/** The status of one request, or undefined where nobody answers. */
export function statusOf(port: number, request: string): Promise<number | undefined> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(request))
    socket.once('data', (data) => {
      resolve(Number(data.toString('latin1').slice(9, 12)))
      socket.destroy()
    })
    socket.once('error', () => resolve(undefined))
    socket.once('close', () => resolve(undefined))
  })
}

/** Asks until the answer is 200; the milliseconds that it took. */
export async function firstOk(port: number, request: string, timeoutMs = 15_000): Promise<number> {
  const began = performance.now()
  let last: number | undefined
  while (performance.now() - began < timeoutMs) {
    last = await statusOf(port, request)
    if (last === 200) return performance.now() - began
    await Bun.sleep(1)
  }
  throw new Error(`no 200 on port ${port} within ${timeoutMs} ms; last: ${last ?? 'no answer'}`)
}
