// What is measured: each stands between the load and an upstream, and is started anew for each
// measurement, so that none has what an earlier one left it.

import type { Subprocess } from 'bun'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Credentials } from './credentials.ts'
import { endChild, firstOk } from './children.ts'

export type SubjectName = 'postern' | 'nginx' | 'haproxy' | 'portkey' | 'direct'

export interface Setting {
  /** Of this one start, empty. */
  readonly folder: string
  readonly upstreamPort: number
  readonly credentials: Credentials
  /** Descriptors that a process may have. */
  readonly descriptors: number
}

export interface Running {
  readonly port: number
  /** Undefined where there is no process: the direct connection. */
  readonly pid: number | undefined
  /** From its start to its first 200 of any kind, and to that of a request passed on. */
  readonly firstOkMs: number
  readonly firstPassedMs: number
  end(): Promise<void>
}

export interface Subject {
  readonly name: SubjectName
  /** As reports name it: with its version. */
  readonly title: string
  /** What it weighs where it lies on the disk. */
  readonly sizeBytes: number
  /** Headers that it wants on top of everybody's. */
  readonly headers: (setting: Pick<Setting, 'upstreamPort'>) => Readonly<Record<string, string>>
  start(setting: Setting): Promise<Running>
  /** Where devices have tokens of another kind: a file of them, for a gate that runs on `port`. */
  deviceTokens?(setting: Setting, port: number): Promise<string>
  /** Requests whose usage it has in a file, exactly; undefined without one. It must have ended. */
  metered?(setting: Setting): number | undefined
}

/** Not here: `why` is printed. */
export interface Missing {
  readonly name: SubjectName
  readonly why: string
}

export const isMissing = (found: Subject | Missing): found is Missing => 'why' in found

export const noHeaders = (): Readonly<Record<string, string>> => ({})

/** The configuration in this folder, with its `@NAMES@` filled in, written where it is used. */
export async function fillIn(
  template: string,
  into: string,
  values: Readonly<Record<string, string | number>>,
): Promise<string> {
  const text = readFileSync(join(import.meta.dir, template), 'utf8')
  const filled = text.replaceAll(/@([A-Z_]+)@/g, (_, name: string) => {
    const value = values[name]
    if (value === undefined) throw new Error(`${template} asks for ${name}`)
    return String(value)
  })
  const file = join(into, template)
  await Bun.write(file, filled)
  return file
}

/** One good request, as the measurements send it. */
export function probe(token: string, headers: Readonly<Record<string, string>> = {}): string {
  const body = '{"model":"gpt-oss-120b","messages":[]}'
  const lines = Object.entries({
    Host: 'gate.test',
    Authorization: `Bearer ${token}`,
    'Content-Type': 'application/json',
    'Content-Length': String(body.length),
    Connection: 'close',
    ...headers,
  }).map(([name, value]) => `${name}: ${value}\r\n`)
  return `POST /v1/chat/completions HTTP/1.1\r\n${lines.join('')}\r\n${body}`
}

/** Debian keeps servers where not everybody looks. */
export const installed = (program: string): string | null =>
  Bun.which(program) ?? Bun.which(program, { PATH: '/usr/sbin' })

/** The first line of a file of tokens. */
export const firstToken = (file: string): string =>
  readFileSync(file, 'utf8').split('\n', 1)[0] ?? ''

export interface Readiness {
  /** A request that is passed on. */
  readonly passed: string
  /** One that the gate answers by itself, where it has such a thing. */
  readonly own?: string
}

/** Waits until it answers a good request with 200, then it may be measured. */
export async function whenReady(
  start: () => Subprocess,
  port: number,
  { passed, own = passed }: Readiness,
): Promise<Running> {
  const began = performance.now()
  const child = start()
  const died = child.exited.then((code) => {
    throw new Error(`exited with ${code} before its first answer`)
  })
  died.catch(() => {})
  await Promise.race([firstOk(port, own), died])
  const firstOkMs = performance.now() - began
  await Promise.race([firstOk(port, passed), died])
  const firstPassedMs = performance.now() - began
  return { port, pid: child.pid, firstOkMs, firstPassedMs, end: () => endChild(child, 'SIGTERM') }
}
