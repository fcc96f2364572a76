// For `postern check`: the status of a gate that already runs at the address in these settings. Only
// that gate knows that its database was moved or its log deleted, and when.

import { parseStrictObject } from '../token/strict-json.ts'
import type { Settings } from '../config/read.ts'
import type { Ask } from '../http1/ask.ts'

export interface RunningGate {
  readonly ok: boolean
  readonly warning?: true
  readonly what: string
}

const TIMEOUT_MS = 2000
const MAX_BYTES = 4096

const SAID: ReadonlyMap<unknown, string> = new Map([
  [
    'moved',
    'its database was moved or deleted while in use; it has switched to the file at the path',
  ],
  [
    'log_gone',
    "its database's log (-wal) was deleted while in use; its own log says what was saved",
  ],
])

/** Empty if no gate answers: a check usually precedes the start. */
export async function checkRunning(
  { host, port }: Pick<Settings, 'host' | 'port'>,
  ask: Ask,
): Promise<RunningGate[]> {
  if (port === 0) return []
  const name = ANY.has(host) ? '127.0.0.1' : host
  const url = new URL(`http://${name.includes(':') ? `[${name}]` : name}:${port}/readyz`)
  const reply = await ask({
    method: 'GET',
    url,
    headers: {},
    timeoutMs: TIMEOUT_MS,
    maxBytes: MAX_BYTES,
    reads: () => true,
  })
  const said = reply.ok ? parseStrictObject(Buffer.from(reply.body).toString('utf8')) : undefined
  const status = said?.['status']
  if (!said || (status !== 'ready' && status !== 'not_ready')) return []
  const { ledger, database, reason } = said
  const gate = `the gate that runs at ${url.host}`
  if (ledger !== undefined) {
    return [{ ok: false, what: `${gate}: it cannot write its database (${visible(ledger)})` }]
  }
  if (database !== undefined) {
    const words = SAID.get(database)
    return [
      words === undefined
        ? { ok: false, what: `${gate}: it cannot use its database (${visible(database)})` }
        : { ok: true, warning: true, what: `${gate}: ${words}` },
    ]
  }
  return status === 'ready'
    ? [{ ok: true, what: `${gate}: ready` }]
    : [{ ok: true, warning: true, what: `${gate}: not ready (${visible(reason)})` }]
}

const ANY: ReadonlySet<string> = new Set(['0.0.0.0', '::', '[::]'])

/** The response must not move a terminal's cursor. */
const visible = (value: unknown): string =>
  typeof value === 'string' && /^[\w -]{1,40}$/.test(value) ? value : 'for another reason'
