// Where trust and answers come from: in production what the settings name, in development mode an
// issuer and, for each upstream without a key, one of our own on loopback.

import { randomBytes } from 'node:crypto'
import type { IssuerSettings } from '../admit/issuer-settings.ts'
import { ONE_TEXT } from '../config/issuers.ts'
import type { Settings } from '../config/read.ts'
import { type Revealing, Secret } from '../secret.ts'

export interface Sources {
  /** Whose users are taken; none where only devices come. */
  readonly issuers: readonly IssuerSettings[]
  readonly tinfoil?: {
    readonly apiKey: Revealing
    readonly baseUrl: URL
    readonly attestationUrl: URL
  }
  readonly anthropic?: { readonly apiKey: Revealing; readonly baseUrl: URL }
  /** Where one person signs in, in the place of `anthropic`. */
  readonly login?: LoginSource
  /** Of UPSTREAM_CA_FILE, in PEM. */
  readonly certificates: readonly string[]
  /** What signs device tokens; there with `anthropic`. */
  readonly deviceSecrets: readonly Secret[]
  /** Absent in production. */
  readonly development?: Development
}

export interface LoginSource {
  readonly clientId: string
  readonly clientSecret?: Secret | undefined
  readonly clientAuth?: Settings['clientAuth']
  /** As it was given: the provider compares it letter by letter. */
  readonly redirectUri: string
  readonly authorizeUrl: URL
  readonly tokenUrl: URL
  readonly issuer: string
  /** By spaces; '' asks for none by name. */
  readonly scope: string
  readonly apiBaseUrl: URL
  /** The first seals and signs, all open. */
  readonly secrets: readonly Secret[]
}

export interface Development {
  readonly token: string
  /** Upstreams that answer from within this process. */
  readonly embedded: readonly ('tinfoil' | 'anthropic')[]
}

export async function sources(
  settings: Settings,
  certificates: readonly string[],
): Promise<Sources> {
  const from = settings.devMode ? await developmentSources(settings) : configured(settings)
  return { ...from, certificates }
}

type Configured = Omit<Sources, 'certificates'>

/** What these need is there together: demands.ts has seen to it. */
function configured(settings: Settings): Configured {
  const { tinfoilApiKey, anthropicApiKey, jwtSecret } = settings
  return {
    issuers: settings.issuers,
    ...(tinfoilApiKey && { tinfoil: tinfoilAt(settings, tinfoilApiKey) }),
    ...(anthropicApiKey && {
      anthropic: { apiKey: anthropicApiKey, baseUrl: settings.anthropicBaseUrl },
    }),
    ...loginAt(settings),
    deviceSecrets: jwtSecret ?? [],
  }
}

/** The one of development mode, whose tokens are those of the environment's. */
function oneIssuer(
  { jwksRefreshSeconds, jwksMaxStaleSeconds }: Settings,
  named: Required<Pick<IssuerSettings, 'issuer' | 'jwksUrl' | 'audiences'>>,
): IssuerSettings {
  return {
    ...named,
    name: 'default',
    scope: ONE_TEXT,
    refreshSeconds: jwksRefreshSeconds,
    maxStaleSeconds: jwksMaxStaleSeconds,
  }
}

/** Absent where nobody signs in. */
export function loginAt(settings: Settings): Pick<Sources, 'login'> {
  const { clientId, redirectUri, oauthBaseUrl, oauthTokenUrl, apiBaseUrl, sessionSecret } = settings
  if (clientId === undefined || redirectUri === undefined) return {}
  if (!oauthBaseUrl || !oauthTokenUrl || !apiBaseUrl || !sessionSecret) return {}
  const bare = oauthBaseUrl.pathname === '/' && oauthBaseUrl.search === ''
  return {
    login: {
      clientId,
      clientSecret: settings.clientSecret,
      clientAuth: settings.clientAuth,
      redirectUri,
      authorizeUrl: bare ? new URL('/oauth/authorize', oauthBaseUrl) : oauthBaseUrl,
      tokenUrl: oauthTokenUrl,
      issuer: settings.oauthIssuer ?? oauthBaseUrl.origin,
      scope: settings.oauthScopes ?? '',
      apiBaseUrl,
      secrets: sessionSecret,
    },
  }
}

function tinfoilAt(settings: Settings, apiKey: Secret): NonNullable<Sources['tinfoil']> {
  const { tinfoilBaseUrl: baseUrl, tinfoilAttestationUrl: attestationUrl } = settings
  return { apiKey, baseUrl, attestationUrl }
}

/** Its code is loaded here, so that a gate in production never even reads it. */
async function developmentSources(settings: Settings): Promise<Configured> {
  const { startIssuer } = await import('../dev/issuer.ts')
  const issuer = await startIssuer()
  const { tinfoilApiKey, anthropicApiKey } = settings
  const apiKey = randomBytes(16).toString('hex')
  const embedded: Development['embedded'][number][] = []

  const startedEnclave = async (): Promise<NonNullable<Sources['tinfoil']>> => {
    const { startEnclave } = await import('../dev/enclave.ts')
    const baseUrl = new URL((await startEnclave({ apiKey })).url)
    embedded.push('tinfoil')
    return { apiKey: new Secret(apiKey), baseUrl, attestationUrl: baseUrl }
  }
  const startedAnthropic = async (): Promise<NonNullable<Sources['anthropic']>> => {
    const { startAnthropic } = await import('../dev/anthropic.ts')
    const baseUrl = new URL((await startAnthropic({ apiKey })).url)
    embedded.push('anthropic')
    return { apiKey: new Secret(apiKey), baseUrl }
  }
  return {
    issuers: [
      oneIssuer(settings, {
        jwksUrl: new URL(issuer.jwksUrl),
        issuer: issuer.issuer,
        audiences: [issuer.audience],
      }),
    ],
    tinfoil: tinfoilApiKey ? tinfoilAt(settings, tinfoilApiKey) : await startedEnclave(),
    anthropic: anthropicApiKey
      ? { apiKey: anthropicApiKey, baseUrl: settings.anthropicBaseUrl }
      : await startedAnthropic(),
    deviceSecrets: [new Secret(randomBytes(32).toString('hex'))],
    development: { token: await issuer.token(), embedded },
  }
}
