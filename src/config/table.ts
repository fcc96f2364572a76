// Every setting there is. The command line, `--help`, the README's table and the mistakes that
// stop a start all come from here; nothing else in the tree reads the environment.

import type { Kind } from './kinds.ts'
import {
  flag,
  headerSecret,
  hexKey,
  integer,
  list,
  network,
  oneOf,
  secureUrl,
  text,
} from './kinds.ts'
import type { Secret } from './secret.ts'

export type Group = 'Server' | 'Tokens' | 'Limits' | 'Upstream' | 'Log'

export interface Setting<T> {
  readonly env: string
  readonly group: Group
  readonly kind: Kind<T>
  readonly about: string
  /** As text, as somebody would write it; absent means that there is none. */
  readonly fallback?: string
  /** What development mode takes instead of `fallback`. */
  readonly devFallback?: string
  /** Must be given outside development mode. */
  readonly required?: true
  /** Belongs to production alone: development mode brings its own. */
  readonly notInDev?: true
  /** May also come from the file that `<env>_FILE` names, and is never echoed. */
  readonly secret?: true
}

const seconds = (min: number, max: number): Kind<number> => integer(min, max, '<seconds>')
const DAY_SECONDS = 86_400

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
  host: setting('HOST', 'Server', text('<address>'), 'Address to listen on.', {
    fallback: '0.0.0.0',
    devFallback: '127.0.0.1',
  }),
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
    list('<cidr,...>', network, 'give addresses or CIDR blocks, as in 10.0.0.0/8'),
    'Load balancers whose `X-Forwarded-For` is believed.',
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

  jwksUrl: setting('JWKS_URL', 'Tokens', secureUrl, "The identity provider's key set.", {
    required: true,
    notInDev: true,
  }),
  issuer: setting('ISSUER', 'Tokens', text('<iss>'), 'The `iss` that tokens must carry.', {
    required: true,
    notInDev: true,
  }),
  audiences: setting(
    'AUDIENCES',
    'Tokens',
    list('<aud,...>'),
    'Tokens must carry one of these as `aud`.',
    { required: true, notInDev: true },
  ),
  jwksRefreshSeconds: setting(
    'JWKS_REFRESH_SECONDS',
    'Tokens',
    seconds(1, DAY_SECONDS),
    'How often the key set is read again; a withdrawn key is dead within it.',
    { fallback: '900' },
  ),
  jwksMaxStaleSeconds: setting(
    'JWKS_MAX_STALE_SECONDS',
    'Tokens',
    seconds(1, 7 * DAY_SECONDS),
    'How long the last good keys serve while the key set cannot be read.',
    { fallback: '86400' },
  ),
  identityHashKey: setting(
    'IDENTITY_HASH_KEY',
    'Tokens',
    hexKey,
    'Key of the HMAC that stands for a subject in limits and logs; without it, a random one.',
    { secret: true },
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

  tinfoilApiKey: setting('TINFOIL_API_KEY', 'Upstream', headerSecret, 'The key for Tinfoil.', {
    required: true,
    secret: true,
  }),
  tinfoilBaseUrl: setting(
    'TINFOIL_BASE_URL',
    'Upstream',
    secureUrl,
    'Where requests go that name no enclave of their own.',
    { fallback: 'https://inference.tinfoil.sh' },
  ),
  tinfoilAttestationUrl: setting(
    'TINFOIL_ATTESTATION_URL',
    'Upstream',
    secureUrl,
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
  requireEhbp: setting(
    'REQUIRE_EHBP',
    'Upstream',
    flag,
    'Refuse bodies that are not sealed to an enclave.',
    { fallback: 'true', devFallback: 'false' },
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
    "Time to the upstream's headers; also how long a client's body may stand still.",
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

type ValueOf<S> = S extends Setting<infer T> ? T : never

/**
 * The settings as read. Those without a fallback may be absent; what must be there in which mode
 * is `Settings`, in read.ts.
 */
export type Values = { readonly [K in Key]?: ValueOf<Table[K]> }

export type { Secret }

/** `RATE_LIMIT_RPM` → `--rate-limit-rpm`. */
export function flagOf(env: string): string {
  return `--${env.toLowerCase().replaceAll('_', '-')}`
}
