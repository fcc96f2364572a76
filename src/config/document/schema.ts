// The document, written once: which sections and members there are. What a member is for, what it may
// be and what it falls back to, the table of settings says, of which the document is another spelling.
// From here come the reading with its mistakes, the JSON Schema for editors, and the README's table.

import { t } from 'elysia'
import { ALGORITHMS, AUDIENCE_CLAIMS } from '../issuers.ts'
import type { Kind } from '../kinds.ts'
import { CALLER_KINDS, ROUTE_GROUPS, UPSTREAM_KINDS } from '../policies.ts'
import { type Key, settingOf } from '../table.ts'

/** Members of a TypeBox schema that are ours; JSON Schema lets there be others. */
export interface Leaf {
  readonly setting?: Key
  /** `name_file` names the file that holds `name`. */
  readonly secretFile?: true
  /** What a document alone can say: the name under which an entry keeps it. */
  readonly own?: string
  readonly hint?: string
  /** Of a number that is a document's own; a variable may stand for it. */
  readonly number?: NumberShape
  /** Says nothing to this program. */
  readonly forEditors?: true
}

export interface NumberShape {
  readonly type: 'integer' | 'number'
  readonly minimum?: number
  readonly exclusiveMinimum?: number
  readonly maximum: number
}

const REFERENCE = '\\$\\{[A-Za-z_][A-Za-z0-9_]*\\}'

/** A variable may stand for any value; its text is then read as the setting's own variable is. */
function shapeOf({ shape }: Kind<unknown>): object {
  const reference = { type: 'string', pattern: `^${REFERENCE}$` }
  if (shape.type === 'string') {
    return shape.enum ? { anyOf: [shape, reference] } : shape
  }
  if (shape.type === 'array') {
    return { anyOf: [{ type: 'array', items: { type: 'string' }, minItems: 1 }, reference] }
  }
  return { anyOf: [shape, reference] }
}

function fallbackOf(key: Key): object {
  const { fallback, kind } = settingOf(key)
  if (fallback === undefined) return {}
  const { type } = kind.shape
  if (type === 'array') return { default: fallback.split(',') }
  return { default: type === 'string' ? fallback : (JSON.parse(fallback) as unknown) }
}

function leaf(key: Key, about?: string) {
  const setting = settingOf(key)
  const described = { description: about ?? setting.about, ...fallbackOf(key) }
  return t.Optional(t.Unsafe({ ...shapeOf(setting.kind), ...described, setting: key }))
}

/** The secret under its name, as `${VARIABLE}`, or the file that holds it. */
function secret<const Name extends string>(name: Name, key: Key, about?: string) {
  const { env } = settingOf(key)
  const file = t.String({
    description: `The file that holds ${name}.`,
    setting: key,
    secretFile: true,
  })
  return {
    [name]: leaf(key, `${about ?? settingOf(key).about} As \${${env}}, or by ${name}_file.`),
    [`${name}_file`]: t.Optional(file),
  }
}

const CLOSED = { additionalProperties: false }

const section = (members: Parameters<typeof t.Object>[0], description: string) =>
  t.Optional(t.Object(members, { ...CLOSED, description }))

/** As src/admit reads one: names with dots between them, or one with a scheme; `\\.` is a dot. */
export const CLAIM = {
  maxLength: 256,
  pattern:
    '^(?:[A-Za-z][A-Za-z0-9+.-]*://[\\s\\S]*|(?:[^.\\\\]|\\\\[.\\\\])+(?:\\.(?:[^.\\\\]|\\\\[.\\\\])+)*)$',
}
const claimHint = 'give the name of a claim, or a path as in realm_access.roles'
const claim = (own: string, description: string) =>
  t.Optional(t.String({ ...CLAIM, description, own, hint: claimHint }))
const some = (own: string, from: readonly string[], description: string) =>
  t.Optional(
    t.Array(t.Unsafe<string>({ type: 'string', enum: from }), {
      minItems: 1,
      description,
      own,
      hint: `give some of ${from.join(', ')}`,
    }),
  )

