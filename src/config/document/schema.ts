// The schema of the document: its sections and members. Their descriptions, ranges and defaults come from the
// table of settings. Validation, the JSON Schema for editors and the table in docs/settings.md all use it.

import { t } from 'elysia'
import { Fallback } from './fallback-schema.ts'
import { Issuer } from './issuer-schema.ts'
import { CLOSED, leaf, secret, section } from './leaf.ts'
import { Policy, Rule } from './policy-schema.ts'
import { Upstream } from './upstream-schema.ts'

export const DOCUMENT = t.Object(
  {
    $schema: t.Optional(t.String({ description: 'For editors.', forEditors: true })),
    listen: section(
      {
        host: leaf('host'),
        port: leaf('port'),
        trusted_proxies: leaf('trustedProxies'),
        cors_origins: leaf('corsOrigins'),
        keep_alive_seconds: leaf('keepAliveSeconds'),
        drain_delay_seconds: leaf('drainDelaySeconds'),
        drain_timeout_seconds: leaf('drainTimeoutSeconds'),
      },
      'Where the gate listens, and how it stops.',
    ),
    admin: section(
      { ...secret('token', 'adminToken'), port: leaf('adminPort') },
      "The operator's routes.",
    ),
    issuers: t.Optional(
      t.Array(Issuer, { description: 'The identity providers whose users are admitted.' }),
    ),
    upstreams: t.Optional(
      t.Array(Upstream, {
        description: 'Where requests go; only the upstreams listed here exist.',
      }),
    ),
    fallback: t.Optional(
      t.Array(Fallback, {
        description: 'Which upstreams stand in for one another; by default none does.',
      }),
    ),
    policies: t.Optional(
      t.Array(Policy, {
        description:
          'What callers may do. A rate or concurrency that a policy leaves out comes from limits.',
      }),
    ),
    rules: t.Optional(
      t.Array(Rule, {
        description: 'Who gets which policy: the first rule that matches in everything it says.',
      }),
    ),
    devices: section(
      {
        ...secret('signing_secrets', 'jwtSecret'),
        token_hours: leaf('jwtExpirationHours'),
        idle_days: leaf('deviceIdleDays'),
        base_url: leaf('proxyBaseUrl'),
        bootstrap: leaf('bootstrap'),
        models: leaf('deviceModels'),
        requests_per_minute: leaf('deviceRateLimit'),
        usd_per_month: leaf('deviceSpendCap'),
        org_usd_per_month: leaf('orgSpendCap'),
      },
      'How devices enrol, and what they may do unless their enrolment says otherwise.',
    ),
    keys: section(
      {
        policy: leaf('keyPolicy'),
        expires: leaf('keyExpires'),
        max_lifetime: leaf('keyMaxLifetime'),
        rotation_overlap: leaf('keyRotationOverlap'),
      },
      'Defaults of postern key for new keys.',
    ),
    limits: section(
      {
        requests_per_minute: leaf('rateLimitRpm'),
        burst: leaf('rateLimitBurst', 'Requests that an identity may make at once.'),
        window: section(
          {
            requests: leaf('rateLimitMax', 'Requests in one window.'),
            milliseconds: leaf('rateLimitWindow', 'The length of the window.'),
          },
          'Replaces requests_per_minute and burst.',
        ),
        public_requests_per_minute: leaf('publicRateLimitRpm'),
        upstream_concurrency: leaf('maxUpstreamConcurrency'),
        identity_concurrency: leaf('maxIdentityConcurrency'),
        require_stream_usage: leaf('requireStreamUsage'),
        max_body_bytes: leaf('maxRequestBodyBytes'),
        anthropic_max_body_bytes: leaf('maxPayloadSize'),
        connect_seconds: leaf('connectTimeoutSeconds'),
        headers_seconds: leaf('headersTimeoutSeconds'),
        body_seconds: leaf('bodyTimeoutSeconds'),
        idle_seconds: leaf('idleTimeoutSeconds'),
        realtime_idle_seconds: leaf('realtimeIdleSeconds'),
        realtime_max_seconds: leaf('realtimeMaxSeconds'),
        circuit: section(
          {
            failures: leaf('circuitFailures'),
            open_seconds: leaf('circuitOpenSeconds'),
            successes: leaf('circuitSuccesses'),
          },
          'When a failing upstream is no longer asked.',
        ),
      },
      'Limits on requests and on time.',
    ),
    egress: section(
      {
        ca_file: leaf('upstreamCaFile'),
        ...secret('proxy', 'upstreamProxy'),
        no_proxy: leaf('noProxy'),
        plain_http_hosts: leaf('plainHttpHosts'),
      },
      'Outgoing connections of the gate.',
    ),
    ledger: section(
      {
        database_url: leaf('databaseUrl'),
        retention_days: leaf('ledgerRetentionDays'),
        prices_file: leaf('pricesFile'),
        ...secret('identity_hash_key', 'identityHashKey'),
        ...secret('identity_hash_keys_old', 'identityHashKeyOld'),
      },
      'What is stored, and under which names.',
    ),
    log: section(
      { format: leaf('logFormat'), level: leaf('logLevel') },
      'What is written to stdout.',
    ),
  },
  { ...CLOSED, title: 'postern.yaml' },
)
