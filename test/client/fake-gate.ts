// A gate of a test's own, over real sockets: enrols, rotates tokens with a grace, and revokes the
// family of a retired token that comes back, as strictly as an operator could wish.

import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

interface Issued {
  readonly family: number
  readonly deviceId: string
  readonly expiresAtMs: number
  retiredAtMs?: number
}

export interface Ask {
  readonly method: string
  readonly path: string
  readonly authorization: string | undefined
  readonly body: string
}

/** What becomes of one ask: `lost` is acted on, and its answer never sent. */
export type Fate = 'answer' | 'lost' | 'hang' | ((response: ServerResponse) => unknown)

export interface FakeGate {
  readonly url: string
  readonly asks: Ask[]
  readonly issued: Map<string, Issued>
  readonly revoked: Set<number>
  /** Retired tokens that came back after the grace: each is a family lost. */
  reuses: number
  families: number
  /** Codes that enrol once; undefined enrols anybody. */
  codes: Set<string> | undefined
  healthy: boolean
  /** What becomes of `GET /device`; `absent` is a gate of before it. */
  device: 'answer' | 'absent' | 'lost' | ((response: ServerResponse) => unknown)
  /** Answers one health check, and then listens no more. */
  goneAfterHealth: boolean
  lifetimeMs: number
  graceMs: number
  /** Moves the gate's clock. */
  aheadMs: number
  /** Asked for each ask to /bootstrap and /refresh. */
  fate: (ask: Ask) => Fate
  /** How the gate writes `expires_at`. */
  expiresAs: (ms: number) => unknown
  proxyBaseUrl: string
  count(path: string): number
  close(): Promise<void>
}

export async function startFakeGate(): Promise<FakeGate> {
  let serial = 0
  const server = http.createServer((request, response) => void serve(request, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const gate: FakeGate = {
    url,
    asks: [],
    issued: new Map(),
    revoked: new Set(),
    reuses: 0,
    families: 0,
    codes: undefined,
    healthy: true,
    device: 'answer',
    goneAfterHealth: false,
    lifetimeMs: 24 * 3_600_000,
    graceMs: 10_000,
    aheadMs: 0,
    fate: () => 'answer',
    expiresAs: (ms) => new Date(ms).toISOString(),
    proxyBaseUrl: url,
    count: (path) => gate.asks.filter((ask) => ask.path === path).length,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
  const now = (): number => Date.now() + gate.aheadMs

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = ''
    for await (const chunk of request) body += String(chunk)
    const { method = '', url: path = '', headers } = request
    const ask = { method, path, authorization: headers.authorization, body }
    gate.asks.push(ask)
    response.on('error', () => {})
    response.setHeader('date', new Date(now()).toUTCString())
    response.setHeader('content-type', 'application/json')
    if (path === '/healthz') {
      if (gate.goneAfterHealth) {
        response.setHeader('connection', 'close')
        server.close()
      }
      response.writeHead(gate.healthy ? 200 : 503)
      response.end(JSON.stringify({ status: gate.healthy ? 'ok' : 'unwell' }))
      return
    }
    if (path === '/device') {
      if (gate.device === 'lost') return void request.socket.destroy()
      if (typeof gate.device === 'function') return void gate.device(response)
      const token = /^Bearer (.+)$/.exec(headers.authorization ?? '')?.[1] ?? ''
      const held = gate.issued.get(token)
      const code =
        held === undefined
          ? 'invalid_token'
          : gate.revoked.has(held.family)
            ? 'token_revoked'
            : held.expiresAtMs < now()
              ? 'token_expired'
              : undefined
      if (!gate.healthy) response.writeHead(503).end()
      else if (gate.device === 'absent')
        response.writeHead(404).end('{"error":{"code":"not_found"}}')
      else if (code)
        response.writeHead(401).end(JSON.stringify({ error: { code, message: token } }))
      else
        response.writeHead(200).end(JSON.stringify({ replaced: held?.retiredAtMs !== undefined }))
      return
    }
    const fate = gate.fate(ask)
    if (fate === 'hang') return
    if (typeof fate === 'function') return void fate(response)
    const [status, said] = path === '/bootstrap' ? bootstrap(ask) : refresh(ask)
    if (fate === 'lost') {
      request.socket.destroy()
      return
    }
    response.writeHead(status).end(JSON.stringify(said))
  }

  function bootstrap({ authorization, body }: Ask): [number, unknown] {
    const code = /^Bearer (.+)$/.exec(authorization ?? '')?.[1]
    if (gate.codes && !gate.codes.delete(code ?? '')) return [403, { error: 'enrollment_required' }]
    gate.families += 1
    return [200, issue(gate.families, JSON.parse(body).device_id)]
  }

  function refresh({ authorization }: Ask): [number, unknown] {
    const token = /^Bearer (.+)$/.exec(authorization ?? '')?.[1] ?? ''
    const held = gate.issued.get(token)
    if (!held || held.expiresAtMs < now() || gate.revoked.has(held.family)) {
      return [401, { error: 'invalid_token', echoed: token }]
    }
    if (held.retiredAtMs !== undefined && now() - held.retiredAtMs > gate.graceMs) {
      gate.reuses += 1
      gate.revoked.add(held.family)
      return [401, { error: 'invalid_token' }]
    }
    held.retiredAtMs ??= now()
    return [200, issue(held.family, held.deviceId)]
  }

  function issue(family: number, deviceId: string): unknown {
    serial += 1
    const token = `sk-ant-proxy-canary-${serial}.${'x'.repeat(40)}`
    const expiresAtMs = now() + gate.lifetimeMs
    gate.issued.set(token, { family, deviceId, expiresAtMs })
    return {
      wrapper_token: token,
      proxy_base_url: gate.proxyBaseUrl,
      expires_at: gate.expiresAs(expiresAtMs),
    }
  }
  return gate
}
