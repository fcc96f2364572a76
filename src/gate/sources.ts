// The issuers and upstreams of a gate: in production those of the settings; in development mode a
// built-in issuer, and a stand-in on loopback for each upstream without a key.

import { randomBytes } from 'node:crypto'
import type { IssuerSettings } from '../admit/issuer-settings.ts'
import { ONE_TEXT } from '../config/issuers.ts'
import type { Settings } from '../config/read.ts'
import {
  EMBEDDED,
  takesDevices,
  type UpstreamEntry,
  type UpstreamEntryOf,
} from '../config/upstreams.ts'
import type { UpstreamKind } from '../names.ts'
import { type Revealing, Secret } from '../secret.ts'

export interface Sources {
  /** The issuers whose users are admitted; empty in a gate for devices only. */
  readonly issuers: readonly IssuerSettings[]
  /** In the settings' order. */
  readonly upstreams: readonly UpstreamSource[]
  /** For one person who signs in instead of using a key for Anthropic. */
  readonly login?: LoginSource
  /** The certificates of UPSTREAM_CA_FILE, in PEM. */
  readonly certificates: readonly string[]
  /** They sign device tokens; empty in a gate without devices. */
  readonly deviceSecrets: readonly Secret[]
  /** Absent in production. */
  readonly development?: Development
}

export interface LoginSource {
  readonly clientId: string
  readonly clientSecret?: Secret | undefined
  readonly clientAuth?: Settings['clientAuth']
  /** As it was given, because the provider compares it exactly. */
  readonly redirectUri: string
  readonly authorizeUrl: URL
  readonly tokenUrl: URL
  readonly issuer: string
  /** Separated by spaces; '' requests none by name. */
  readonly scope: string
  readonly apiBaseUrl: URL
  /** The first seals and signs, all open. */
  readonly secrets: readonly Secret[]
}

export interface Development {
  readonly token: string
  /** Stand-ins that run in this process. */
  readonly embedded: readonly Embedded[]
}

type Embedded = (typeof EMBEDDED)[number]

type Keyed<Entry> = Entry extends { readonly kind: 'anthropic-oauth' }
  ? Entry
  : Entry extends { readonly kind: 'openai' | 'anthropic' }
    ? Omit<Entry, 'apiKey'> & { readonly apiKey?: Revealing }
    : Omit<Entry, 'apiKey'> & { readonly apiKey: Revealing }

/** An upstream of the settings, or its stand-in in development mode. */
export type UpstreamSourceOf<Kind extends UpstreamKind> = Keyed<UpstreamEntryOf<Kind>> & {
  /** Callers make files and the like at an upstream of this kind. */
  readonly hasFiles?: boolean
}
export type UpstreamSource = {
  readonly [Kind in UpstreamKind]: UpstreamSourceOf<Kind>
}[UpstreamKind]

/** In development mode an upstream may exist without settings. */
function isWhole(entry: UpstreamEntry): entry is UpstreamEntry & UpstreamSource {
  if (entry.kind === 'openai') return (entry.baseUrl as URL | undefined) !== undefined
  if (entry.kind === 'anthropic' && entry.keyHeader === 'none') return true
  return !('apiKey' in entry) || entry.apiKey !== undefined
}

export async function sources(
  settings: Settings,
  certificates: readonly string[],
): Promise<Sources> {
  const from = settings.devMode ? await developmentSources(settings) : configured(settings)
  return { ...from, certificates }
}

type Configured = Omit<Sources, 'certificates'>

/** Those of a gate in production. */
export const upstreamSources = ({ upstreams }: Settings): readonly UpstreamSource[] =>
  upstreams.filter(isWhole)

/** demands.ts has checked that the settings of a sign-in are complete. */
function configured(settings: Settings): Configured {
  const { issuers, upstreams, jwtSecret } = settings
  return {
    issuers,
    upstreams: upstreamSources(settings),
    ...loginAt(settings),
    deviceSecrets: (takesDevices(upstreams) && jwtSecret) || [],
  }
}

/**
 * The issuer of development mode; its tokens have the same claims as those of an issuer of the
 * environment.
 */
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

/** Absent without sign-in. */
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

/** Loads the code for development, which a gate in production never reads. */
async function developmentSources(settings: Settings): Promise<Configured> {
  const { startIssuer } = await import('../dev/issuer.ts')
  const issuer = await startIssuer()
  const key = randomBytes(16).toString('hex')
  const apiKey = new Secret(key)
  const started: { readonly [Kind in Embedded]: () => Promise<Partial<UpstreamEntryOf<Kind>>> } = {
    async tinfoil() {
      const { startEnclave } = await import('../dev/enclave.ts')
      const baseUrl = new URL((await startEnclave({ apiKey: key })).url)
      return { apiKey, baseUrl, attestationUrl: baseUrl }
    },
    async anthropic() {
      const { startAnthropic } = await import('../dev/anthropic.ts')
      const baseUrl = new URL((await startAnthropic({ apiKey: key })).url)
      return { apiKey, baseUrl, keyHeader: 'x-api-key' }
    },
    async openai() {
      const { startOpenAi } = await import('../dev/openai.ts')
      return { apiKey, baseUrl: new URL((await startOpenAi({ apiKey: key })).url) }
    },
  }
  const embedded: Embedded[] = []
  const upstreams: UpstreamSource[] = []
  for (const entry of settings.upstreams) {
    const kind = EMBEDDED.find((each) => each === entry.kind)
    if (isWhole(entry) || !kind) upstreams.push(entry as UpstreamSource)
    else {
      embedded.push(kind)
      upstreams.push({ ...entry, ...(await started[kind]()) } as UpstreamSource)
    }
  }
  return {
    issuers: [
      oneIssuer(settings, {
        jwksUrl: new URL(issuer.jwksUrl),
        issuer: issuer.issuer,
        audiences: [issuer.audience],
      }),
    ],
    upstreams,
    deviceSecrets: [new Secret(randomBytes(32).toString('hex'))],
    development: { token: await issuer.token(), embedded },
  }
}
