// Every setting there is. The command line, `--help`, the table in docs/settings.md and the mistakes that
// stop a start all come from here; nothing else in the tree reads the environment. It is long because it
// is one list: in several files nobody would see what there is, and its type is that of the settings.

import { isModelPattern } from '../token/model-pattern.ts'
import {
  apiUrl,
  issuerUrl,
  noProxyList,
  outboundUrl,
  plainHttpHosts,
  proxyUrl,
  queryUrl,
} from './egress-kinds.ts'
import type { Kind } from './kinds.ts'
import { networkMistake } from './networks.ts'
import { originMistake } from './origin.ts'
import { databaseUrl, exactUrl, secureUrl } from './address-kinds.ts'
import {
  clientId,
  headerSecret,
  hexKey,
  hexKeyList,
  longSecret,
  scopes,
  secretList,
} from './credential-kinds.ts'
import {
  dollars,
  duration,
  flag,
  integer,
  list,
  listOf,
  notYet,
  oneOf,
  policyName,
  someOf,
  text,
} from './kinds.ts'
import {
  ANTHROPIC_GROUPS,
  ANTHROPIC_KEY_HEADERS,
  KEY_HEADERS,
  NAMED_GROUPS,
  OPENAI_GROUPS,
} from '../names.ts'
import type { Secret } from '../secret.ts'
import { headerLines } from './header-lines.ts'

export type Group =
  'Server' | 'Upstream' | 'Users' | 'Devices' | 'Keys' | 'Sign-in' | 'Limits' | 'Ledger' | 'Log'

/** What makes a setting necessary outside development mode; demands.ts knows when that is. */
export type Need =
  'Tinfoil' | 'Anthropic' | 'OpenAI' | 'user tokens' | 'devices' | 'enrolment' | 'signing in'

/**
 * What of a change a running gate takes (gate/reload.ts). `value`: another value, but not whether there is
 * one, since routes are there because of it.
 */
export type Reloaded = 'taken' | 'value'

export interface Setting<T> {
  readonly env: string
  readonly group: Group
  readonly kind: Kind<T>
  readonly about: string
  /** As text, as somebody would write it; absent means that there is none. */
  readonly fallback?: string
  /** What development mode takes instead of `fallback`. */
  readonly devFallback?: string
  /** Must be given outside development mode where this is in use. */
  readonly required?: Need
  /** Belongs to production alone: development mode brings its own. */
  readonly notInDev?: true
  /** May also come from the file that `<env>_FILE` names, and is never echoed. */
  readonly secret?: true
  /** Absent: a change needs a restart. */
  readonly reload?: Reloaded
}

/** What an answer tells nothing of, and what few servers have, is asked for only where it is named. */
const NAMED: ReadonlySet<string> = new Set([
  'audio',
  'conversations',
  'stored_chat',
  ...NAMED_GROUPS,
])
const isUsual = (group: string): boolean => !NAMED.has(group)

const seconds = (min: number, max: number): Kind<number> => integer(min, max, '<seconds>')
export const ANTHROPIC_URL = 'https://api.anthropic.com'
const DAY_SECONDS = 86_400
export const LONGEST_KEY_DAYS = 3660
export const LONGEST_OVERLAP_DAYS = 90

function setting<T>(
  env: string,
  group: Group,
  kind: Kind<T>,
  about: string,
  rest: Omit<Setting<T>, 'env' | 'group' | 'kind' | 'about'> = {},
): Setting<T> {
  return { env, group, kind, about, ...rest }
}

