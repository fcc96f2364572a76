// The compiled binary, built once where it is older than what it is made of, and started with
// settings of a test's own.

import { Glob, type Subprocess } from 'bun'
import { mkdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { PATIENCE_MS } from './patience.ts'

/**
 * A database that leaves no file behind, not even where its gate is killed and cannot clean up:
 * setup.ts removes the folder when all tests have run.
 */
export function passing(): { readonly DATABASE_URL: string; readonly TMPDIR: string } {
  return { DATABASE_URL: 'sqlite::memory:', TMPDIR: tmpdir() }
}

const root = new URL('../..', import.meta.url).pathname
const path = `${root}dist/postern`

/** For a build of another process. */
const BUILD_MS = 60_000
const lock = `${root}dist/.building`

/** Pages, styles and the like are in it as well as code; folders tell of what was deleted. */
function isNew(): boolean {
  const inside = [...new Glob('src/**/*').scanSync({ cwd: root, onlyFiles: false })]
  const sources = ['src', ...inside, 'tools/build.ts', 'package.json', 'bun.lock']
  return modified(path) > Math.max(...sources.map((source) => modified(root + source)))
}

/**
 * Test files are run by several processes: one of them builds, and the others wait for it. What is
 * newer may be half written as long as somebody builds.
 */
async function build(): Promise<string> {
  while (!isNew() || modified(lock) > 0) {
    if (locked()) {
      try {
        if (!isNew()) await compile()
      } finally {
        rmSync(lock, { recursive: true, force: true })
      }
      break
    }
    if (Date.now() - modified(lock) > BUILD_MS) forgetKilled()
    await Bun.sleep(20)
  }
  return path
}

function forgetKilled(): void {
  rmSync(path, { force: true })
  rmSync(lock, { recursive: true, force: true })
}

function locked(): boolean {
  mkdirSync(`${root}dist`, { recursive: true })
  try {
    mkdirSync(lock)
    return true
  } catch (error) {
    if (Object(error).code !== 'EEXIST') throw error
    return false
  }
}

async function compile(): Promise<void> {
  const child = Bun.spawn([process.execPath, 'tools/build.ts'], {
    cwd: root,
    stdout: 'ignore',
    stderr: 'pipe',
  })
  const said = await new Response(child.stderr).text()
  if ((await child.exited) !== 0) throw new Error(`build failed: ${said}`)
}

function modified(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0
}

// Here, and not where it is asked for: there, a build counts as time of the test that came first.
const built = await build()

export async function binary(): Promise<string> {
  return built
}

export type LogLine = Readonly<Record<string, unknown>>

export interface Running {
  readonly url: string
  readonly port: number
  readonly process: Subprocess
  /** Everything that it wrote so far, stdout and stderr. */
  output(): string
  errors(): string
  lines(): LogLine[]
  /** The log's line of a request, waited for. */
  logged(requestId: string): Promise<LogLine>
  /** The log's lines of all requests of a route that have ended by now. */
  relayed(route: string): Promise<LogLine[]>
  rssBytes(): number
  /** SIGKILL where nothing else was asked for; resolves with the exit code. */
  stop(signal?: NodeJS.Signals): Promise<number>
}

export interface StartOptions {
  readonly args?: readonly string[]
  readonly cwd?: string
}

/**
 * PORT 0, JSON lines on 127.0.0.1 and a passing database, unless `env` says otherwise. Nothing is
 * inherited.
 */
export async function start(
  env: Readonly<Record<string, string>>,
  { args = [], cwd = '/' }: StartOptions = {},
): Promise<Running> {
  const child = Bun.spawn([await binary(), ...args], {
    cwd,
    env: {
      HOST: '127.0.0.1',
      PORT: '0',
      LOG_FORMAT: 'json',
      ...passing(),
      ...env,
    },
    stdout: 'pipe',
    stderr: 'pipe',
  })
  let out = ''
  let err = ''
  const log = logReader()
  void collect(child.stdout, (text) => {
    out += text
    log.push(text)
  })
  void collect(child.stderr, (text) => {
    err += text
  })

  const address = await until(() => {
    if (child.exitCode !== null) throw new Error(`exited ${child.exitCode}: ${out}${err}`)
    const line = log.lines.find(({ msg }) => msg === 'listening')
    return line && String(line['address'])
  })
  const port = Number(address.split(':').at(-1))
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    process: child,
    output: () => out + err,
    errors: () => err,
    lines: () => [...log.lines],
    logged: (requestId) => until(() => log.ofRequest(requestId)),
    async relayed(route) {
      // Answered by nobody, and logged after all that ended before it.
      const marker = await fetch(`http://127.0.0.1:${port}/no-such-route`)
      const id = marker.headers.get('x-request-id')
      await until(() => log.ofRequest(id ?? ''))
      return log.lines.filter((line) => line['route'] === route)
    },
    rssBytes: () => rss(child.pid),
    async stop(signal = 'SIGKILL') {
      child.kill(signal)
      await child.exited
      return child.exitCode ?? -1
    },
  }
}

/** For what is expected to refuse to start, or to end by itself. */
export async function runToEnd(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  cwd = '/',
): Promise<CommandEnd> {
  const child = Bun.spawn([await binary(), ...args], {
    cwd,
    env: { ...passing(), ...env },
    stdout: 'pipe',
    stderr: 'pipe',
  })
  return endOf(child)
}

export interface CommandEnd {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

/** With all that it has said; killed where that takes longer than `withinMs`. */
export async function endOf(
  child: Subprocess<'ignore', 'pipe', 'pipe'>,
  withinMs = PATIENCE_MS,
): Promise<CommandEnd> {
  const timer = setTimeout(() => child.kill('SIGKILL'), withinMs)
  const [stdout, stderr, exitCode] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  clearTimeout(timer)
  return { exitCode, stdout, stderr }
}

/** Resident memory of a process; Linux. */
function rss(pid: number): number {
  const status = require('node:fs').readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) * 1024
}

/** Each line is parsed once, however often the log is looked at. */
function logReader() {
  const lines: LogLine[] = []
  const byRequest = new Map<unknown, LogLine>()
  let rest = ''
  return {
    lines: lines as readonly LogLine[],
    /** The first that was written of it. */
    ofRequest: (id: string): LogLine | undefined => byRequest.get(id),
    push(text: string): void {
      const whole = (rest + text).split('\n')
      rest = whole.pop() ?? ''
      for (const each of whole) {
        if (!each.startsWith('{')) continue
        const line: LogLine = JSON.parse(each)
        lines.push(line)
        const id = line['request_id']
        if (!byRequest.has(id)) byRequest.set(id, line)
      }
    },
  }
}

async function collect(
  stream: ReadableStream<Uint8Array>,
  take: (text: string) => void,
): Promise<void> {
  const decoder = new TextDecoder()
  for await (const chunk of stream) take(decoder.decode(chunk, { stream: true }))
}

/** Polls until there is a value; fails after `timeoutMs`. */
export async function until<T>(
  look: () => T | undefined | false | null,
  timeoutMs = PATIENCE_MS,
): Promise<T> {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    const found = look()
    if (found !== undefined && found !== false && found !== null) return found
    if (performance.now() > deadline) throw new Error(`nothing within ${timeoutMs} ms: ${look}`)
    await Bun.sleep(5)
  }
}