const Issuer = t.Object(
  {
    name: t.Optional(
      t.String({
        pattern: '^[a-z0-9][a-z0-9_.-]{0,62}$',
        description: 'What the log and policies call it; needed where there are several.',
        own: 'name',
        hint: 'give letters a to z, digits, and _ . - between them',
      }),
    ),
    issuer: leaf('issuer'),
    jwks_url: leaf('jwksUrl', 'Its key set; without it, where its discovery document says.'),
    audiences: leaf('audiences', 'Tokens must name one of these.'),
    audience_claims: some(
      'audienceClaims',
      AUDIENCE_CLAIMS,
      'In which claim they name it, the first that a token has; without it, aud.',
    ),
    algorithms: some('algorithms', ALGORITHMS, 'Without it, those that the key set has.'),
    scope: section(
      {
        name: t.Optional(
          t.String({
            pattern: '^[!#-\\[\\]-~]{1,256}$',
            description: 'The scope that tokens must have; without it, inference.',
            own: 'scope.name',
            hint: 'give one word',
          }),
        ),
        claims: t.Optional(
          t.Array(t.String(CLAIM), {
            minItems: 1,
            description: 'Where it stands; without it, scope, scp and permissions.',
            own: 'scope.claims',
            hint: claimHint,
          }),
        ),
        text_only: t.Optional(
          t.Boolean({ description: 'A list of scopes is refused.', own: 'scope.textOnly' }),
        ),
        optional: t.Optional(
          t.Boolean({ description: 'No scope is asked for.', own: 'scope.optional' }),
        ),
      },
      'Which scope a token must have.',
    ),
    subject_claim: claim('subjectClaim', 'Who somebody is; without it, sub.'),
    groups_claim: claim('groupsClaim', 'In which groups they are; without it, in none.'),
    organisation_claim: claim('organisationClaim', 'Of which organisation; without it, of none.'),
    required_claims: t.Optional(
      t.Array(t.String({ maxLength: 512, pattern: '^[^=]+=[^\\s=][\\s\\S]*$' }), {
        minItems: 1,
        description: 'What else tokens must say; of several values of one claim, one is enough.',
        own: 'requiredClaims',
        hint: 'give NAME=VALUE, as in repository_owner=acme',
      }),
    ),
    refresh_seconds: leaf('jwksRefreshSeconds'),
    max_stale_seconds: leaf('jwksMaxStaleSeconds'),
  },
  CLOSED,
)

const Tinfoil = t.Object(
  {
    kind: t.Literal('tinfoil'),
    ...secret('api_key', 'tinfoilApiKey'),
    base_url: leaf('tinfoilBaseUrl'),
    attestation_url: leaf('tinfoilAttestationUrl'),
    enclave_hosts: leaf('tinfoilEnclaveHosts'),
    require_ehbp: leaf('requireEhbp'),
    callers: leaf('tinfoilCallers'),
  },
  CLOSED,
)

const Anthropic = t.Object(
  {
    kind: t.Literal('anthropic'),
    ...secret('api_key', 'anthropicApiKey'),
    base_url: leaf('anthropicBaseUrl'),
    callers: leaf('anthropicCallers'),
  },
  CLOSED,
)

const AnthropicOauth = t.Object(
  {
    kind: t.Literal('anthropic-oauth'),
    base_url: leaf('apiBaseUrl'),
    client_id: leaf('clientId'),
    ...secret('client_secret', 'clientSecret'),
    client_auth: leaf(
      'clientAuth',
      'How client_secret is shown; without it, what the provider takes.',
    ),
    redirect_uri: leaf('redirectUri'),
    authorize_url: leaf('oauthBaseUrl'),
    token_url: leaf('oauthTokenUrl'),
    issuer: leaf('oauthIssuer', 'What `iss` must be; without it, the origin of authorize_url.'),
    scopes: leaf('oauthScopes'),
    ...secret('session_secrets', 'sessionSecret'),
  },
  CLOSED,
)

/** One of ours alone: what it is, and the name under which its entry keeps it. */
const own = (own: string, description: string, shape: object, hint: string) =>
  t.Optional(t.Unsafe<never>({ ...shape, description, own, hint }))
const number = (name: string, shape: NumberShape, description: string) => {
  const { type, minimum, exclusiveMinimum = 0, maximum } = shape
  const least = minimum === undefined ? `above ${exclusiveMinimum}` : `from ${minimum}`
  const hint = `give a ${type === 'integer' ? 'whole ' : ''}number ${least} to ${maximum}`
  const anyOf = [shape, { type: 'string', pattern: `^${REFERENCE}$` }]
  return own(name, description, { anyOf, number: shape }, hint)
}
const NAME = { type: 'string', pattern: '^[a-z0-9][a-z0-9_.-]{0,62}$' }
const NAME_HINT = 'give letters a to z, digits, and _ . - between them'
const WORD = { type: 'string', pattern: '^[^\\u0000-\\u001f\\u007f]{1,256}$' }
const USD: NumberShape = { type: 'number', exclusiveMinimum: 0, maximum: 999_999_999 }
const upTo = (minimum: number, maximum: number): NumberShape => ({
  type: 'integer',
  minimum,
  maximum,
})

/** As src/token/model-pattern.ts has them. */
export const MODEL = { type: 'string', maxLength: 256, pattern: '^(?=.)[!-)+-~]*\\*?$' }

const limitsOf = (whose: string, before = '') => ({
  requests_per_minute: number(
    `${before}requestsPerMinute`,
    upTo(0, 1_000_000),
    `Requests a minute of ${whose}; 0 is no limit.`,
  ),
  burst: number(`${before}burst`, upTo(1, 1_000_000), 'Of them, how many may come at once.'),
  concurrency: number(
    `${before}concurrency`,
    upTo(1, 1_000_000),
    `Requests under way of ${whose}.`,
  ),
  usd_per_day: number(`${before}usdPerDay`, USD, `US dollars a day of ${whose}, in UTC.`),
  usd_per_month: number(`${before}usdPerMonth`, USD, `US dollars a month of ${whose}, in UTC.`),
})

