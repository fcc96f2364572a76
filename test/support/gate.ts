// The usual scene: an issuer, a recording upstream, and the compiled binary between them, in
// production mode.

import { type DevIssuer, startIssuer } from '../../src/dev/issuer.ts'
import { type Running, start, until } from './binary.ts'
import { UNLIMITED, usersOf } from './settings.ts'
import { startUpstream, type Upstream } from './upstream.ts'

export interface Scene {
  readonly gate: Running
  readonly upstream: Upstream
  readonly issuer: DevIssuer
  /** A good token of the issuer's. */
  readonly token: string
  close(): Promise<void>
}

export const API_KEY = 'tinfoil-key-canary-8c1f'

/** 64 hexadecimal digits, as a sealed request carries them. */
export const ENCAPSULATED_KEY = 'ab'.repeat(32)

export interface SceneOptions {
  /** On top of settings under which nothing is limited and plaintext passes. */
  readonly env?: Readonly<Record<string, string>>
  readonly eagerUpstream?: boolean
}

/** Nothing is limited, plaintext passes, and the upstream is the only enclave there is. */
export function usualSettings(
  issuer: DevIssuer,
  upstream: Upstream,
): Readonly<Record<string, string>> {
  return {
    ...usersOf(issuer),
    TINFOIL_API_KEY: API_KEY,
    TINFOIL_BASE_URL: upstream.url,
    TINFOIL_ATTESTATION_URL: upstream.url,
    REQUIRE_EHBP: 'false',
    ...UNLIMITED,
    CIRCUIT_FAILURES: '1000',
    CONNECT_TIMEOUT_SECONDS: '60',
  }
}

export async function scene({
  env = {},
  eagerUpstream = false,
}: SceneOptions = {}): Promise<Scene> {
  const upstream = await startUpstream({ eager: eagerUpstream })
  const issuer = await startIssuer()
  const gate = await start({ ...usualSettings(issuer, upstream), ...env })
  await ready(gate.url)
  return {
    gate,
    upstream,
    issuer,
    token: await issuer.token(),
    async close() {
      await gate.stop()
      await upstream.close()
      await issuer.close()
    },
  }
}

async function ready(url: string): Promise<void> {
  let ok = false
  await until(() => {
    void fetch(`${url}/readyz`).then((response) => {
      ok ||= response.ok
    })
    return ok
  })
}
