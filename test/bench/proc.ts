// What the kernel says of a process and all its descendants: CPU time and memory, from /proc.
// Linux alone; nothing here starts or ends a process.

import { readdirSync, readFileSync } from 'node:fs'

/** USER_HZ, which is 100 wherever Linux runs what we run. */
const TICKS_PER_SECOND = 100

export interface Memory {
  readonly rssBytes: number
  /** Pages that are shared with others count in part; what the gate adds to the machine. */
  readonly pssBytes: number
}

interface Stat {
  readonly parent: number
  readonly ticks: number
}

/** `utime` and `stime` of every thread that is or was; proc(5). The name may hold anything. */
export function parseStat(text: string): Stat {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return { parent: Number(fields[1]), ticks: Number(fields[11]) + Number(fields[12]) }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

/** The process and its descendants. */
export function treeOf(root: number): number[] {
  const children = new Map<number, number[]>()
  for (const name of readdirSync('/proc')) {
    const stat = /^\d+$/.test(name) ? read(`/proc/${name}/stat`) : undefined
    if (stat === undefined) continue
    const { parent } = parseStat(stat)
    children.set(parent, [...(children.get(parent) ?? []), Number(name)])
  }
  const tree = [root]
  for (const pid of tree) tree.push(...(children.get(pid) ?? []))
  return tree
}

/** CPU seconds that the tree has used since it began. */
export function cpuSeconds(root: number): number {
  const ticks = treeOf(root).map((pid) => {
    const stat = read(`/proc/${pid}/stat`)
    return stat === undefined ? 0 : parseStat(stat).ticks
  })
  return ticks.reduce((sum, each) => sum + each, 0) / TICKS_PER_SECOND
}

export function memoryOf(root: number): Memory {
  let rssKiB = 0
  let pssKiB = 0
  for (const pid of treeOf(root)) {
    const rollup = read(`/proc/${pid}/smaps_rollup`) ?? ''
    rssKiB += Number(/^Rss:\s+(\d+)/m.exec(rollup)?.[1] ?? 0)
    pssKiB += Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1] ?? 0)
  }
  return { rssBytes: rssKiB * 1024, pssBytes: pssKiB * 1024 }
}

/** CPU seconds of all processes together, since boot; `stolen` is what the host gave to others. */
export function machineSeconds(): { readonly busy: number; readonly stolen: number } {
  const line = read('/proc/stat')?.split('\n', 1)[0] ?? ''
  // user nice system idle iowait irq softirq steal; guest time is in user already.
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = line
    .trim()
    .split(/\s+/)
    .slice(1)
    .map(Number)
  const busy = user + nice + system + irq + softirq
  return { busy: busy / TICKS_PER_SECOND, stolen: steal / TICKS_PER_SECOND }
}
