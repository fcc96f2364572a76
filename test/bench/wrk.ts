// wrk, the tool that requests come from: one run of it, its figures, and the CPU time that each of
// the three, load, gate and upstream, had meanwhile.

import { join } from 'node:path'
import { cpuSeconds, machineSeconds } from './proc.ts'
import { startChild } from './children.ts'

export interface Load {
  readonly port: number
  readonly path: string
  readonly bodyFile: string
  readonly tokensFile: string
  /** Tokens go round and round, or each is sent once, `skip` of them passed over. */
  readonly repeat: boolean
  readonly skip: number
  readonly connections: number
  readonly seconds: number
  readonly headers: Readonly<Record<string, string>>
  readonly folder: string
  readonly gatePid: number | undefined
  readonly upstreamPid: number | undefined
}

export interface Result {
  readonly requests: number
  readonly durationUs: number
  readonly bytes: number
  readonly p50Us: number
  readonly p99Us: number
  readonly refused: number
  readonly broken: number
  readonly wraps: number
}

export interface Loaded extends Result {
  /** CPU time in shares of one core. */
  readonly gateCores: number
  readonly upstreamCores: number
  readonly loaderCores: number
  /** What anybody else used of the machine: on a quiet one, next to nothing. */
  readonly othersCores: number
  readonly gateCpuUs: number
}

export function wrkVersion(): string | undefined {
  const program = Bun.which('wrk')
  if (program === null) return undefined
  return /wrk (\S+)/.exec(Bun.spawnSync([program, '-v']).stdout.toString())?.[1]
}

export async function wrk(load: Load): Promise<Loaded> {
  const out = join(load.folder, `wrk-${load.port}.out`)
  const of = (pid: number | undefined): number => (pid === undefined ? 0 : cpuSeconds(pid))
  const before = { gate: of(load.gatePid), upstream: of(load.upstreamPid), all: machineSeconds() }
  const began = performance.now()
  const child = startChild(
    [
      'wrk',
      '-t1',
      `-c${load.connections}`,
      `-d${load.seconds}s`,
      '--timeout',
      '10s',
      '-s',
      join(import.meta.dir, 'requests.lua'),
      `http://127.0.0.1:${load.port}`,
    ],
    {
      env: {
        TOKENS: load.tokensFile,
        BODY: load.bodyFile,
        REPEAT: load.repeat ? '1' : '0',
        SKIP: String(load.skip),
        REQUEST_PATH: load.path,
        REQUEST_HOST: 'gate.test',
        HEADERS: Object.entries(load.headers)
          .map(([name, value]) => `${name}: ${value}\n`)
          .join(''),
      },
      logFile: out,
      errorFile: join(load.folder, 'wrk.err'),
    },
  )
  await child.exited
  const ended = performance.now()
  const gate = of(load.gatePid) - before.gate
  const upstream = of(load.upstreamPid) - before.upstream
  const machine = machineSeconds()
  const usage = child.resourceUsage()
  const text = await Bun.file(out).text()
  const line = /^RESULT (\{.*\})$/m.exec(text)?.[1]
  if (line === undefined) throw new Error(`wrk said nothing: ${text}`)
  const result = JSON.parse(line) as Result
  const seconds = result.durationUs / 1e6
  const wallSeconds = (ended - began) / 1000
  const loader = Number(usage?.cpuTime.total ?? 0n) / 1e6
  const busy = machine.busy - before.all.busy
  return {
    ...result,
    gateCores: gate / seconds,
    upstreamCores: upstream / seconds,
    loaderCores: loader / seconds,
    othersCores: Math.max(0, busy - gate - upstream - loader) / wallSeconds,
    gateCpuUs: (gate * 1e6) / result.requests,
  }
}
