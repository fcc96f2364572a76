// Which settings a running gate takes when a document or a file has changed (gate/reload.ts), and which
// need a restart. The type is exhaustive: a new setting does not compile until this table says.

import type { Key } from './table.ts'

/**
 * `taken`: whatever it changes to, present or absent. `value`: its value, but not whether there is one,
 * since routes are there because of it. `restart`: nothing of it.
 */
export type Reloading = 'taken' | 'value' | 'restart'

export const RELOADING: { readonly [K in Key]: Reloading } = {
  devMode: 'restart',
  host: 'restart',
  port: 'restart',
  addr: 'restart',
  trustedProxies: 'taken',
  keepAliveSeconds: 'taken',
  drainDelaySeconds: 'taken',
  drainTimeoutSeconds: 'taken',
  corsOrigins: 'taken',

  jwksUrl: 'taken',
  issuer: 'taken',
  audiences: 'taken',
  jwksRefreshSeconds: 'taken',
  jwksMaxStaleSeconds: 'taken',
  identityHashKey: 'value',
  identityHashKeyOld: 'taken',

  jwtSecret: 'value',
  jwtExpirationHours: 'taken',
  deviceIdleDays: 'taken',
  proxyBaseUrl: 'restart',
  bootstrap: 'taken',
  deviceModels: 'taken',
  deviceRateLimit: 'taken',
  deviceSpendCap: 'taken',
  orgSpendCap: 'taken',

  clientId: 'restart',
  clientSecret: 'taken',
  clientAuth: 'taken',
  redirectUri: 'restart',
  oauthBaseUrl: 'restart',
  oauthTokenUrl: 'restart',
  oauthIssuer: 'restart',
  oauthScopes: 'taken',
  apiBaseUrl: 'restart',
  sessionSecret: 'value',

  rateLimitRpm: 'taken',
  rateLimitBurst: 'taken',
  rateLimitMax: 'taken',
  rateLimitWindow: 'taken',
  publicRateLimitRpm: 'taken',
  maxUpstreamConcurrency: 'taken',
  maxIdentityConcurrency: 'taken',
  requireStreamUsage: 'taken',
  maxRequestBodyBytes: 'taken',
  maxPayloadSize: 'taken',
  circuitFailures: 'taken',
  circuitOpenSeconds: 'taken',
  circuitSuccesses: 'taken',

  // Read by `postern key` alone.
  keyPolicy: 'taken',
  keyExpires: 'taken',
  keyMaxLifetime: 'taken',
  keyRotationOverlap: 'taken',

  databaseUrl: 'restart',
  ledgerRetentionDays: 'taken',
  pricesFile: 'taken',
  adminToken: 'taken',
  adminPort: 'restart',
  redisUrl: 'restart',

  tinfoilApiKey: 'value',
  tinfoilBaseUrl: 'restart',
  tinfoilAttestationUrl: 'restart',
  tinfoilEnclaveHosts: 'taken',
  tinfoilCallers: 'restart',
  anthropicApiKey: 'value',
  anthropicBaseUrl: 'restart',
  anthropicKeyHeader: 'restart',
  anthropicHeaders: 'taken',
  anthropicCallers: 'restart',
  openaiUpstreamUrl: 'restart',
  openaiUpstreamKey: 'value',
  openaiUpstreamKeyHeader: 'taken',
  openaiUpstreamHeaders: 'taken',
  openaiUpstreamRoutes: 'restart',
  openaiUpstreamCallers: 'restart',
  requireEhbp: 'restart',
  upstreamCaFile: 'taken',
  upstreamProxy: 'taken',
  noProxy: 'taken',
  plainHttpHosts: 'taken',
  connectTimeoutSeconds: 'taken',
  headersTimeoutSeconds: 'taken',
  bodyTimeoutSeconds: 'taken',
  idleTimeoutSeconds: 'taken',

  logFormat: 'restart',
  logLevel: 'taken',
}
