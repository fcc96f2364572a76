// An issuer, and gates in front of a server of OpenAI's realtime API.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startIssuer } from '../../src/dev/issuer.ts'
import { type LogLine, type Running, start, until } from './binary.ts'
import { openRealtime } from './realtime-client.ts'
import { UPSTREAM_KEY } from './realtime-upstream.ts'
import { HASH_KEY, UNLIMITED } from './settings.ts'

export interface RealtimeGateOptions {
  /** Of the document. */
  readonly more?: string
  readonly routes?: string
  readonly env?: Readonly<Record<string, string>>
}

export interface RealtimeGate {
  readonly gate: Running
  /** Of its document. */
  readonly path: string
  open(id: string): ReturnType<typeof openRealtime>
  /** The line of a connection that has ended. */
  ended(id: string): Promise<LogLine>
}

export async function realtimeScene() {
  const folder = mkdtempSync(join(tmpdir(), 'postern-realtime-'))
  const issuer = await startIssuer()
  const token = await issuer.token()
  const running: Running[] = []

  const startGate = async (
    upstreamUrl: string,
    { more = '', routes = '[models, realtime]', env = {} }: RealtimeGateOptions = {},
  ): Promise<RealtimeGate> => {
    const path = join(folder, `postern-${running.length}.yaml`)
    writeFileSync(
      path,
      `issuers:
  - issuer: ${issuer.issuer}
    jwks_url: ${issuer.jwksUrl}
    audiences: [${issuer.audience}]
upstreams:
  - { kind: openai, name: talk, base_url: '${upstreamUrl}', api_key: ${UPSTREAM_KEY}, routes: ${routes} }
policies:
  - { name: all, routes: [models, realtime] }
rules:
  - { kind: user, policy: all }
${more}
ledger:
  database_url: sqlite:${path}.db
  identity_hash_key: ${HASH_KEY}
log: { format: json }
`,
      { mode: 0o600 },
    )
    const gate = await start({ ...UNLIMITED, POSTERN_CONFIG: path, DATABASE_URL: '', ...env })
    running.push(gate)
    return {
      gate,
      path,
      open: (id) =>
        openRealtime(`${gate.url}/v1/realtime?model=gpt-realtime`, {
          headers: { authorization: `Bearer ${token}`, 'x-request-id': id },
        }),
      ended: (id) =>
        until(() =>
          gate.lines().find((line) => line['request_id'] === id && line['status'] !== 200),
        ),
    }
  }

  return {
    token,
    startGate,
    async close() {
      for (const each of running) await each.stop()
      await issuer.close()
      rmSync(folder, { recursive: true })
    },
  }
}
