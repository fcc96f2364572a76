// What measurements of streams share: the upstream of streams with a gate before it, and readers.

import type { Dialect } from './sse-events.ts'
import type { Plan } from './sse-loader.ts'
import { type Program, startProgram } from './children.ts'
import type { Bench } from './part.ts'
import type { Running, Setting, Subject } from './subject.ts'

export interface Scene {
  readonly gate: Running
  readonly upstream: Program
  readonly folder: string
  /** Ends the gate, and says of how many requests it knows the usage, where it keeps that. */
  metered(): Promise<number | undefined>
  readers(work: Work): Program
  end(): Promise<void>
}

export interface Work {
  /** As sse-upstream.ts describes them. */
  readonly mode: 'paced' | 'finite' | 'first' | 'idle'
  readonly streams: number
  readonly events: number
  readonly turns?: number
}

export const PATHS: Readonly<Record<Dialect, string>> = {
  openai: '/v1/chat/completions',
  anthropic: '/v1/messages',
}

/** The upstream reads there what is wanted of it. */
export function askingFor(
  dialect: Dialect,
  { mode, events }: Pick<Work, 'mode' | 'events'>,
): string {
  const messages = [{ role: 'user', content: `?mode=${mode}&dialect=${dialect}&events=${events}` }]
  return JSON.stringify(
    dialect === 'openai'
      ? { model: 'gpt-oss-120b', stream: true, messages }
      : { model: 'claude-sonnet-4-5-20250929', max_tokens: 1024, stream: true, messages },
  )
}

export async function streamScene(
  subject: Subject,
  dialect: Dialect,
  { credentials, descriptors, folder: newFolder }: Bench,
): Promise<Scene> {
  const folder = newFolder()
  const upstream = startProgram('sse-upstream.ts', [])
  const upstreamPort = Number(await upstream.line())
  const setting: Setting = { folder, upstreamPort, credentials, descriptors }
  const gate = await subject.start(setting)
  const tokensFile =
    (dialect === 'anthropic' ? await subject.deviceTokens?.(setting, gate.port) : undefined) ??
    credentials.knownFile
  return {
    gate,
    upstream,
    folder,
    readers({ mode, streams, events, turns = 1 }) {
      const plan: Plan = {
        port: gate.port,
        path: PATHS[dialect],
        headers: {
          ...subject.headers(setting),
          ...(dialect === 'anthropic' ? { 'anthropic-version': '2023-06-01' } : {}),
        },
        tokensFile,
        body: askingFor(dialect, { mode, events }),
        dialect,
        events,
        streams,
        turns,
      }
      return startProgram('sse-loader.ts', [JSON.stringify(plan)])
    },
    async metered() {
      await gate.end()
      return subject.metered?.(setting)
    },
    async end() {
      await gate.end()
      await upstream.end()
    },
  }
}
