// On what a run was made; never the machine's name.

import { readFileSync } from 'node:fs'
import os from 'node:os'
import { wrkVersion } from './wrk.ts'

export interface Machine {
  readonly date: string
  readonly cpu: string
  readonly cores: number
  readonly memoryGiB: number
  readonly kernel: string
  readonly bun: string
  readonly wrk: string
  readonly commit: string
}

export function machine(): Machine {
  const git = (...args: readonly string[]): string =>
    Bun.spawnSync(['git', ...args], { cwd: import.meta.dir })
      .stdout.toString()
      .trim()
  const changes = git('status', '--porcelain', '--', '../../src')
  return {
    date: new Date().toISOString().slice(0, 16).replace('T', ' '),
    cpu: /^model name\s*: (.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? os.arch(),
    cores: os.availableParallelism(),
    memoryGiB: Math.round(os.totalmem() / 2 ** 30),
    // What a distribution or a host adds to it says nothing about the figures.
    kernel: os.release().replace(/-.*/, ''),
    bun: Bun.version,
    wrk: wrkVersion() ?? 'none',
    commit: git('rev-parse', '--short=12', 'HEAD') + (changes === '' ? '' : '+'),
  }
}

export const inWords = ({ cpu, cores, memoryGiB, kernel, date }: Machine): string =>
  `${cpu}, ${cores} cores, ${memoryGiB} GiB, Linux ${kernel}, ${date.slice(0, 10)}`
