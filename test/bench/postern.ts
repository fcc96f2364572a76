// The compiled postern with everything on: tokens verified, limits counted, each request logged to
// a file and written to a ledger in a real SQLite file, usage read.

import { HASH_KEY } from '../support/settings.ts'
import { Database } from 'bun:sqlite'
import { copyFileSync, existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { binary } from '../support/binary.ts'
import { freePort, startChild } from './children.ts'
import { AUDIENCE, DEVICE_SECRET, SECRET } from './credentials.ts'
import type { Options } from './options.ts'
import {
  firstToken,
  noHeaders,
  probe,
  type Running,
  type Setting,
  type Subject,
  whenReady,
} from './subject.ts'

const DEVICES = 200

/** Limits that count everybody and stop nobody. */
const LIMITS = {
  RATE_LIMIT_RPM: '1000000',
  RATE_LIMIT_BURST: '1000000',
  PUBLIC_RATE_LIMIT_RPM: '0',
  MAX_IDENTITY_CONCURRENCY: '1000000',
  MAX_UPSTREAM_CONCURRENCY: '1000000',
}

/** Copied into `folder`, so that a build beside the run changes nothing within it. */
export async function postern(
  folder: string,
  { binary: given, settings }: Pick<Options, 'binary' | 'settings'>,
): Promise<Subject> {
  const program = join(folder, 'postern')
  copyFileSync(given ?? (await binary()), program)
  const version = Bun.spawnSync([program, '--version'], { env: {} }).stdout.toString().trim()
  const environment = ({ folder: own, upstreamPort, credentials }: Setting) => ({
    HOST: '127.0.0.1',
    LOG_FORMAT: 'json',
    DATABASE_URL: `sqlite:${join(own, 'postern.db')}`,
    IDENTITY_HASH_KEY: HASH_KEY,
    JWKS_URL: credentials.jwksUrl,
    ISSUER: credentials.issuer,
    AUDIENCES: AUDIENCE,
    TINFOIL_API_KEY: SECRET,
    TINFOIL_BASE_URL: `http://127.0.0.1:${upstreamPort}`,
    TINFOIL_ATTESTATION_URL: `http://127.0.0.1:${upstreamPort}`,
    REQUIRE_EHBP: 'false',
    ANTHROPIC_API_KEY: SECRET,
    ANTHROPIC_BASE_URL: `http://127.0.0.1:${upstreamPort}`,
    JWT_SECRET: DEVICE_SECRET,
    BOOTSTRAP: 'code',
    PROXY_BASE_URL: 'https://gate.test',
    ...LIMITS,
    ...settings,
  })
  return {
    name: 'postern',
    title: `${version.startsWith('postern') ? version : `postern ${version}`}, everything on`,
    sizeBytes: statSync(program).size,
    headers: noHeaders,
    async start(setting): Promise<Running> {
      const port = await freePort()
      const start = () =>
        startChild([program], {
          cwd: setting.folder,
          env: { ...environment(setting), PORT: String(port) },
          logFile: join(setting.folder, 'access.log'),
          errorFile: join(setting.folder, 'stderr'),
        })
      return whenReady(start, port, {
        own: 'GET /health HTTP/1.1\r\nHost: gate.test\r\nConnection: close\r\n\r\n',
        passed: probe(firstToken(setting.credentials.knownFile)),
      })
    },
    metered({ folder: own }) {
      const file = join(own, 'postern.db')
      // Another database was set for this run.
      if (!existsSync(file)) return undefined
      using ledger = new Database(file, { readonly: true })
      const asked = "SELECT count(*) AS rows FROM ledger WHERE usage = 'exact'"
      return ledger.query<{ rows: number }, []>(asked).get()?.rows ?? 0
    },
    async deviceTokens(setting, port) {
      const enrol = [program, 'enrol', '--uses', String(DEVICES)]
      const { stdout, stderr } = Bun.spawnSync(enrol, { env: environment(setting) })
      const code = stdout.toString().trim()
      if (code === '') throw new Error(`postern enrol: ${stderr.toString()}`)
      const tokens: string[] = []
      for (let device = 0; device < DEVICES; device++) {
        const response = await fetch(`http://127.0.0.1:${port}/bootstrap`, {
          method: 'POST',
          headers: { authorization: `Bearer ${code}`, 'content-type': 'application/json' },
          body: JSON.stringify({ device_id: `device-${device}` }),
        })
        if (!response.ok) throw new Error(`bootstrap: ${response.status} ${await response.text()}`)
        tokens.push(((await response.json()) as { wrapper_token: string }).wrapper_token)
      }
      const file = join(setting.folder, 'devices.txt')
      await Bun.write(file, tokens.join('\n'))
      return file
    },
  }
}
