// Where trust and answers come from: in production what the settings name, in development mode an
// issuer and, without a key for the real service, an enclave of our own on loopback.

import type { ClaimRules } from './admit/claims.ts'
import type { Settings } from './config/read.ts'
import { Secret } from './config/secret.ts'

export interface Sources {
  readonly jwksUrl: URL
  readonly rules: ClaimRules
  readonly tinfoil: {
    readonly apiKey: Secret
    readonly baseUrl: URL
    readonly attestationUrl: URL
  }
  /** Absent in production. */
  readonly development?: { readonly token: string; readonly embedded: boolean }
}

export async function sources(settings: Settings): Promise<Sources> {
  const { tinfoilBaseUrl: baseUrl, tinfoilAttestationUrl: attestationUrl } = settings
  if (!settings.devMode) {
    const { jwksUrl, issuer, audiences, tinfoilApiKey: apiKey } = settings
    return {
      jwksUrl,
      rules: { issuer, audiences },
      tinfoil: { apiKey, baseUrl, attestationUrl },
    }
  }
  // Loaded here, so that a gate in production never even reads this code.
  const { startIssuer } = await import('./dev/issuer.ts')
  const issuer = await startIssuer()
  const common = {
    jwksUrl: new URL(issuer.jwksUrl),
    rules: { issuer: issuer.issuer, audiences: [issuer.audience] },
  }
  const token = await issuer.token()
  if (settings.tinfoilApiKey) {
    const tinfoil = { apiKey: settings.tinfoilApiKey, baseUrl, attestationUrl }
    return { ...common, tinfoil, development: { token, embedded: false } }
  }
  const { startEnclave } = await import('./dev/enclave.ts')
  const apiKey = crypto.randomUUID()
  const enclave = new URL((await startEnclave({ apiKey })).url)
  return {
    ...common,
    tinfoil: { apiKey: new Secret(apiKey), baseUrl: enclave, attestationUrl: enclave },
    development: { token, embedded: true },
  }
}
