// The scene of devices: the compiled binary in production mode before a recording Anthropic, with a
// database of its own, and beside it the commands of the same binary on the same file.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type DevIssuer, startIssuer } from '../../src/dev/issuer.ts'
import { type CommandEnd, type Running, start } from './binary.ts'
import { runCommand } from './command.ts'
import { HASH_KEY, UNLIMITED, usersOf } from './settings.ts'
import { eventually } from './sink.ts'
import { startUpstream, type Upstream } from './upstream.ts'

export const ANTHROPIC_KEY = 'sk-ant-canary-0d61f2'
export const SECRET = 'jwt-secret-canary-5a90-5a90-5a90-5a90'
export const IDENTITY_KEY = HASH_KEY
export const ADMIN_TOKEN = 'admin-canary-77de-77de-77de-77de-77de'
export const PROXY_BASE_URL = 'https://gate.example.test'

export interface Minted {
  readonly wrapper_token: string
  readonly proxy_base_url: string
  readonly expires_at: string
}

export interface DeviceScene {
  readonly gate: Running
  /** Anthropic's, and Tinfoil's where there are users. */
  readonly upstream: Upstream
  readonly folder: string
  readonly databaseFile: string
  /** Where the scene has users. */
  readonly issuer: DevIssuer | undefined
  /** `postern …` on the gate's database, in another process than the gate. */
  command(args: readonly string[], env?: Readonly<Record<string, string>>): Promise<CommandEnd>
  /** A code by `postern enrol`. */
  code(...flags: readonly string[]): Promise<string>
  bootstrap(deviceId: string, code?: string): Promise<Response>
  /** A device's token, by a code with these terms. */
  device(...flags: readonly string[]): Promise<string>
  refresh(token: string): Promise<Response>
  close(): Promise<void>
}

export interface DeviceSceneOptions {
  /** On top of settings under which devices enrol by code and nothing is limited. */
  readonly env?: Readonly<Record<string, string>>
  /** With an issuer and Tinfoil too. */
  readonly users?: boolean
}

let devices = 0

export async function anthropicScene({
  env = {},
  users = false,
}: DeviceSceneOptions = {}): Promise<DeviceScene> {
  const folder = mkdtempSync(join(tmpdir(), 'postern-device-'))
  const databaseFile = join(folder, 'postern.db')
  const common = { DATABASE_URL: `sqlite:${databaseFile}`, IDENTITY_HASH_KEY: IDENTITY_KEY }
  const upstream = await startUpstream()
  const issuer = users ? await startIssuer() : undefined
  const gate = await start({
    ANTHROPIC_API_KEY: ANTHROPIC_KEY,
    ANTHROPIC_BASE_URL: upstream.url,
    JWT_SECRET: SECRET,
    BOOTSTRAP: 'code',
    PROXY_BASE_URL,
    ...UNLIMITED,
    ...common,
    ...(issuer && {
      ...usersOf(issuer),
      TINFOIL_API_KEY: 'tinfoil-key-canary-8c1f',
      TINFOIL_BASE_URL: upstream.url,
      TINFOIL_ATTESTATION_URL: upstream.url,
      REQUIRE_EHBP: 'false',
    }),
    ...env,
  })
  await eventually(async () => (await fetch(`${gate.url}/readyz`)).ok)

  const command: DeviceScene['command'] = (args, more = {}) =>
    runCommand(args, { ...common, ...more }, folder)
  const code: DeviceScene['code'] = async (...flags) => {
    const { exitCode, stdout, stderr } = await command(['enrol', ...flags])
    if (exitCode !== 0) throw new Error(`postern enrol: ${exitCode}: ${stderr}`)
    return stdout.trim()
  }
  const bootstrap: DeviceScene['bootstrap'] = (deviceId, with_) =>
    fetch(`${gate.url}/bootstrap`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ device_id: deviceId, ...(with_ && { enrollment_code: with_ }) }),
    })
  return {
    gate,
    upstream,
    folder,
    databaseFile,
    issuer,
    command,
    code,
    bootstrap,
    async device(...flags) {
      devices += 1
      const response = await bootstrap(`device-${devices}`, await code(...flags))
      if (!response.ok) throw new Error(`bootstrap: ${response.status}: ${await response.text()}`)
      return ((await response.json()) as Minted).wrapper_token
    },
    refresh: (token) =>
      fetch(`${gate.url}/refresh`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}` },
      }),
    async close() {
      await gate.stop()
      await upstream.close()
      await issuer?.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** Below those that the system gives to connections, which might be given out meanwhile. */
const [LOWEST_PORT, PORTS] = [16_000, 16_000]

/** Where no port may be asked for twice: one that was free a moment ago. */
export async function freePort(): Promise<number> {
  for (let tries = 1; ; tries += 1) {
    const port = LOWEST_PORT + Math.floor(Math.random() * PORTS)
    try {
      const probe = Bun.serve({ hostname: '127.0.0.1', port, fetch: () => new Response() })
      await probe.stop(true)
      return port
    } catch (error) {
      if (tries === 20) throw error
    }
  }
}

export const asked = {
  model: 'claude-sonnet-4-5-20250929',
  max_tokens: 64,
  messages: [{ role: 'user', content: 'Hello!' }],
} as const

export const VERSION = { 'anthropic-version': '2023-06-01' } as const

/** `POST /v1/messages` as an SDK sends it. */
export function messages(
  gate: { readonly url: string },
  token: string,
  body: string | Uint8Array<ArrayBuffer> = JSON.stringify(asked),
  headers: Readonly<Record<string, string>> = {},
  path = '/v1/messages',
): Promise<Response> {
  return fetch(gate.url + path, {
    method: 'POST',
    headers: {
      ...VERSION,
      'content-type': 'application/json',
      authorization: `Bearer ${token}`,
      ...headers,
    },
    body,
  })
}

export interface AnthropicError {
  readonly type: unknown
  readonly error: { readonly type: unknown; readonly message: unknown }
  readonly request_id: unknown
}

/** A refusal in Anthropic's shape and in no other: its type, or what was there instead. */
export async function refusalOf(response: Response): Promise<string> {
  const text = await response.text()
  const body = JSON.parse(text) as AnthropicError
  const inShape =
    Object.keys(body).join() === 'type,error,request_id' &&
    body.type === 'error' &&
    ['type,message', 'type,message,code'].includes(Object.keys(body.error).join()) &&
    body.request_id === response.headers.get('x-request-id')
  return inShape ? `${response.status} ${String(body.error.type)}` : text
}
