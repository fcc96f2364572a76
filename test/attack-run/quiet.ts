// The usual scene, whose log nobody keeps: under a million requests it would be memory and time of
// the one who measures. The gate writes it all the same.

import { binary, passing, until } from '../support/binary.ts'
import { freePort } from '../support/anthropic.ts'
import { usualSettings } from '../support/gate.ts'
import { startIssuer } from '../../src/dev/issuer.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'
import { readdirSync, readFileSync } from 'node:fs'

export interface QuietGate {
  readonly url: string
  readonly port: number
  rssBytes(): number
  /** Open now: its connections, in both directions, and what it has of its own. */
  descriptors(): number
  /** What it wrote to stderr. */
  errors(): string
  alive(): boolean
  stop(): Promise<void>
}

export interface QuietScene {
  readonly gate: QuietGate
  readonly upstream: Upstream
  /** A good token, of a subject. */
  token(sub: string): Promise<string>
  close(): Promise<void>
}

export async function quietScene(env: Readonly<Record<string, string>> = {}): Promise<QuietScene> {
  const upstream = await startUpstream()
  const issuer = await startIssuer()
  const gate = await quietGate({ ...usualSettings(issuer, upstream), ...env })
  return {
    gate,
    upstream,
    token: (sub) => issuer.token({ sub }),
    async close() {
      await gate.stop()
      await upstream.close()
      await issuer.close()
    },
  }
}

export async function quietGate(env: Readonly<Record<string, string>>): Promise<QuietGate> {
  const port = await freePort()
  const child = Bun.spawn([await binary()], {
    cwd: '/',
    env: { HOST: '127.0.0.1', PORT: String(port), LOG_FORMAT: 'json', ...passing(), ...env },
    stdout: 'ignore',
    stderr: 'pipe',
  })
  let errors = ''
  void (async () => {
    const decoder = new TextDecoder()
    for await (const bytes of child.stderr) errors += decoder.decode(bytes)
  })()
  const url = `http://127.0.0.1:${port}`
  let ready = false
  await until(() => {
    if (child.exitCode !== null) throw new Error(`exited ${child.exitCode}: ${errors}`)
    const asked = fetch(`${url}/readyz`).then(({ ok }) => ok)
    void asked.then((ok) => (ready ||= ok)).catch(() => {})
    return ready
  })
  return {
    url,
    port,
    rssBytes: () =>
      Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1]) * 1024,
    descriptors: () => readdirSync(`/proc/${child.pid}/fd`).length,
    errors: () => errors,
    alive: () => child.exitCode === null,
    async stop() {
      child.kill('SIGKILL')
      await child.exited
    },
  }
}
