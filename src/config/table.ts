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
import { exactUrl, secureUrl, sqliteUrl } from './address-kinds.ts'
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
import { KEY_HEADERS, OPENAI_GROUPS } from '../names.ts'
import type { Secret } from '../secret.ts'
import { headerLines } from './header-lines.ts'

export type Group =
  'Server' | 'Upstream' | 'Users' | 'Devices' | 'Keys' | 'Sign-in' | 'Limits' | 'Ledger' | 'Log'

/** What makes a setting necessary outside development mode; demands.ts knows when that is. */
export type Need =
  'Tinfoil' | 'Anthropic' | 'OpenAI' | 'user tokens' | 'devices' | 'enrolment' | 'signing in'

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
}

/** What an answer tells nothing of is asked for only where it is named. */
const METERED = OPENAI_GROUPS.filter((group) => group !== 'audio')

const seconds = (min: number, max: number): Kind<number> => integer(min, max, '<seconds>')
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
  devMode: setting('DEV_MODE', 'Server', flag, 'A local issuer, a test token, loopback only.', {
    fallback: 'false',
  }),
  host: setting(
    'HOST',
    'Server',
    text('<address>'),
    'Address to listen on; with CLIENT_ID loopback alone, and 127.0.0.1 unless set.',
    { fallback: '0.0.0.0', devFallback: '127.0.0.1' },
  ),
  port: setting('PORT', 'Server', integer(0, 65_535), 'Port to listen on; 0 takes a free one.', {
    fallback: '5381',
  }),
  addr: setting(
    'ADDR',
    'Server',
    text('<host:port>'),
    'HOST and PORT in one, as in `:5381`; not together with them.',
  ),
  trustedProxies: setting(
    'TRUSTED_PROXIES',
    'Server',
    listOf(
      '<cidr,...>',
      networkMistake,
      'give addresses, CIDR blocks as in 10.0.0.0/8, or loopback, linklocal, private',
    ),
    'Load balancers whose `X-Forwarded-For` or `Forwarded` is believed.',
  ),
  keepAliveSeconds: setting(
    'KEEP_ALIVE_SECONDS',
    'Server',
    seconds(1, 3600),
    'How long a connection may stand idle after an answer: more than the load balancer in front lets it. Above 252, those of `TRUSTED_PROXIES` are left to them to close.',
    { fallback: '75' },
  ),
  drainDelaySeconds: setting(
    'DRAIN_DELAY_SECONDS',
    'Server',
    seconds(0, 300),
    'After SIGTERM: time with `/readyz` 503 in which new connections are still taken.',
    { fallback: '0' },
  ),
  drainTimeoutSeconds: setting(
    'DRAIN_TIMEOUT_SECONDS',
    'Server',
    seconds(0, 3600),
    'After that: time that running streams have to finish.',
    { fallback: '30' },
  ),

  jwksUrl: setting('JWKS_URL', 'Users', queryUrl, "The identity provider's key set.", {
    required: 'user tokens',
    notInDev: true,
  }),
  issuer: setting('ISSUER', 'Users', text('<iss>'), 'The `iss` that tokens must carry.', {
    required: 'user tokens',
    notInDev: true,
  }),
  audiences: setting(
    'AUDIENCES',
    'Users',
    list('<aud,...>'),
    'Tokens must carry one of these as `aud`.',
    { required: 'user tokens', notInDev: true },
  ),
  jwksRefreshSeconds: setting(
    'JWKS_REFRESH_SECONDS',
    'Users',
    seconds(1, DAY_SECONDS),
    'How often the key set is read again; a withdrawn key is dead within it.',
    { fallback: '900' },
  ),
  jwksMaxStaleSeconds: setting(
    'JWKS_MAX_STALE_SECONDS',
    'Users',
    seconds(1, 7 * DAY_SECONDS),
    'How long the last good keys serve while the key set cannot be read.',
    { fallback: '86400' },
  ),
  identityHashKey: setting(
    'IDENTITY_HASH_KEY',
    'Users',
    hexKey,
    'Key of the HMAC that stands for a subject in limits and logs; unset, a new one at each start.',
    { required: 'devices', secret: true },
  ),
  identityHashKeyOld: setting(
    'IDENTITY_HASH_KEY_OLD',
    'Users',
    hexKeyList,
    'Keys of before, the newest first: what is known under one of them is still theirs.',
    { secret: true },
  ),

  jwtSecret: setting(
    'JWT_SECRET',
    'Devices',
    secretList,
    'Signs device tokens: the first signs, all verify; each of 32 bytes or more.',
    { required: 'devices', notInDev: true, secret: true },
  ),
  jwtExpirationHours: setting(
    'JWT_EXPIRATION_HOURS',
    'Devices',
    integer(1, 8784, '<hours>'),
    'How long a device token lives.',
    { fallback: '24' },
  ),
  deviceIdleDays: setting(
    'DEVICE_IDLE_DAYS',
    'Devices',
    integer(0, 366, '<days>'),
    'How long after the end of its token a device may still come back for the next.',
    { fallback: '30' },
  ),
  proxyBaseUrl: setting(
    'PROXY_BASE_URL',
    'Devices',
    secureUrl,
    'Where devices reach this gate; it is never taken from a Host header.',
    { required: 'enrolment' },
  ),
  bootstrap: setting(
    'BOOTSTRAP',
    'Devices',
    oneOf('off', 'code', 'jwt', 'open'),
    'Who may enrol a device: nobody, codes of `postern enrol`, users by their JWT, anybody.',
    { fallback: 'off', devFallback: 'open' },
  ),
  deviceModels: setting(
    'DEVICE_MODELS',
    'Devices',
    list('<model,...>', { test: isModelPattern }, 'give names, or beginnings with a trailing *'),
    'Models of devices whose enrolment says nothing of models; without it, all.',
  ),
  deviceRateLimit: setting(
    'DEVICE_RATE_LIMIT',
    'Devices',
    integer(1, 1_000_000),
    'Requests a minute of devices whose enrolment says nothing of it.',
  ),
  deviceSpendCap: setting(
    'DEVICE_SPEND_CAP',
    'Devices',
    dollars,
    'US dollars a month of devices whose enrolment says nothing of it.',
  ),
  orgSpendCap: setting(
    'ORG_SPEND_CAP',
    'Devices',
    dollars,
    'US dollars a month of all devices of one organisation together.',
  ),

  keyPolicy: setting(
    'KEY_POLICY',
    'Keys',
    policyName,
    'The policy of a new key without `--policy`; one of the document.',
  ),
  keyExpires: setting(
    'KEY_EXPIRES',
    'Keys',
    duration(LONGEST_KEY_DAYS, ['never', Infinity]),
    'How long a new key without `--expires` lives: 12h, 90d, never.',
    { fallback: '90d' },
  ),
  keyMaxLifetime: setting(
    'KEY_MAX_LIFETIME',
    'Keys',
    duration(LONGEST_KEY_DAYS),
    'The longest that a new key may live; without it, any time and for ever.',
  ),
  keyRotationOverlap: setting(
    'KEY_ROTATION_OVERLAP',
    'Keys',
    duration(LONGEST_OVERLAP_DAYS, ['0', 0]),
    'How long a key stays good beside its successor where `--overlap` does not say it.',
    { fallback: '24h' },
  ),

  clientId: setting(
    'CLIENT_ID',
    'Sign-in',
    clientId,
    'The OAuth client that this gate is to the provider; with it, one person signs in.',
    { required: 'signing in', notInDev: true },
  ),
  clientSecret: setting(
    'CLIENT_SECRET',
    'Sign-in',
    headerSecret,
    'The secret of that client, where the provider demands one.',
    { notInDev: true, secret: true },
  ),
  clientAuth: setting(
    'CLIENT_AUTH',
    'Sign-in',
    oneOf('basic', 'post', 'none'),
    'How CLIENT_SECRET is shown: in a header, in the body; without it, what the provider takes.',
    { notInDev: true },
  ),
  redirectUri: setting(
    'REDIRECT_URI',
    'Sign-in',
    exactUrl,
    'Where the provider sends the code: a page of its own that shows it, or our `/auth/callback`.',
    { required: 'signing in' },
  ),
  oauthBaseUrl: setting(
    'OAUTH_BASE_URL',
    'Sign-in',
    queryUrl,
    'The authorization endpoint; of a bare origin, `/oauth/authorize` under it.',
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
    'What `iss` must be where the provider sends it; without it, the origin of OAUTH_BASE_URL.',
    { notInDev: true },
  ),
  oauthScopes: setting(
    'OAUTH_SCOPES',
    'Sign-in',
    scopes,
    "What is asked for, by spaces; without it, the provider's own default.",
    { notInDev: true },
  ),
  apiBaseUrl: setting(
    'API_BASE_URL',
    'Sign-in',
    apiUrl,
    'The API that the sign-in is for, with or without `/v1` at its end.',
    { required: 'signing in' },
  ),
  sessionSecret: setting(
    'SESSION_SECRET',
    'Sign-in',
    secretList,
    'Seals the tokens and signs the sessions: the first seals, all open; each of 32 bytes or more.',
    { required: 'signing in', secret: true },
  ),

  rateLimitRpm: setting(
    'RATE_LIMIT_RPM',
    'Limits',
    integer(0, 1_000_000),
    'Requests a minute for each identity; 0 disables.',
    { fallback: '60' },
  ),
  rateLimitBurst: setting(
    'RATE_LIMIT_BURST',
    'Limits',
    integer(1, 1_000_000),
    'Requests that an identity may make at once.',
    { fallback: '10' },
  ),
  rateLimitMax: setting(
    'RATE_LIMIT_MAX',
    'Limits',
    integer(1, 1_000_000),
    'RATE_LIMIT_BURST in other words: requests in one RATE_LIMIT_WINDOW.',
  ),
  rateLimitWindow: setting(
    'RATE_LIMIT_WINDOW',
    'Limits',
    integer(1000, 86_400_000, '<ms>'),
    'The window of RATE_LIMIT_MAX.',
  ),
  publicRateLimitRpm: setting(
    'PUBLIC_RATE_LIMIT_RPM',
    'Limits',
    integer(0, 1_000_000),
    'Requests a minute to the proxied public routes for each address; 0 disables.',
    { fallback: '60' },
  ),
  maxUpstreamConcurrency: setting(
    'MAX_UPSTREAM_CONCURRENCY',
    'Limits',
    integer(1, 1_000_000),
    'Requests under way to the upstream at once.',
    { fallback: '256' },
  ),
  maxIdentityConcurrency: setting(
    'MAX_IDENTITY_CONCURRENCY',
    'Limits',
    integer(1, 1_000_000),
    'Requests under way for one identity at once.',
    { fallback: '16' },
  ),
  maxRequestBodyBytes: setting(
    'MAX_REQUEST_BODY_BYTES',
    'Limits',
    integer(1, 1_073_741_824, '<bytes>'),
    'Largest request body.',
    { fallback: '10485760' },
  ),
  maxPayloadSize: setting(
    'MAX_PAYLOAD_SIZE',
    'Limits',
    integer(1, 1_073_741_824, '<bytes>'),
    "Largest request body of Anthropic's routes.",
    { fallback: '33554432' },
  ),
  corsOrigins: setting(
    'CORS_ORIGINS',
    'Server',
    listOf(
      '<origin,...>',
      originMistake,
      'give origins as browsers send them: https://host, tauri://localhost, chrome-extension://<id>',
    ),
    'Web pages and apps whose scripts may ask; none unless named.',
  ),
  circuitFailures: setting(
    'CIRCUIT_FAILURES',
    'Limits',
    integer(1, 1000),
    'Failures in a row that open a circuit: to connect, of one caller, or of so many callers.',
    { fallback: '5' },
  ),
  circuitOpenSeconds: setting(
    'CIRCUIT_OPEN_SECONDS',
    'Limits',
    seconds(1, 3600),
    'How long an open circuit refuses before it lets anybody probe, at the most.',
    { fallback: '30' },
  ),
  circuitSuccesses: setting(
    'CIRCUIT_SUCCESSES',
    'Limits',
    integer(1, 1000),
    'Successful probes that close a circuit.',
    { fallback: '2' },
  ),

  databaseUrl: setting(
    'DATABASE_URL',
    'Ledger',
    sqliteUrl,
    'The ledger and the enrolments: `sqlite:<path>`, or `sqlite::memory:`.',
    { fallback: 'sqlite:postern.db', devFallback: 'sqlite::memory:' },
  ),
  ledgerRetentionDays: setting(
    'LEDGER_RETENTION_DAYS',
    'Ledger',
    integer(1, 3650, '<days>'),
    'How long the ledger keeps a request.',
    { fallback: '90' },
  ),
  pricesFile: setting(
    'PRICES_FILE',
    'Ledger',
    text('<path>'),
    'A JSON table of prices that replaces the whole built-in one: a model it lacks has no price.',
  ),
  adminToken: setting(
    'ADMIN_TOKEN',
    'Ledger',
    longSecret,
    "The operator's key for `/admin`, 32 bytes or more; without it only devices see their own.",
    { secret: true },
  ),
  adminPort: setting(
    'ADMIN_PORT',
    'Ledger',
    integer(0, 65_535),
    'A listener of its own, on loopback, for `/admin`; without it, the common one.',
  ),
  redisUrl: setting('REDIS_URL', 'Ledger', notYet, 'Not yet: several gates count apart.'),

  tinfoilApiKey: setting('TINFOIL_API_KEY', 'Upstream', headerSecret, 'The key for Tinfoil.', {
    required: 'Tinfoil',
    secret: true,
  }),
  tinfoilBaseUrl: setting(
    'TINFOIL_BASE_URL',
    'Upstream',
    outboundUrl,
    'Where requests go that name no enclave of their own.',
    { fallback: 'https://inference.tinfoil.sh' },
  ),
  tinfoilAttestationUrl: setting(
    'TINFOIL_ATTESTATION_URL',
    'Upstream',
    outboundUrl,
    'Where `/attestation` is asked.',
    { fallback: 'https://atc.tinfoil.sh' },
  ),
  tinfoilEnclaveHosts: setting(
    'TINFOIL_ENCLAVE_HOSTS',
    'Upstream',
    list(
      '<host,...>',
      /^\.?[a-z0-9-]+(?:\.[a-z0-9-]+)+$/,
      'give host names, or suffixes with a dot in front, in lower case',
    ),
    'Enclaves that `X-Tinfoil-Enclave-Url` may choose: a host, or a suffix with its dot.',
    { fallback: '.tinfoil.sh' },
  ),
  tinfoilCallers: setting(
    'TINFOIL_CALLERS',
    'Upstream',
    someOf('user', 'device', 'key'),
    'Who reaches Tinfoil: users, devices, API keys.',
    { fallback: 'user' },
  ),
  anthropicApiKey: setting(
    'ANTHROPIC_API_KEY',
    'Upstream',
    headerSecret,
    'The key for Anthropic.',
    { required: 'Anthropic', secret: true },
  ),
  anthropicBaseUrl: setting(
    'ANTHROPIC_BASE_URL',
    'Upstream',
    outboundUrl,
    "Anthropic's API, without `/v1`.",
    { fallback: 'https://api.anthropic.com' },
  ),
  anthropicCallers: setting(
    'ANTHROPIC_CALLERS',
    'Upstream',
    someOf('user', 'device', 'key'),
    'Who reaches Anthropic by its key.',
    { fallback: 'device,key' },
  ),
  openaiUpstreamUrl: setting(
    'OPENAI_UPSTREAM_URL',
    'Upstream',
    queryUrl,
    "A server of OpenAI's API, with its path: `https://api.openai.com/v1`. A query goes out with each request.",
    { required: 'OpenAI' },
  ),
  openaiUpstreamKey: setting(
    'OPENAI_UPSTREAM_KEY',
    'Upstream',
    headerSecret,
    'The key for that server; none for one that asks for none.',
    { secret: true },
  ),
  openaiUpstreamKeyHeader: setting(
    'OPENAI_UPSTREAM_KEY_HEADER',
    'Upstream',
    oneOf(...KEY_HEADERS),
    'Where that key goes: `Authorization: Bearer`, or `api-key` as Azure has it.',
    { fallback: 'authorization' },
  ),
  openaiUpstreamHeaders: setting(
    'OPENAI_UPSTREAM_HEADERS',
    'Upstream',
    headerLines,
    'Headers that go out with each request, as in `OpenAI-Project: proj_1`; no secrets.',
  ),
  openaiUpstreamRoutes: setting(
    'OPENAI_UPSTREAM_ROUTES',
    'Upstream',
    someOf(...OPENAI_GROUPS),
    'What that server is asked for. Audio has to be named: most of its answers tell no usage.',
    { fallback: METERED.join(',') },
  ),
  openaiUpstreamCallers: setting(
    'OPENAI_UPSTREAM_CALLERS',
    'Upstream',
    someOf('user', 'device', 'key'),
    'Who reaches that server.',
    { fallback: 'user,key' },
  ),
  requireEhbp: setting(
    'REQUIRE_EHBP',
    'Upstream',
    flag,
    'Refuse bodies that are not sealed to an enclave.',
    { fallback: 'true', devFallback: 'false' },
  ),
  upstreamCaFile: setting(
    'UPSTREAM_CA_FILE',
    'Upstream',
    text('<path>'),
    'Certificates in PEM that are trusted beside those that are built in, wherever this gate asks.',
  ),
  upstreamProxy: setting(
    'UPSTREAM_PROXY',
    'Upstream',
    proxyUrl,
    'A proxy for all that this gate asks of others, by CONNECT: `http://user:password@host:port`.',
    { secret: true },
  ),
  noProxy: setting(
    'NO_PROXY',
    'Upstream',
    noProxyList,
    'Hosts that are asked past it: names with all under them, addresses, networks, `*`.',
  ),
  plainHttpHosts: setting(
    'PLAIN_HTTP_HOSTS',
    'Upstream',
    plainHttpHosts,
    'Private hosts whose URLs may be http, or suffixes with their dot; loopback always may.',
  ),
  connectTimeoutSeconds: setting(
    'CONNECT_TIMEOUT_SECONDS',
    'Upstream',
    seconds(1, 300),
    'Time to reach the upstream, its TLS included.',
    { fallback: '10' },
  ),
  headersTimeoutSeconds: setting(
    'HEADERS_TIMEOUT_SECONDS',
    'Upstream',
    seconds(1, 3600),
    "Time to the upstream's headers: all the time that a whole answer takes to be made.",
    { fallback: '600' },
  ),
  bodyTimeoutSeconds: setting(
    'BODY_TIMEOUT_SECONDS',
    'Upstream',
    seconds(1, 3600),
    "How long a client's request body may stand still.",
    { fallback: '60' },
  ),
  idleTimeoutSeconds: setting(
    'IDLE_TIMEOUT_SECONDS',
    'Upstream',
    seconds(1, DAY_SECONDS),
    'How long a stream may stand still, whether the upstream or the reader is silent.',
    { fallback: '600' },
  ),

  logFormat: setting('LOG_FORMAT', 'Log', oneOf('text', 'json'), 'For eyes or for machines.', {
    fallback: 'text',
  }),
  logLevel: setting(
    'LOG_LEVEL',
    'Log',
    oneOf('debug', 'info', 'warn', 'error', 'silent'),
    'The least that is logged.',
    { fallback: 'info' },
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