export const SETTINGS = {
  devMode: setting(
    'DEV_MODE',
    'Server',
    flag,
    'Run locally: a local issuer, a test token, loopback only.',
    {
      fallback: 'false',
    },
  ),
  host: setting(
    'HOST',
    'Server',
    text('<address>'),
    'Address to listen on. With CLIENT_ID only loopback is allowed, 127.0.0.1 by default.',
    { fallback: '0.0.0.0', devFallback: '127.0.0.1' },
  ),
  port: setting('PORT', 'Server', integer(0, 65_535), 'Port to listen on; 0 takes a free one.', {
    fallback: '5381',
  }),
  addr: setting(
    'ADDR',
    'Server',
    text('<host:port>'),
    'HOST and PORT in one, such as `:5381`; cannot be combined with them.',
  ),
  trustedProxies: setting(
    'TRUSTED_PROXIES',
    'Server',
    listOf(
      '<cidr,...>',
      networkMistake,
      'give addresses, CIDR blocks as in 10.0.0.0/8, or loopback, linklocal, private',
    ),
    'Proxies whose `X-Forwarded-For` or `Forwarded` is trusted.',
    { reload: 'taken' },
  ),
  keepAliveSeconds: setting(
    'KEEP_ALIVE_SECONDS',
    'Server',
    seconds(1, 3600),
    'Idle time of a client connection; must exceed that of a load balancer in front. Above 252, `TRUSTED_PROXIES` close their own connections.',
    { reload: 'taken', fallback: '75' },
  ),
  drainDelaySeconds: setting(
    'DRAIN_DELAY_SECONDS',
    'Server',
    seconds(0, 300),
    'After SIGTERM: how long new connections are still accepted while `/readyz` answers 503.',
    { reload: 'taken', fallback: '0' },
  ),
  drainTimeoutSeconds: setting(
    'DRAIN_TIMEOUT_SECONDS',
    'Server',
    seconds(0, 3600),
    'After that: how long running streams may take to finish.',
    { reload: 'taken', fallback: '30' },
  ),

  jwksUrl: setting('JWKS_URL', 'Users', queryUrl, "The identity provider's key set.", {
    reload: 'taken',
    required: 'user tokens',
    notInDev: true,
  }),
  issuer: setting('ISSUER', 'Users', text('<iss>'), 'The `iss` that tokens must carry.', {
    reload: 'taken',
    required: 'user tokens',
    notInDev: true,
  }),
  audiences: setting(
    'AUDIENCES',
    'Users',
    list('<aud,...>'),
    'Tokens must carry one of these as `aud`.',
    { reload: 'taken', required: 'user tokens', notInDev: true },
  ),
  jwksRefreshSeconds: setting(
    'JWKS_REFRESH_SECONDS',
    'Users',
    seconds(1, DAY_SECONDS),
    'How often the key set is reread; a withdrawn key is rejected within this time.',
    { reload: 'taken', fallback: '900' },
  ),
  jwksMaxStaleSeconds: setting(
    'JWKS_MAX_STALE_SECONDS',
    'Users',
    seconds(1, 7 * DAY_SECONDS),
    'How long the last valid keys are used while the key set cannot be read.',
    { reload: 'taken', fallback: '86400' },
  ),
  identityHashKey: setting(
    'IDENTITY_HASH_KEY',
    'Users',
    hexKey,
    'Key of the HMAC that replaces subjects in limits and logs; if unset, a new one at each start.',
    { reload: 'value', required: 'devices', secret: true },
  ),
  identityHashKeyOld: setting(
    'IDENTITY_HASH_KEY_OLD',
    'Users',
    hexKeyList,
    'Former identity hash keys, the newest first: what is recorded under them still counts.',
    { reload: 'taken', secret: true },
  ),

  jwtSecret: setting(
    'JWT_SECRET',
    'Devices',
    secretList,
    'Signs device tokens: the first signs, all verify; at least 32 bytes each.',
    { reload: 'value', required: 'devices', notInDev: true, secret: true },
  ),
  jwtExpirationHours: setting(
    'JWT_EXPIRATION_HOURS',
    'Devices',
    integer(1, 8784, '<hours>'),
    'Lifetime of a device token.',
    { reload: 'taken', fallback: '24' },
  ),
  deviceIdleDays: setting(
    'DEVICE_IDLE_DAYS',
    'Devices',
    integer(0, 366, '<days>'),
    'How long after its token has expired a device can still refresh it.',
    { reload: 'taken', fallback: '30' },
  ),
  proxyBaseUrl: setting(
    'PROXY_BASE_URL',
    'Devices',
    secureUrl,
    'The URL at which devices reach this gate; never derived from a Host header.',
    { required: 'enrolment' },
  ),
  bootstrap: setting(
    'BOOTSTRAP',
    'Devices',
    oneOf('off', 'code', 'jwt', 'open'),
    'Who may enrol a device: nobody, holders of a `postern enrol` code, users by JWT, anybody.',
    { reload: 'taken', fallback: 'off', devFallback: 'open' },
  ),
  deviceModels: setting(
    'DEVICE_MODELS',
    'Devices',
    list('<model,...>', { test: isModelPattern }, 'give names, or beginnings with a trailing *'),
    'Models for devices whose enrolment names none; default all.',
    { reload: 'taken' },
  ),
  deviceRateLimit: setting(
    'DEVICE_RATE_LIMIT',
    'Devices',
    integer(1, 1_000_000),
    'Requests a minute for devices whose enrolment sets no rate.',
    { reload: 'taken' },
  ),
  deviceSpendCap: setting(
    'DEVICE_SPEND_CAP',
    'Devices',
    dollars,
    'US dollars a month for devices whose enrolment sets no cap.',
    { reload: 'taken' },
  ),
  orgSpendCap: setting(
    'ORG_SPEND_CAP',
    'Devices',
    dollars,
    'US dollars a month for all devices of one organisation together.',
    { reload: 'taken' },
  ),

  keyPolicy: setting(
    'KEY_POLICY',
    'Keys',
    policyName,
    'The policy of a new key without `--policy`; must be in the document.',
    { reload: 'taken' },
  ),
  keyExpires: setting(
    'KEY_EXPIRES',
    'Keys',
    duration(LONGEST_KEY_DAYS, ['never', Infinity]),
    'Lifetime of a new key without `--expires`: 12h, 90d, never.',
    { reload: 'taken', fallback: '90d' },
  ),
  keyMaxLifetime: setting(
    'KEY_MAX_LIFETIME',
    'Keys',
    duration(LONGEST_KEY_DAYS),
    'Maximum lifetime of a new key; default unlimited.',
    { reload: 'taken' },
  ),
  keyRotationOverlap: setting(
    'KEY_ROTATION_OVERLAP',
    'Keys',
    duration(LONGEST_OVERLAP_DAYS, ['0', 0]),
    'How long a rotated key stays valid beside its successor, without `--overlap`.',
    { reload: 'taken', fallback: '24h' },
  ),

  clientId: setting(
    'CLIENT_ID',
    'Sign-in',
    clientId,
    'The OAuth client id of this gate at the provider; turns on personal mode.',
    { required: 'signing in', notInDev: true },
  ),
  clientSecret: setting(
    'CLIENT_SECRET',
    'Sign-in',
    headerSecret,
    'The secret of that client, if the provider demands one.',
    { reload: 'taken', notInDev: true, secret: true },
  ),
  clientAuth: setting(
    'CLIENT_AUTH',
    'Sign-in',
    oneOf('basic', 'post', 'none'),
    'How CLIENT_SECRET is sent: in a header or in the body; default whichever the provider accepts.',
    { reload: 'taken', notInDev: true },
  ),
  redirectUri: setting(
    'REDIRECT_URI',
    'Sign-in',
    exactUrl,
    "Where the provider sends the code: its own page that shows it, or this gate's `/auth/callback`.",
    { required: 'signing in' },
  ),
  oauthBaseUrl: setting(
    'OAUTH_BASE_URL',
    'Sign-in',
    queryUrl,
    'The authorization endpoint; for a bare origin, its `/oauth/authorize`.',
    { required: 'signing in', notInDev: true },
  ),
  oauthTokenUrl: setting('OAUTH_TOKEN_URL', 'Sign-in', queryUrl, 'The token endpoint.', {
    required: 'signing in',
    notInDev: true,
  }),
  oauthIssuer: setting(
    'OAUTH_ISSUER',
    'Sign-in',
    issuerUrl,
    'The required `iss`, if the provider sends one; default the origin of OAUTH_BASE_URL.',
    { notInDev: true },
  ),
  oauthScopes: setting(
    'OAUTH_SCOPES',
    'Sign-in',
    scopes,
    "The requested scopes, separated by spaces; default the provider's own.",
    { reload: 'taken', notInDev: true },
  ),
  apiBaseUrl: setting(
    'API_BASE_URL',
    'Sign-in',
    apiUrl,
    'The API that the sign-in is for, with or without a trailing `/v1`.',
    { required: 'signing in' },
  ),
  sessionSecret: setting(
    'SESSION_SECRET',
    'Sign-in',
    secretList,
    'Encrypts tokens and signs sessions: the first seals, all open; at least 32 bytes each.',
    { reload: 'value', required: 'signing in', secret: true },
  ),

  rateLimitRpm: setting(
    'RATE_LIMIT_RPM',
    'Limits',
    integer(0, 1_000_000),
    'Requests a minute for each identity; 0 disables.',
    { reload: 'taken', fallback: '60' },
  ),
  rateLimitBurst: setting(
    'RATE_LIMIT_BURST',
    'Limits',
    integer(1, 1_000_000),
    'Requests that an identity may make at once.',
    { reload: 'taken', fallback: '10' },
  ),
  rateLimitMax: setting(
    'RATE_LIMIT_MAX',
    'Limits',
    integer(1, 1_000_000),
    'Another way to set the rate: requests in one RATE_LIMIT_WINDOW.',
    { reload: 'taken' },
  ),
  rateLimitWindow: setting(
    'RATE_LIMIT_WINDOW',
    'Limits',
    integer(1000, 86_400_000, '<ms>'),
    'The window of RATE_LIMIT_MAX.',
    { reload: 'taken' },
  ),
  requireStreamUsage: setting(
    'REQUIRE_STREAM_USAGE',
    'Limits',
    flag,
    'Refuse streams of chat and completions without `stream_options.include_usage`.',
    { reload: 'taken', fallback: 'false' },
  ),
  publicRateLimitRpm: setting(
    'PUBLIC_RATE_LIMIT_RPM',
    'Limits',
    integer(0, 1_000_000),
    'Requests a minute to the proxied public routes, for each address; 0 disables.',
    { reload: 'taken', fallback: '60' },
  ),
  maxUpstreamConcurrency: setting(
    'MAX_UPSTREAM_CONCURRENCY',
    'Limits',
    integer(1, 1_000_000),
    'Concurrent requests to the upstream.',
    { reload: 'taken', fallback: '256' },
  ),
  maxIdentityConcurrency: setting(
    'MAX_IDENTITY_CONCURRENCY',
    'Limits',
    integer(1, 1_000_000),
    'Concurrent requests of one identity.',
    { reload: 'taken', fallback: '16' },
  ),
  maxRequestBodyBytes: setting(
    'MAX_REQUEST_BODY_BYTES',
    'Limits',
    integer(1, 1_073_741_824, '<bytes>'),
    'Largest request body.',
    { reload: 'taken', fallback: '10485760' },
  ),
  maxPayloadSize: setting(
    'MAX_PAYLOAD_SIZE',
    'Limits',
    integer(1, 1_073_741_824, '<bytes>'),
    "Largest request body of Anthropic's routes.",
    { reload: 'taken', fallback: '33554432' },
  ),
  corsOrigins: setting(
    'CORS_ORIGINS',
    'Server',
    listOf(
      '<origin,...>',
      originMistake,
      'give origins as browsers send them: https://host, tauri://localhost, chrome-extension://<id>',
    ),
    'Web origins whose scripts may send requests; default none.',
    { reload: 'taken' },
  ),
  circuitFailures: setting(
    'CIRCUIT_FAILURES',
    'Limits',
    integer(1, 1000),
    'Failures that open a circuit: to connect in a row, of one caller in a row, or of as many callers.',
    { reload: 'taken', fallback: '5' },
  ),
  circuitOpenSeconds: setting(
    'CIRCUIT_OPEN_SECONDS',
    'Limits',
    seconds(1, 3600),
    'The longest time for which an open circuit refuses before anybody may probe.',
    { reload: 'taken', fallback: '30' },
  ),
  circuitSuccesses: setting(
    'CIRCUIT_SUCCESSES',
    'Limits',
    integer(1, 1000),
    'Successful probes that close a circuit.',
    { reload: 'taken', fallback: '2' },
  ),

  databaseUrl: setting(
    'DATABASE_URL',
    'Ledger',
    databaseUrl,
    'The ledger and the enrolments: `sqlite:<path>`, or `sqlite::memory:`.',
    { fallback: 'sqlite:postern.db', devFallback: 'sqlite::memory:' },
  ),
  ledgerRetentionDays: setting(
    'LEDGER_RETENTION_DAYS',
    'Ledger',
    integer(1, 3650, '<days>'),
    'How long the ledger keeps a request.',
    { reload: 'taken', fallback: '90' },
  ),
  pricesFile: setting(
    'PRICES_FILE',
    'Ledger',
    text('<path>'),
    'A JSON price table that replaces the built-in one; a model that it lacks has no price.',
    { reload: 'taken' },
  ),
  adminToken: setting(
    'ADMIN_TOKEN',
    'Ledger',
    longSecret,
    "The operator's key for `/admin`, at least 32 bytes; without it devices see only their own.",
    { reload: 'taken', secret: true },
  ),
  adminPort: setting(
    'ADMIN_PORT',
    'Ledger',
    integer(0, 65_535),
    'Serve `/admin` on this port, on loopback only; default the common listener.',
  ),
  redisUrl: setting(
    'REDIS_URL',
    'Ledger',
    notYet,
    'Not supported yet: each gate counts on its own.',
  ),

  tinfoilApiKey: setting('TINFOIL_API_KEY', 'Upstream', headerSecret, 'The key for Tinfoil.', {
    reload: 'taken',
    required: 'Tinfoil',
    secret: true,
  }),
  tinfoilBaseUrl: setting(
    'TINFOIL_BASE_URL',
    'Upstream',
    outboundUrl,
    'Where requests go that do not name an enclave.',
    { reload: 'taken', fallback: 'https://inference.tinfoil.sh' },
  ),
  tinfoilAttestationUrl: setting(
    'TINFOIL_ATTESTATION_URL',
    'Upstream',
    outboundUrl,
    'Where `/attestation` is fetched.',
    { reload: 'taken', fallback: 'https://atc.tinfoil.sh' },
  ),
  tinfoilEnclaveHosts: setting(
    'TINFOIL_ENCLAVE_HOSTS',
    'Upstream',
    list(
      '<host,...>',
      /^\.?[a-z0-9-]+(?:\.[a-z0-9-]+)+$/,
      'give host names, or suffixes with a dot in front, in lower case',
    ),
    'Enclaves that `X-Tinfoil-Enclave-Url` may name: a host, or a suffix with its dot.',
    { reload: 'taken', fallback: '.tinfoil.sh' },
  ),
  tinfoilCallers: setting(
    'TINFOIL_CALLERS',
    'Upstream',
    someOf('user', 'device', 'key'),
    'Which callers may use Tinfoil: users, devices, API keys.',
    { reload: 'taken', fallback: 'user' },
  ),
  anthropicApiKey: setting(
    'ANTHROPIC_API_KEY',
    'Upstream',
    headerSecret,
    'The key for Anthropic.',
    { reload: 'taken', required: 'Anthropic', secret: true },
  ),
  anthropicBaseUrl: setting(
    'ANTHROPIC_BASE_URL',
    'Upstream',
    queryUrl,
    "Anthropic's API, or a server that speaks it, without `/v1`. A query goes out with each request.",
    { reload: 'taken', fallback: ANTHROPIC_URL },
  ),
  anthropicKeyHeader: setting(
    'ANTHROPIC_KEY_HEADER',
    'Upstream',
    oneOf(...ANTHROPIC_KEY_HEADERS),
    'The header of its key: `x-api-key`, `api-key`, or `authorization`, which sends `Bearer`; `none` is for a server without a key.',
    { reload: 'taken', fallback: 'x-api-key' },
  ),
  anthropicHeaders: setting(
    'ANTHROPIC_HEADERS',
    'Upstream',
    headerLines,
    "Headers added to each request for it, in place of the caller's; no secrets.",
    { reload: 'taken' },
  ),
  anthropicRoutes: setting(
    'ANTHROPIC_ROUTES',
    'Upstream',
    someOf(...ANTHROPIC_GROUPS),
    'The route groups that it serves. `batches` and `files` must be named, here and in a policy.',
    { reload: 'taken', fallback: ANTHROPIC_GROUPS.filter(isUsual).join(',') },
  ),
  anthropicCallers: setting(
    'ANTHROPIC_CALLERS',
    'Upstream',
    someOf('user', 'device', 'key'),
    'Which callers may use Anthropic with its key.',
    { reload: 'taken', fallback: 'device,key' },
  ),
  openaiUpstreamUrl: setting(
    'OPENAI_UPSTREAM_URL',
    'Upstream',
    queryUrl,
    "A server of OpenAI's API, with its path: `https://api.openai.com/v1`. A query goes out with each request.",
    { reload: 'taken', required: 'OpenAI' },
  ),
  openaiUpstreamKey: setting(
    'OPENAI_UPSTREAM_KEY',
    'Upstream',
    headerSecret,
    'The key for that server, if it needs one.',
    { reload: 'taken', secret: true },
  ),
  openaiUpstreamKeyHeader: setting(
    'OPENAI_UPSTREAM_KEY_HEADER',
    'Upstream',
    oneOf(...KEY_HEADERS),
    'The header of that key: `Authorization: Bearer`, or `api-key` as Azure expects.',
    { reload: 'taken', fallback: 'authorization' },
  ),
  openaiUpstreamHeaders: setting(
    'OPENAI_UPSTREAM_HEADERS',
    'Upstream',
    headerLines,
    'Headers added to each request, such as `OpenAI-Project: proj_1`; no secrets.',
    { reload: 'taken' },
  ),
  openaiUpstreamRoutes: setting(
    'OPENAI_UPSTREAM_ROUTES',
    'Upstream',
    someOf(...OPENAI_GROUPS),
    'The route groups that server serves. `audio`, whose responses mostly report no usage, `conversations`, `stored_chat` and the groups that a policy must name, too (`files`, `uploads`, `batches`, `vector_stores`, `containers`, `fine_tuning`, `realtime`), must be named.',
    { reload: 'taken', fallback: OPENAI_GROUPS.filter(isUsual).join(',') },
  ),
  openaiUpstreamCallers: setting(
    'OPENAI_UPSTREAM_CALLERS',
    'Upstream',
    someOf('user', 'device', 'key'),
    'Which callers may use that server.',
    { reload: 'taken', fallback: 'user,key' },
  ),
  requireEhbp: setting(
    'REQUIRE_EHBP',
    'Upstream',
    flag,
    'Refuse bodies that are not sealed to an enclave.',
    { reload: 'taken', fallback: 'true', devFallback: 'false' },
  ),
  upstreamCaFile: setting(
    'UPSTREAM_CA_FILE',
    'Upstream',
    text('<path>'),
    'PEM certificates trusted besides the built-in ones, for every outgoing connection.',
    { reload: 'taken' },
  ),
  upstreamProxy: setting(
    'UPSTREAM_PROXY',
    'Upstream',
    proxyUrl,
    'A CONNECT proxy for every outgoing connection: `http://user:password@host:port`.',
    { reload: 'taken', secret: true },
  ),
  noProxy: setting(
    'NO_PROXY',
    'Upstream',
    noProxyList,
    'Hosts that bypass it: names including subdomains, addresses, networks, `*`.',
    { reload: 'taken' },
  ),
  plainHttpHosts: setting(
    'PLAIN_HTTP_HOSTS',
    'Upstream',
    plainHttpHosts,
    'Private hosts whose URLs may be http, or suffixes with their dot; loopback always may.',
    { reload: 'taken' },
  ),
  connectTimeoutSeconds: setting(
    'CONNECT_TIMEOUT_SECONDS',
    'Upstream',
    seconds(1, 300),
    'Time to connect to the upstream, including TLS.',
    { reload: 'taken', fallback: '10' },
  ),
  headersTimeoutSeconds: setting(
    'HEADERS_TIMEOUT_SECONDS',
    'Upstream',
    seconds(1, 3600),
    "Time to the upstream's headers, which includes generating a complete answer.",
    { reload: 'taken', fallback: '600' },
  ),
  bodyTimeoutSeconds: setting(
    'BODY_TIMEOUT_SECONDS',
    'Upstream',
    seconds(1, 3600),
    "How long a client's request body may stall.",
    { reload: 'taken', fallback: '60' },
  ),
  idleTimeoutSeconds: setting(
    'IDLE_TIMEOUT_SECONDS',
    'Upstream',
    seconds(1, DAY_SECONDS),
    'How long a stream may stall, by the upstream or by the reader.',
    { reload: 'taken', fallback: '600' },
  ),

  realtimeIdleSeconds: setting(
    'REALTIME_IDLE_SECONDS',
    'Upstream',
    seconds(1, DAY_SECONDS),
    'How long a realtime session may pass without a message from either side.',
    { reload: 'taken', fallback: '3600' },
  ),
  realtimeMaxSeconds: setting(
    'REALTIME_MAX_SECONDS',
    'Upstream',
    seconds(1, DAY_SECONDS),
    'How long a realtime session may last; OpenAI ends them after an hour.',
    { reload: 'taken', fallback: '7200' },
  ),

  logFormat: setting(
    'LOG_FORMAT',
    'Log',
    oneOf('text', 'json'),
    '`text` for people, `json` for machines.',
    {
      fallback: 'text',
    },
  ),
  logLevel: setting(
    'LOG_LEVEL',
    'Log',
    oneOf('debug', 'info', 'warn', 'error', 'silent'),
    'The lowest level that is logged.',
    { reload: 'taken', fallback: 'info' },
  ),
} as const

export type Table = typeof SETTINGS
export type Key = keyof Table

export const KEYS = Object.keys(SETTINGS) as readonly Key[]

/** For those to whom all settings are alike. */
export function settingOf(key: Key): Setting<unknown> {
  return SETTINGS[key]
}

type ValueOf<S> = S extends Setting<infer T> ? T : never

/**
 * The settings as read. Those without a fallback may be absent; what must be there in which mode
 * is `Settings`, in read.ts.
 */
export type Values = { readonly [K in Key]?: ValueOf<Table[K]> }

export type { Secret }

/**
 * `RATE_LIMIT_RPM` → `--rate-limit-rpm`. `NO_PROXY` has the name that all programs know it by, but
 * `--no-proxy` would unset `--proxy`.
 */
export function flagOf(env: string): string {
  const name = env.startsWith('NO_') ? `UPSTREAM_${env}` : env
  return `--${name.toLowerCase().replaceAll('_', '-')}`
}