const Policy = t.Object(
  {
    name: own('name', 'What rules and keys call it.', NAME, NAME_HINT),
    models: t.Optional(
      t.Array(t.Unsafe<string>(MODEL), {
        description: 'Names, or beginnings with a trailing *; without it, all.',
        own: 'models',
        hint: 'give names, or beginnings with a trailing *',
      }),
    ),
    upstreams: some('upstreams', UPSTREAM_KINDS, 'Without it, all.'),
    routes: some('routes', ROUTE_GROUPS, 'Groups of routes; without it, all.'),
    max_body_bytes: number('maxBodyBytes', upTo(1, 1_073_741_824), 'Largest request body.'),
    plaintext: t.Optional(
      t.Boolean({ description: 'Whether bodies may be unsealed; true.', own: 'plaintext' }),
    ),
    ...limitsOf('one caller'),
    organisation: section(
      limitsOf('all callers of one organisation together', 'organisation.'),
      'Beside those of each caller.',
    ),
  },
  CLOSED,
)

const Rule = t.Object(
  {
    policy: own('policy', 'The name of the policy that it gives.', NAME, NAME_HINT),
    kind: own(
      'kind',
      'Of which kind the caller is.',
      { type: 'string', enum: CALLER_KINDS },
      `give one of ${CALLER_KINDS.join(', ')}`,
    ),
    issuer: own('issuer', 'The name of the issuer of a user.', NAME, NAME_HINT),
    group: own('group', 'A group of a user, by groups_claim.', WORD, 'give its name'),
    organisation: own(
      'organisation',
      'That of a device or a key, or of a user by organisation_claim.',
      WORD,
      'give its name',
    ),
    key: own('key', 'The name of a key.', WORD, 'give its name'),
  },
  CLOSED,
)

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
    issuers: t.Optional(t.Array(Issuer, { description: 'Whose users are taken.' })),
    upstreams: t.Optional(
      t.Array(t.Union([Tinfoil, Anthropic, AnthropicOauth]), {
        description: 'Where requests go; the kinds that are listed are all that there are.',
      }),
    ),
    policies: t.Optional(
      t.Array(Policy, {
        description:
          'What callers may do. What one leaves out of a rate or a concurrency, limits says.',
      }),
    ),
    rules: t.Optional(
      t.Array(Rule, {
        description: 'Who gets which policy: the first rule that fits in all that it says.',
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
      'How devices enrol, and what they may unless their enrolment says so.',
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
          'In the place of requests_per_minute and burst.',
        ),
        public_requests_per_minute: leaf('publicRateLimitRpm'),
        upstream_concurrency: leaf('maxUpstreamConcurrency'),
        identity_concurrency: leaf('maxIdentityConcurrency'),
        max_body_bytes: leaf('maxRequestBodyBytes'),
        anthropic_max_body_bytes: leaf('maxPayloadSize'),
        connect_seconds: leaf('connectTimeoutSeconds'),
        headers_seconds: leaf('headersTimeoutSeconds'),
        body_seconds: leaf('bodyTimeoutSeconds'),
        idle_seconds: leaf('idleTimeoutSeconds'),
        circuit: section(
          {
            failures: leaf('circuitFailures'),
            open_seconds: leaf('circuitOpenSeconds'),
            successes: leaf('circuitSuccesses'),
          },
          'When an upstream that fails is left alone.',
        ),
      },
      'What anybody may ask, and how long anything may take.',
    ),
    egress: section(
      {
        ca_file: leaf('upstreamCaFile'),
        ...secret('proxy', 'upstreamProxy'),
        no_proxy: leaf('noProxy'),
        plain_http_hosts: leaf('plainHttpHosts'),
      },
      'The way out, to whatever the gate asks.',
    ),
    ledger: section(
      {
        database_url: leaf('databaseUrl'),
        retention_days: leaf('ledgerRetentionDays'),
        prices_file: leaf('pricesFile'),
        ...secret('identity_hash_key', 'identityHashKey'),
      },
      'What is kept, and under which names.',
    ),
    log: section({ format: leaf('logFormat'), level: leaf('logLevel') }, 'What is told on stdout.'),
  },
  { ...CLOSED, title: 'postern.yaml' },
)

/** The one setting that says that an upstream is there, by the kind that a document gives it. */
export const CHOOSES = {
  tinfoil: 'tinfoilApiKey',
  anthropic: 'anthropicApiKey',
  'anthropic-oauth': 'clientId',
} as const satisfies Readonly<Record<(typeof UPSTREAM_KINDS)[number], Key>>
