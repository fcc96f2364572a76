// The compiled binary for hours: its log is read as it comes and forgotten, so that the one who
// watches does not grow either.

import { readdirSync, readFileSync } from 'node:fs'
import { binary } from '../support/binary.ts'

export interface LongRunning {
  readonly url: string
  readonly port: number
  readonly pid: number
  /** Lines that no healthy gate writes, and all of its stderr. */
  readonly alarms: readonly string[]
  rssBytes(): number
  descriptors(): number
  readonly exited: boolean
  /** The exit code. */
  stop(): Promise<number>
}

const ALARM = /^un(?:handled|caught) |internal|ledger/
const MAX_ALARMS = 50

export async function longRunning(
  env: Readonly<Record<string, string>>,
  cwd: string,
): Promise<LongRunning> {
  const child = Bun.spawn([await binary()], { cwd, env, stdout: 'pipe', stderr: 'pipe' })
  const alarms: string[] = []
  const alarm = (text: string): void => {
    if (alarms.length < MAX_ALARMS) alarms.push(text.slice(0, 500))
  }
  const { promise: listening, resolve, reject } = Promise.withResolvers<string>()
  const take = (line: string): void => {
    const { msg, address, level } = JSON.parse(line) as Record<string, unknown>
    if (msg === 'listening') resolve(String(address))
    // `ledger` in a line is news; that it is written again is the end of bad ones.
    if (ALARM.test(String(msg)) && level !== 'info') alarm(line)
  }
  void eachLine(child.stdout, take).catch((error: unknown) => alarm(`log: ${String(error)}`))
  void eachLine(child.stderr, (line) => alarm(`stderr: ${line}`))
  void child.exited.then((code) => reject(new Error(`exited ${code}: ${alarms.join('\n')}`)))
  const port = Number((await listening).split(':').at(-1))
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    pid: child.pid,
    alarms,
    rssBytes() {
      const status = readFileSync(`/proc/${child.pid}/status`, 'utf8')
      return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) * 1024
    },
    descriptors: () => readdirSync(`/proc/${child.pid}/fd`).length,
    get exited() {
      return child.exitCode !== null || child.signalCode !== null
    },
    async stop() {
      child.kill('SIGTERM')
      return child.exited
    },
  }
}

async function eachLine(
  stream: ReadableStream<Uint8Array>,
  take: (line: string) => void,
): Promise<void> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) take(line)
  }
  if (rest !== '') take(rest)
}
