// A document of settings: what it gives, and every mistake in one by its place.

import { afterAll, describe, expect, test } from 'bun:test'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ALGORITHMS as ADMITTED } from '../../src/admit/algorithms.ts'
import { claimPath } from '../../src/admit/claim-path.ts'
import { issuerMistakes } from '../../src/admit/issuer-settings.ts'
import { readInvocation } from '../../src/config/command-line.ts'
import { openDocument } from '../../src/config/document/open.ts'
import { printDocument } from '../../src/config/document/print.ts'
import { CLAIM } from '../../src/config/document/issuer-schema.ts'
import { MODEL } from '../../src/config/document/leaf.ts'
import { memberOf, PATHS, ROOT, settingsIn } from '../../src/config/document/tree.ts'
import type { ProcessEnvironment } from '../../src/config/given.ts'
import { ALGORITHMS } from '../../src/config/issuers.ts'
import { keyDefaults } from '../../src/config/keys.ts'
import { KEYS } from '../../src/config/table.ts'
import { policies } from '../../src/gate/policies.ts'
import { isModelPattern } from '../../src/token/model-pattern.ts'
import { HASH_KEY } from '../support/settings.ts'
import { upstreamOf } from './reading.ts'
import { howMany } from '../support/long.ts'

const folder = mkdtempSync(join(tmpdir(), 'postern-document-'))
afterAll(() => rmSync(folder, { recursive: true }))

let files = 0
function file(text: string, { ending = 'yaml', mode = 0o600 } = {}): string {
  const path = join(folder, `${(files += 1)}.${ending}`)
  writeFileSync(path, text)
  chmodSync(path, mode)
  return path
}

const USERS = `
issuers:
  - issuer: https://id.example
    jwks_url: https://id.example/jwks
    audiences: [gate]
upstreams:
  - kind: tinfoil
    api_key: tk-canary-0
ledger:
  identity_hash_key: ${HASH_KEY}
`

const read = (path: string, env: ProcessEnvironment = {}, args: readonly string[] = []) =>
  readInvocation([...args, '--config', path], env, openDocument)

/** `4:3 listen.port: message (hint)`. */
function mistakes(text: string, { ending = 'yaml', mode = 0o600, env = {} } = {}): string[] {
  const path = file(text, { ending, mode })
  const read = readInvocation(['--config', path], env, openDocument)
  if (read.kind !== 'mistakes') return []
  return read.mistakes.map(({ setting, message, hint }) =>
    `${setting} ${message} (${hint})`.replaceAll(`${path}:`, '').replaceAll(path, 'FILE'),
  )
}

function settings(path: string, env: ProcessEnvironment = {}) {
  const invocation = read(path, env)
  if (invocation.kind !== 'run') throw new Error(Bun.inspect(invocation))
  return invocation.settings
}

describe('the settings of a document', () => {
  test('equal those of the environment', () => {
    const path = file(`${USERS}
listen: { port: 0, trusted_proxies: [10.0.0.0/8, loopback] }
limits:
  requests_per_minute: 7
  circuit: { failures: 2 }
devices: { usd_per_month: 2.5 }
egress: { plain_http_hosts: [.svc.cluster.local] }
log: { level: "\${LEVEL}", format: json }
`)
    const document = settings(path, { LEVEL: 'debug' })
    const env = readInvocation([], {
      JWKS_URL: 'https://id.example/jwks',
      ISSUER: 'https://id.example',
      AUDIENCES: 'gate',
      TINFOIL_API_KEY: 'tk-canary-0',
      IDENTITY_HASH_KEY: HASH_KEY,
      PORT: '0',
      TRUSTED_PROXIES: '10.0.0.0/8,loopback',
      RATE_LIMIT_RPM: '7',
      CIRCUIT_FAILURES: '2',
      DEVICE_SPEND_CAP: '2.50',
      PLAIN_HTTP_HOSTS: '.svc.cluster.local',
      LOG_LEVEL: 'debug',
      LOG_FORMAT: 'json',
    })
    if (env.kind !== 'run') throw new Error('wrong')
    // A variable cannot say more of a scope than that it is one text.
    const [one] = env.settings.issuers
    expect(one?.scope).toEqual({ claims: ['scope'], textOnly: true })
    const { scope: _, ...issuer } = one ?? {}
    expect(document).toEqual({ ...env.settings, issuers: [issuer as never] })
    expect(upstreamOf(document, 'tinfoil')?.apiKey?.reveal()).toBe('tk-canary-0')
  })

  test('is the same in YAML, TOML and JSON', () => {
    const toml = file(
      `[listen]
port = 7
trusted_proxies = ["loopback"]
[[issuers]]
issuer = "https://id.example"
jwks_url = "https://id.example/jwks"
audiences = ["gate"]
[[upstreams]]
kind = "tinfoil"
api_key = "tk-1"
[limits]
circuit.failures = 4
[limits.window]
requests = 5
`,
      { ending: 'toml' },
    )
    const value = {
      $schema: './postern.schema.json',
      listen: { port: 7, trusted_proxies: ['loopback'] },
      issuers: [
        { issuer: 'https://id.example', jwks_url: 'https://id.example/jwks', audiences: ['gate'] },
      ],
      upstreams: [{ kind: 'tinfoil', api_key: 'tk-1' }],
      limits: { circuit: { failures: 4 }, window: { requests: 5 } },
    }
    const json = file(JSON.stringify(value, null, '\t'), { ending: 'json' })
    const yaml = file(Bun.YAML.stringify(value, null, 2), { ending: 'yml' })
    expect(Bun.deepEquals(settings(json), settings(toml))).toBe(true)
    expect(Bun.deepEquals(settings(yaml), settings(toml))).toBe(true)
    expect(settings(toml)).toMatchObject({ port: 7, circuitFailures: 4, rateLimitBurst: 5 })
  })

  test('a secret comes from a variable or from a file of its own', () => {
    const key = file('tk-from-file\n', { ending: 'key' })
    const text = (api: string): string => USERS.replace('api_key: tk-canary-0', api)
    const mode = 0o644
    const base = text(`api_key_file: ${key}`).replace(HASH_KEY, '${KEY}')
    const read = settings(file(base, { mode }), { KEY: HASH_KEY })
    expect(upstreamOf(read, 'tinfoil')?.apiKey?.reveal()).toBe('tk-from-file')
  })

  test('the environment completes it, and an equal value in both is no mistake', () => {
    const path = file(USERS.replace('    api_key: tk-canary-0', ''))
    const env = { TINFOIL_API_KEY: 'tk-2', RATE_LIMIT_RPM: '9', ISSUER: 'https://id.example' }
    expect(settings(path, env)).toMatchObject({ rateLimitRpm: 9, issuer: 'https://id.example' })
  })

  test('`$${` is a `${`, and numbers and lists may come from variables', () => {
    const path = file(`${USERS}
listen: { port: "\${PORT}", cors_origins: "\${ORIGINS}" }
egress: { no_proxy: "a$\${b}" }
`)
    const env = { PORT: '9', ORIGINS: 'https://a.example,https://b.example' }
    expect(settings(path, env)).toMatchObject({
      port: 9,
      corsOrigins: ['https://a.example', 'https://b.example'],
      noProxy: 'a${b}',
    })
  })
})

const LACKING = [
  'JWKS_URL is missing; it is needed for user tokens',
  'ISSUER is missing; it is needed for user tokens',
  'AUDIENCES is missing; it is needed for user tokens',
  'TINFOIL_API_KEY is missing; it is needed for Tinfoil',
]

describe('every mistake is reported at once, with its line', () => {
  const cases: readonly (readonly [what: string, text: string, wrong: readonly string[]])[] = [
    [
      'a name that is not known',
      `${USERS}listn: {}\nlog:\n  levle: info\n  verbosity: 3\n`,
      [
        '11:1 listn is not known (did you mean listen?)',
        '13:3 log.levle is not known (did you mean level?)',
        '14:3 log.verbosity is not known (there are format, level)',
      ],
    ],
    [
      'another spelling of a name',
      `${USERS}listen: { keepAliveSeconds: 5, trusted-proxies: [loopback] }\n`,
      [
        '11:11 listen.keepAliveSeconds is not known (did you mean keep_alive_seconds?)',
        '11:32 a member is not known (did you mean trusted_proxies?)',
      ],
    ],
    [
      'the wrong type',
      `${USERS}listen: { port: "80", host: 127, trusted_proxies: loopback, cors_origins: [] }
limits: 7
log: [text]
devices: { usd_per_month: true, models: [a, 7, "x,y"] }
`,
      [
        '11:17 listen.port is text, and no number (write the number without quotes)',
        '11:29 listen.host is a number, and no text (put it in quotes)',
        '11:51 listen.trusted_proxies is one text, and no list (write [one, another], or an entry a line)',
        '11:75 listen.cors_origins is an empty list (give at least one)',
        '12:9 limits has no members (write NAME: VALUE under it)',
        '13:6 log has no members (write NAME: VALUE under it)',
        '14:27 devices.usd_per_month is true or false, and no number (give a number)',
        '14:45 devices.models[1] is a number, and no text (put it in quotes)',
        '14:48 devices.models[2] has a comma (give each entry by itself)',
      ],
    ],
    [
      'a value out of its range, and one that is no choice',
      `${USERS}listen: { port: 65536 }\nlog: { level: loud }\nlimits: { burst: 1.5 }\n`,
      [
        '11:17 listen.port is not a whole number in range (give a whole number from 0 to 65535)',
        '13:18 limits.burst is not a whole number in range (give a whole number from 1 to 1000000)',
        '12:15 log.level is not one of the choices (give one of debug, info, warn, error, silent)',
      ],
    ],
    [
      'a variable that is not there',
      `${USERS}listen: { host: "\${NOBODY}", port: "\${NO-NAME}" }\nlog: { level: "\${" }\n`,
      [
        '11:17 listen.host names the variable NOBODY, which is not set (set NOBODY)',
        '11:36 listen.port has a ${ that names no variable (write ${NAME}, or $${ for the characters themselves)',
        '12:15 log.level has a ${ that names no variable (write ${NAME}, or $${ for the characters themselves)',
      ],
    ],
    [
      'nothing where a value belongs',
      `${USERS}listen: { port: }\nlimits:\n`,
      ['11:17 listen.port is empty (give a value, or leave it out)'],
    ],
    [
      'an upstream without its kind, without its key, and a second of a kind',
      `${USERS.replace('upstreams:', 'upstreams:\n  - api_key: x\n  - kind: tinfoli\n  - kind: anthropic')}`,
      [
        '7:5 upstreams[0] has no kind (give one of tinfoil, anthropic, anthropic-oauth, openai)',
        '8:11 upstreams[1].kind is not one of the choices (give one of tinfoil, anthropic, anthropic-oauth, openai)',
        'JWT_SECRET is missing; it is needed for devices (Signs device tokens: the first signs, all verify; at least 32 bytes each. Write devices.signing_secrets, or set JWT_SECRET or --jwt-secret. Make one with: openssl rand -hex 32.)',
        '9:5 upstreams[2] lacks api_key (The key for Anthropic. Write it there, or set ANTHROPIC_API_KEY.)',
      ],
    ],
    [
      'two of a kind that nothing tells apart',
      `${USERS.replace('upstreams:', 'upstreams:\n  - kind: tinfoil\n    api_key: k')}`,
      [
        '7:5 upstreams[0] lacks name (several of kind tinfoil are told apart by their names)',
        '9:5 upstreams[1] lacks name (several of kind tinfoil are told apart by their names)',
      ],
    ],
    [
      'a secret twice',
      `${USERS}admin: { token: "${HASH_KEY}" }\n`,
      [
        '11:17 admin.token holds the same secret as 10:22 ledger.identity_hash_key (make one for each, with: openssl rand -hex 32)',
      ],
    ],
    ['a duplicate', 'log: {}\nlog: {}\n', ['2:1 log is given twice (keep one of them)']],
    [
      'an alias',
      'log: &a {}\nlisten: *a\n',
      ['2:9 is an alias (write it out; no alias is followed)'],
    ],
    ['a tag', 'log: !!binary aGk=\n', ['1:15 has a tag (leave out ! and the word after it)']],
    [
      'a directive',
      '%YAML 1.1\n---\nlog: {}\n',
      ['1:1 has a %YAML directive (leave it out; this is YAML 1.2)'],
    ],
    [
      'two documents',
      'log: {}\n---\nlog: {}\n',
      ['2:1 begins a second document (one file holds one document)'],
    ],
    [
      'a merge key',
      `${USERS}log: { <<: { level: info } }\n`,
      ['11:8 a member is not known (there are format, level)'],
    ],
    ['a tab', 'log:\n\tlevel: info\n', ['2:1 is indented with a tab (indent with spaces)']],
    [
      'no YAML at all',
      'log: "unfinished\n',
      ['2:1 is not YAML (check quotes, colons, brackets and indentation there)'],
    ],
    ['a list', '- a\n', ['1:1 has no members (write NAME: VALUE under it)', ...LACKING]],
  ]
  test.each(cases)('%s', (_, text, wrong) => {
    const found = mistakes(text)
    expect(
      found.map((each) =>
        LACKING.some((lack) => each.startsWith(lack)) ? each.replace(/ \(.*/, '') : each,
      ),
    ).toEqual([...wrong])
  })

  test('a missing setting is named as in the document and in the environment', () => {
    expect(mistakes('upstreams: [{ kind: tinfoil }]\n').at(-1)).toBe(
      'TINFOIL_API_KEY is missing; it is needed for Tinfoil (The key for Tinfoil. Write upstreams[tinfoil].api_key, or set TINFOIL_API_KEY or --tinfoil-api-key.)',
    )
  })

  test('in TOML and in JSON', () => {
    const wrong = (text: string, ending: string): string | undefined =>
      mistakes(text, { ending })[0]
    expect(wrong('[log]\nlevel = "info"\n[listen]\nport = "x"\n', 'toml')).toBe(
      '4:8 listen.port is text, and no number (write the number without quotes)',
    )
    expect(wrong('[log]\n[log]\n', 'toml')).toBe('2:2 is given twice (keep one of them)')
    expect(wrong('[log\n', 'toml')).toContain('is not TOML')
    expect(wrong('[log]\nlevel = 2020-01-01\n', 'toml')).toContain('2:9 log.level is a value of no')
    expect(wrong('{"log": {"level": "info",}}', 'json')).toContain('is not JSON')
    expect(wrong('{"log": {"level": "info", "level": "info"}}', 'json')).toBe(
      '1:27 level is given twice (keep one of them)',
    )
    expect(wrong('log: {}', 'json')).toContain('is not JSON')
  })

  test('a missing file, an unknown ending, or a file that is too large', () => {
    const first = (path: string): string | undefined => {
      const invocation = read(path)
      if (invocation.kind !== 'mistakes') return undefined
      expect(invocation.mistakes).toHaveLength(1)
      return invocation.mistakes[0]?.message
    }
    expect(first(join(folder, 'none.yaml'))).toBe('is not there')
    expect(first(file('', { ending: 'ini' }))).toBe('has no ending that is known')
    expect(first(file('#'.repeat(300_000)))).toBe('is larger than any document')
    expect(first(file('['.repeat(100_000)))).toBe('is nested too deep')
    // As a disk that was full leaves one: what it said of policies would be gone.
    for (const text of ['', '\n', '# policies:\n', '---\n', 'null']) {
      expect([text, first(file(text))]).toEqual([text, 'is empty'])
    }
    expect(first(file('# policies', { ending: 'toml' }))).toBe('is empty')
    expect(first(file('', { ending: 'json' }))).toBe('is not JSON')
    expect(first(file(`a = ${'['.repeat(100_000)}`, { ending: 'toml' }))).not.toBeUndefined()
  })
})

const ISSUERS = `
issuers:
  - name: entra
    issuer: https://login.example/v2.0
    audiences: [api]
    algorithms: [RS256]
    scope: { optional: true }
    groups_claim: realm_access.roles
  - name: ci
    issuer: urn:ci
    jwks_url: https://ci.example/keys
    audiences: [gate]
    audience_claims: [aud, azp]
    scope: { name: use, claims: [scp], text_only: true }
    subject_claim: https://ci.example/sub
    refresh_seconds: 60
    required_claims: [tenant=one, tenant=two]
upstreams: [{ kind: tinfoil, api_key: k }]
`

describe('several issuers', () => {
  const own = { refreshSeconds: 900, maxStaleSeconds: 86_400 }
  test('are each complete, and need no key set if discovery finds it', () => {
    const path = file(ISSUERS)
    expect(settings(path).issuers).toEqual([
      {
        ...own,
        name: 'entra',
        issuer: 'https://login.example/v2.0',
        jwksUrl: undefined,
        audiences: ['api'],
        algorithms: ['RS256'],
        scope: { optional: true },
        groupsClaim: 'realm_access.roles',
      },
      {
        ...own,
        refreshSeconds: 60,
        name: 'ci',
        issuer: 'urn:ci',
        jwksUrl: new URL('https://ci.example/keys'),
        audiences: ['gate'],
        audienceClaims: ['aud', 'azp'],
        scope: { name: 'use', claims: ['scp'], textOnly: true },
        subjectClaim: 'https://ci.example/sub',
        requiredClaims: ['tenant=one', 'tenant=two'],
      },
    ])
    expect(issuerMistakes(settings(path).issuers)).toEqual([])
    const invocation = read(path)
    if (invocation.kind !== 'run') throw new Error('wrong')
    const again = file(printDocument(invocation))
    expect(settings(again, { TINFOIL_API_KEY: 'k' }).issuers).toEqual(settings(path).issuers)
  })

  test.each([
    [
      'RS256',
      'HS256',
      '6:18 issuers[0].algorithms[0] is not one of the choices (give some of RS256',
    ],
    ['RS256', 'none', '6:18 issuers[0].algorithms[0] is not one of the choices'],
    ['azp]', 'sub]', '13:28 issuers[1].audience_claims[1] is not one of the choices'],
    ['name: ci', 'name: entra', '9:5 issuers[1] has the name of 3:5 issuers[0] (rename one)'],
    ['    audiences: [api]\n', '', '3:5 issuers[0] lacks audiences'],
    ['  - name: ci\n    issuer', '  - issuer', '9:5 issuers[1] lacks name'],
    ['urn:ci', 'https://login.example/v2.0', '9:5 issuers[1] has the issuer of 3:5 issuers[0]'],
    ['    jwks_url: https://ci.example/keys\n', '', '9:5 issuers[1] lacks jwks_url'],
    ['https://ci.example/keys', 'http://ci.example/keys', '11:15 issuers[1].jwks_url is not https'],
    ['realm_access.roles', 'realm_access..roles', '8:19 issuers[0].groups_claim does not fit'],
    ['https://login.example/v2.0', 'https://gitlab.com', '3:5 issuers[0] lacks required_claims'],
    ['tenant=one', 'tenant', '17:23 issuers[1].required_claims[0] does not fit'],
    ['optional: true', 'optional: "true"', '7:24 issuers[0].scope.optional is neither true nor'],
    ['claims: [scp]', 'claims: []', '14:33 issuers[1].scope.claims is an empty list'],
    [
      'refresh_seconds: 60',
      'refresh_seconds: 0',
      '16:22 issuers[1].refresh_seconds is not a whole',
    ],
    ['refresh_seconds: 60', 'max_stale_seconds: 60', '16:24 issuers[1].max_stale_seconds is less'],
  ])('%p as %p', (from, to, wrong) => {
    const found = mistakes(ISSUERS.replace(from, to))
    expect(found).toHaveLength(1)
    expect(found[0]).toStartWith(wrong)
  })

  test('are found by http at a private host that is named for it, and nowhere else', () => {
    const plain = ISSUERS.replace('https://login.example/v2.0', 'http://id.corp/realms/x')
    expect(mistakes(plain)[0]).toStartWith('3:5 issuers[0] lacks jwks_url')
    const path = file(`${plain}egress: { plain_http_hosts: [.corp] }\n`)
    expect(settings(path).issuers[0]?.plainHosts).toEqual(['.corp'])
    expect(issuerMistakes(settings(path).issuers)).toEqual([])
  })

  test('are not completed, nor brought to development mode', () => {
    expect(mistakes(ISSUERS, { env: { AUDIENCES: 'x' } })[0]).toBe(
      'AUDIENCES is set, but FILE lists several issuers under issuers (unset it, or add the entry)',
    )
    expect(mistakes(ISSUERS, { env: { DEV_MODE: 'true' } })[0]).toContain('development mode')
  })

  test('can name the claims that admission knows, and nothing else', () => {
    expect([...ALGORITHMS].toSorted()).toEqual([...ADMITTED].toSorted())
    const pattern = new RegExp(CLAIM.pattern)
    const pieces = ['a', '.', '\\', ':', '/', '//', '://', 'A1', ' ', '-', '\n', 'é']
    for (let at = 0; at < howMany(600, 20_000); at += 1) {
      const length = Math.floor(Math.random() * 6)
      const text = Array.from(
        { length },
        () => pieces[Math.floor(Math.random() * pieces.length)],
      ).join('')
      expect([text, pattern.test(text)]).toEqual([text, claimPath(text) !== undefined])
    }
  })
})

const UPSTREAMS = `
issuers:
  - { issuer: "https://id.example", jwks_url: "https://id.example/jwks", audiences: [gate] }
upstreams:
  - kind: anthropic
    name: haiku
    api_key: "\${HAIKU}"
    models: [claude-haiku-*]
  - kind: anthropic
    name: rest
    api_key: ak-canary-2
    base_url: https://eu.example
    callers: [user, key]
  - kind: tinfoil
    api_key: tk-canary-0
policies:
  - { name: cheap, upstreams: [haiku, tinfoil] }
devices: { signing_secrets: [jb14c1c0cb6f6712bb79b1472159b7b51] }
ledger: { identity_hash_key: ${HASH_KEY} }
`

describe('several upstreams of a kind', () => {
  const env = { HAIKU: 'ak-canary-1' }
  test('are each whole, in their order, and one alone has the name of its kind', () => {
    const path = file(UPSTREAMS)
    const { upstreams } = settings(path, env)
    expect(upstreams).toMatchObject([
      { kind: 'anthropic', name: 'haiku', models: ['claude-haiku-*'], callers: ['device', 'key'] },
      { kind: 'anthropic', name: 'rest', callers: ['user', 'key'] },
      { kind: 'tinfoil', name: 'tinfoil', callers: ['user'], requireEhbp: true },
    ])
    const keys = upstreams.map((each) => 'apiKey' in each && each.apiKey?.reveal())
    expect(keys).toEqual(['ak-canary-1', 'ak-canary-2', 'tk-canary-0'])
    const urls = upstreams.map((each) => 'baseUrl' in each && each.baseUrl.href)
    expect(urls).toEqual([
      'https://api.anthropic.com/',
      'https://eu.example/',
      'https://inference.tinfoil.sh/',
    ])
  })

  test('are printed each with a secret of its own, and the same when they are read again', () => {
    const path = file(UPSTREAMS)
    const invocation = read(path, env)
    if (invocation.kind !== 'run') throw new Error('wrong')
    const printed = printDocument(invocation)
    expect(printed).not.toContain('canary')
    expect(printed).toContain('api_key: ${HAIKU}')
    expect(printed).toContain('api_key: ${ANTHROPIC_API_KEY_REST}')
    const secrets = {
      HAIKU: 'ak-canary-1',
      ANTHROPIC_API_KEY_REST: 'ak-canary-2',
      TINFOIL_API_KEY: 'tk-canary-0',
      JWT_SECRET: 'jb14c1c0cb6f6712bb79b1472159b7b51',
      IDENTITY_HASH_KEY: HASH_KEY,
    }
    const again = settings(file(printed), secrets)
    expect(Bun.deepEquals(again, settings(path, env))).toBe(true)
  })

  test('share no variable, however alike their names are', () => {
    const text = UPSTREAMS.replace('name: haiku', 'name: a-b')
      .replace('name: rest', 'name: a_b')
      .replace('"${HAIKU}"', 'ak-canary-1')
      .replace('[haiku, tinfoil]', '[a-b]')
    const invocation = read(file(text))
    if (invocation.kind !== 'run') throw new Error(Bun.inspect(invocation))
    const printed = printDocument(invocation)
    expect(printed).toContain('api_key: ${ANTHROPIC_API_KEY_A_B}\n')
    expect(printed).toContain('api_key: ${ANTHROPIC_API_KEY_A_B_1}\n')
  })

  test('are named by policies, and the environment may repeat the value of one', () => {
    const path = file(UPSTREAMS)
    const { policyOf } = policies(settings(path, env))
    expect(policyOf({ kind: 'key', policy: 'cheap' })?.upstreams).toEqual(['haiku', 'tinfoil'])
    expect(settings(path, { ...env, ANTHROPIC_API_KEY: 'ak-canary-1' }).upstreams).toHaveLength(3)
    expect(mistakes(UPSTREAMS, { env: { ...env, ANTHROPIC_API_KEY: 'ak-3' } })).toEqual([
      'ANTHROPIC_API_KEY is set, but FILE lists several upstreams of kind anthropic under upstreams (unset it, or add the entry)',
    ])
  })

  test.each([
    ['    name: rest\n', '', '9:5 upstreams[1] lacks name (several of kind anthropic'],
    ['name: rest', 'name: haiku', '9:5 upstreams[1] has the name of 5:5 upstreams[0] (rename one)'],
    ['name: rest', 'name: Rest', '10:11 upstreams[1].name does not fit (give letters a to z'],
    ['name: rest', 'name: tinfoil', '9:5 upstreams[1] has the name of another kind (rename it)'],
    ['    api_key: ak-canary-2\n', '', '9:5 upstreams[1] lacks api_key (The key for Anthropic.)'],
    ['ak-canary-2', 'your-key-here', '11:14 upstreams[1].api_key is a placeholder, and no key'],
    ['https://eu.example', 'http://eu.example', '12:15 upstreams[1].base_url is not https'],
    ['[user, key]', '[robot]', '13:14 upstreams[1].callers names what is not one of the choices'],
    ['[claude-haiku-*]', '[claude-*-4]', '8:14 upstreams[0].models[0] does not fit'],
    ['[claude-haiku-*]', '[]', '8:13 upstreams[0].models is an empty list'],
    [
      'api_key: tk-canary-0',
      'api_key: tk-canary-0\n    models: [gpt-oss-*]',
      '14:5 upstreams[2] has models, and takes sealed bodies alone (which model',
    ],
    ['tk-canary-0', HASH_KEY, '15:14 upstreams[2].api_key holds the same secret as'],
    ['ak-canary-2', HASH_KEY, '11:14 upstreams[1].api_key holds the same secret as'],
    [
      '[haiku, tinfoil]',
      '[haiku, anthropic]',
      '17:39 policies[0].upstreams[1] names an upstream that is not there (there are haiku, rest, tinfoil)',
    ],
    [
      '[haiku, tinfoil]',
      '[hiaku]',
      '17:32 policies[0].upstreams[0] names an upstream that is not there (did you mean haiku?)',
    ],
  ])('%p as %p', (from, to, wrong) => {
    const text = UPSTREAMS.replace(from, to)
    expect(text).not.toBe(UPSTREAMS)
    const found = mistakes(text, { env })
    expect(found).toHaveLength(1)
    expect(found[0]).toStartWith(wrong)
  })

  test('have names that no upstream of another kind has', () => {
    const text = UPSTREAMS.replace('- kind: tinfoil', '- kind: tinfoil\n    name: rest')
    expect(mistakes(text, { env })[0]).toBe(
      '14:5 upstreams[2] has the name of 9:5 upstreams[1] (rename one)',
    )
  })

  test('cannot be upstreams for a sign-in', () => {
    const entry = '  - { kind: anthropic-oauth, name: NAME, client_id: c }\n'
    const text = `upstreams:\n${entry.replace('NAME', 'a')}${entry.replace('NAME', 'b')}`
    expect(mistakes(text)[0]).toBe(
      '3:5 upstreams[1] is a second upstream of kind anthropic-oauth (one person signs in at a gate, to one account; leave one)',
    )
  })
})

const POLICIES = `
issuers:
  - { name: entra, issuer: "https://login.example", audiences: [api], groups_claim: groups }
  - { name: ci, issuer: "https://ci.example", audiences: [gate] }
upstreams: [{ kind: tinfoil, api_key: k }]
limits: { requests_per_minute: 30, burst: 3, identity_concurrency: 2 }
policies:
  - name: staff
    models: [claude-*, gpt-oss-120b]
    upstreams: [tinfoil]
    routes: [chat, models]
    max_body_bytes: 1000
    plaintext: false
    requests_per_minute: 60
    burst: 6
    usd_per_day: 2.50
    organisation: { usd_per_month: "\${USD}", requests_per_minute: 600 }
  - name: rest
rules:
  - { group: staff, issuer: entra, policy: staff }
  - { kind: key, policy: rest }
  - { organisation: acme, policy: staff }
`

test('users who escape every policy without a claim cause a warning', () => {
  const warned = (change: (text: string) => string): string[] => {
    const invocation = read(file(change(POLICIES)), { USD: '100' })
    if (invocation.kind !== 'run') throw new Error(Bun.inspect(invocation))
    return invocation.warnings.filter((each) => each.includes('leaves the claim out'))
  }
  const last = (rule: string) => (text: string) => `${text}  - { ${rule}, policy: rest }\n`
  expect(warned((text) => text)).toEqual([
    expect.stringContaining('rules[0] gives users of entra a policy by a claim'),
  ])
  const claimed = (text: string) =>
    text.replace('audiences: [gate] }', 'audiences: [gate], organisation_claim: org }')
  expect(warned(claimed)[0]).toContain('rules[0] gives users of entra, ci')
  for (const rule of ['issuer: ci', 'kind: key', 'group: guests', 'kind: user, issuer: ci']) {
    expect([rule, warned(last(rule)).length]).toEqual([rule, 1])
  }
  for (const rule of ['kind: user', 'issuer: entra', 'kind: user, issuer: entra']) {
    expect([rule, warned(last(rule))]).toEqual([rule, []])
  }
  const everybody = (text: string) => `${text}  - { policy: rest }\n`
  expect(warned(everybody)).toEqual([])
  const ungrouped = (text: string) => text.replace('group: staff, issuer: entra', 'kind: device')
  expect(warned(ungrouped)).toEqual([])
})

describe('organisation limits for users whose issuer names no organisation', () => {
  const env = { USD: '100' }
  test('are a warning', () => {
    const invocation = read(file(POLICIES), env)
    if (invocation.kind !== 'run') throw new Error('wrong')
    const said = invocation.warnings.filter((each) => each.includes('organisation_claim'))
    expect(said).toHaveLength(1)
    expect(said[0]).toContain('rules[0] gives users of entra a policy that limits organisations')
  })

  test('cause no warning if an issuer names organisations', () => {
    const claimed = POLICIES.replaceAll('groups_claim:', 'organisation_claim: org, groups_claim:')
    const invocation = read(file(claimed), env)
    if (invocation.kind !== 'run') throw new Error(Bun.inspect(invocation))
    expect(invocation.warnings.join()).not.toContain('limits organisations')
  })

  test('and a rule for one that no user is in is a mistake', () => {
    const text = `${POLICIES}  - { kind: user, organisation: acme, policy: staff }\n`
    expect(mistakes(text, { env }).join()).toContain(
      'rules[3] has an organisation that nobody is in (give an issuer its organisation_claim)',
    )
  })
})

describe('keys', () => {
  const written = (keys: string): string => `${POLICIES}keys: ${keys}\n`
  const env = { USD: '100' }

  test('get the values of the section, which can be printed and read again', () => {
    const path = file(
      written('{ policy: staff, expires: 30d, max_lifetime: 60d, rotation_overlap: "0" }'),
    )
    expect(keyDefaults(settings(path, env))).toEqual({
      policy: 'staff',
      lifetimeSeconds: 30 * 86_400,
      maxLifetimeSeconds: 60 * 86_400,
      overlapSeconds: 0,
    })
    const invocation = read(path, env)
    if (invocation.kind !== 'run') throw new Error('wrong')
    const again = settings(file(printDocument(invocation)), { ...env, TINFOIL_API_KEY: 'k' })
    expect(keyDefaults(again)).toEqual(keyDefaults(settings(path, env)))
  })

  test('without one they live 90 days, or the longest that they may', () => {
    expect(keyDefaults(settings(file(POLICIES), env))).toEqual({
      policy: undefined,
      lifetimeSeconds: 90 * 86_400,
      maxLifetimeSeconds: Infinity,
      overlapSeconds: 86_400,
    })
    const { lifetimeSeconds } = keyDefaults(settings(file(written('{ max_lifetime: 7d }')), env))
    expect(lifetimeSeconds).toBe(7 * 86_400)
    const forEver = keyDefaults(settings(file(written('{ expires: never }')), env))
    expect(forEver.lifetimeSeconds).toBe(Infinity)
  })

  test.each([
    ['{ policy: stuff }', 'keys.policy names a policy that is not there (did you mean staff?)'],
    ['{ policy: Staff! }', 'keys.policy is not a policy name'],
    ['{ expires: soon }', 'keys.expires is not a valid time'],
    ['{ expires: 30 }', 'keys.expires is'],
    ['{ max_lifetime: never }', 'keys.max_lifetime is not a valid time'],
    ['{ rotation_overlap: 91d }', 'keys.rotation_overlap is not a valid time'],
    [
      '{ max_lifetime: 7d, expires: never }',
      'keys.expires is longer than KEY_MAX_LIFETIME lets a key live',
    ],
    ['{ overlap: 1h }', 'keys.overlap is not known'],
  ])('%s is a mistake', (keys, said) => {
    expect(mistakes(written(keys), { env }).join('\n')).toContain(said)
  })

  test('a policy for keys that only a variable names has to be in the document, too', () => {
    const wrong = mistakes(POLICIES, { env: { ...env, KEY_POLICY: 'stuff' } })
    expect(wrong.join()).toContain('KEY_POLICY names a policy that is not there')
    expect(settings(file(POLICIES), { ...env, KEY_POLICY: 'rest' }).keyPolicy).toBe('rest')
  })
})

describe('policies', () => {
  const env = { USD: '100' }
  test('are given by the first rule that fits, and filled up by the limits of all', () => {
    const path = file(POLICIES)
    const { policyOf } = policies(settings(path, env))
    const staff = policyOf({ kind: 'user', issuer: 'entra', groups: ['a', 'staff'] })
    expect(staff).toEqual({
      name: 'staff',
      models: ['claude-*', 'gpt-oss-120b'],
      upstreams: ['tinfoil'],
      routes: ['chat', 'models'],
      maxBodyBytes: 1000,
      plaintext: false,
      streamUsage: false,
      tellsUpstream: false,
      fallback: true,
      keepsConversations: false,
      person: {
        rate: { perMinute: 60, burst: 6 },
        concurrency: 2,
        spendPerDay: 2_500_000,
        spendPerMonth: undefined,
      },
      organisation: {
        rate: { perMinute: 600, burst: 3 },
        concurrency: undefined,
        spendPerDay: undefined,
        spendPerMonth: 100_000_000,
      },
    })
    const rest = policyOf({ kind: 'key', key: 'x', org: 'acme' })
    expect(rest).toMatchObject({ name: 'rest', models: undefined, upstreams: undefined })
    expect(rest?.person).toMatchObject({ rate: { perMinute: 30, burst: 3 }, concurrency: 2 })
    expect(policyOf({ kind: 'user', issuer: 'ci', groups: ['staff'] })?.name).toBe('users')
    expect(policyOf({ kind: 'device', org: 'acme' })).toBe(staff)
    expect(policyOf({ kind: 'key', policy: 'staff' })).toBe(staff)
    expect(policyOf({ kind: 'key', policy: 'gone' })).toBeUndefined()
    const invocation = read(path, env)
    if (invocation.kind !== 'run') throw new Error('wrong')
    const again = settings(file(printDocument(invocation)), { ...env, TINFOIL_API_KEY: 'k' })
    expect(again.policies).toEqual(settings(path, env).policies)
  })

  test.each([
    [
      '  - name: rest',
      '  - name: staff\n  - name: rest',
      '18:5 policies[1] has the name of 8:5 policies[0] (rename one)',
    ],
    [
      'kind: key, policy: rest',
      'kind: key, policy: rset',
      '21:5 rules[1] gives a policy that is not there (did you mean rest?)',
    ],
    [
      'issuer: entra, policy',
      'issuer: entar, policy',
      '20:5 rules[0] names an issuer that is not there (did you mean entra?)',
    ],
    [
      'group: staff, issuer: entra',
      'group: staff, issuer: ci',
      '20:5 rules[0] has a group that nobody is in',
    ],
    ['{ kind: key, ', '{ kind: key, issuer: ci, ', '21:5 rules[1] fits nobody'],
    ['{ kind: key, ', '{ kind: device, key: ci, ', '21:5 rules[1] fits nobody'],
    ['{ kind: key, policy: rest }', '{ kind: key }', '21:5 rules[1] lacks policy'],
    [
      '{ kind: key,',
      '{ kind: robot,',
      '21:13 rules[1].kind is not one of the choices (give one of user',
    ],
    ['routes: [chat,', 'routes: [caht,', '11:14 policies[0].routes[0] is not one of the choices'],
    [
      'upstreams: [tinfoil]\n    routes',
      'upstreams: [tinfiol]\n    routes',
      '10:17 policies[0].upstreams[0] names an upstream that is not there (did you mean tinfoil?)',
    ],
    [
      'models: [claude-*,',
      'models: [clau*de,',
      '9:14 policies[0].models[0] does not fit (give names, or',
    ],
    ['plaintext: false', 'plaintext: 0', '13:16 policies[0].plaintext is neither true nor false'],
    [
      'burst: 6\n',
      'burst: 0\n',
      '15:12 policies[0].burst is not a number in range (give a whole number from 1',
    ],
    [
      'requests_per_minute: 60\n',
      'requests_per_minute: "60"\n',
      '14:26 policies[0].requests_per_minute is text, and no number',
    ],
    [
      'requests_per_minute: 60\n',
      '\n',
      '8:5 policies[0] has burst without a rate (give requests_per_minute too)',
    ],
    [
      'usd_per_day: 2.50',
      'usd_per_day: 0',
      '16:18 policies[0].usd_per_day is not a number in range',
    ],
    [
      '"${USD}"',
      '"${GONE}"',
      '17:36 policies[0].organisation.usd_per_month names the variable GONE',
    ],
    [
      'max_body_bytes',
      'max_body',
      '12:5 policies[0].max_body is not known (did you mean max_body_bytes?)',
    ],
    ['{ kind: key, ', '{ kind: key, code: x, ', '21:18 rules[1].code is not known'],
  ])('%p as %p', (from, to, wrong) => {
    const text = POLICIES.replace(from, to)
    expect(text).not.toBe(POLICIES)
    const found = mistakes(text, { env })
    expect(found).toHaveLength(1)
    expect(found[0]).toStartWith(wrong)
  })

  test('can name the members that the gate knows, and nothing else', () => {
    const pattern = new RegExp(MODEL.pattern)
    for (const text of ['', '*', 'a', 'a*', '*a', 'a b', 'a*b*', 'é', '~!', 'a'.repeat(257)]) {
      const fits = pattern.test(text) && text.length <= MODEL.maxLength
      expect([text, fits]).toEqual([text, isModelPattern(text)])
    }
  })
})

describe('a document and the environment', () => {
  const against = (text: string, env: ProcessEnvironment): string[] => mistakes(text, { env })
  test('may not contradict one another, HOST and PORT like any other', () => {
    const text = `${USERS}listen: { host: 127.0.0.1, port: 80 }\n`
    expect(against(text, { HOST: '0.0.0.0', PORT: '81', JWKS_URL: 'https://x.example' })).toEqual([
      'HOST says something else than 11:17 listen.host (give it in one of the two places)',
      'PORT says something else than 11:34 listen.port (give it in one of the two places)',
      'JWKS_URL says something else than 4:15 issuers[0].jwks_url (give it in one of the two places)',
    ])
    expect(against(text, { PORT: '80', HOST: '127.0.0.1' })).toEqual([])
    expect(against(text, { ADDR: ':80' })).toEqual([
      'ADDR is given together with HOST or PORT (two spellings of the same; use one)',
    ])
  })

  test('the environment cannot add to a list', () => {
    expect(against(USERS, { ANTHROPIC_API_KEY: 'k', CLIENT_ID: 'c' })).toEqual([
      'CLIENT_ID is set, but FILE lists no upstream of kind anthropic-oauth under upstreams (unset it, or add the entry)',
      'ANTHROPIC_API_KEY is set, but FILE lists no upstream of kind anthropic under upstreams (unset it, or add the entry)',
    ])
  })

  test('a flag is no different from its variable', () => {
    const path = file(`${USERS}listen: { port: 80 }\n`)
    expect(read(path, {}, ['--port', '81']).kind).toBe('mistakes')
    expect(read(path, {}, ['--port', '80']).kind).toBe('run')
  })
})

describe('secrets', () => {
  test('written out are refused if everybody may read the document', () => {
    expect(mistakes(USERS, { mode: 0o644 })).toEqual([
      "8:14 upstreams[0].api_key is a secret in a file that everybody on this machine can read (chmod 600 FILE; or give ${NAME}, or the secret's own file)",
      "10:22 ledger.identity_hash_key is a secret in a file that everybody on this machine can read (chmod 600 FILE; or give ${NAME}, or the secret's own file)",
    ])
    expect(
      mistakes(USERS.replace('tk-canary-0', 'tk-${X}'), { mode: 0o604, env: { X: 'x' } })[0],
    ).toStartWith('8:14 upstreams[0].api_key is a secret')
    expect(mistakes(USERS, { mode: 0o640 })).toEqual([])
  })

  test('keep their checks', () => {
    const text = USERS.replace('tk-canary-0', 'your-key-here').replace(HASH_KEY, 'ab'.repeat(32))
    expect(mistakes(text)).toEqual([
      '10:22 ledger.identity_hash_key is a pattern that can be guessed (make one with: openssl rand -hex 32)',
      '8:14 upstreams[0].api_key is a placeholder, and no key (give the key as its provider shows it)',
    ])
  })

  test('are in no mistake, wherever they have slipped', () => {
    const canary = 'sk-canary-4711'
    for (const text of [
      `${canary}: 1\n`,
      `listen: { ${canary}: 1 }\n`,
      `listen: ${canary}\n`,
      `listen: { port: ${canary} }\n`,
      `log: [${canary}]\n`,
      `upstreams: [${canary}]\n`,
      `upstreams: [{ kind: ${canary} }]\n`,
      `upstreams: [{ kind: tinfoil, api_key: [${canary}] }]\n`,
      `ledger: { identity_hash_key: ${canary} }\n`,
      `a: *${canary}\n`,
      `a: !${canary} b\n`,
      `a: "\\q${canary}\n`,
      `${canary}: 1\n${canary}: 2\n`,
      `limits: { window: { requests: 5, milliseconds: ${canary} } }`,
    ]) {
      for (const ending of ['yaml', 'json', 'toml']) {
        const found = mistakes(text, { ending })
        expect(found.length).toBeGreaterThan(0)
        expect(found.join('\n')).not.toContain('canary')
      }
    }
  })

  test('are not in the document that is printed', () => {
    const key = file('file-canary-1', { ending: 'key' })
    const path = file(
      USERS.replace(
        '  - kind: tinfoil',
        `  - kind: anthropic\n    api_key_file: ${key}\n  - kind: tinfoil`,
      ) + 'devices: { signing_secrets: ["${ONE}", "${TWO}"] }\nadmin: { token: "${ADMIN}" }\n',
    )
    const env = {
      ONE: `one-canary-${HASH_KEY}`,
      TWO: `two-canary-${HASH_KEY}`,
      ADMIN: 'a-canary-8f02a4c51b7d93e6f08a42c6',
    }
    const invocation = read(path, env)
    if (invocation.kind !== 'run') throw new Error(Bun.inspect(invocation))
    const printed = printDocument(invocation)
    expect(printed).not.toContain('canary')
    expect(printed).not.toContain(HASH_KEY)
    expect(printed).toContain(`api_key_file: ${key}`)
    expect(printed).toContain('api_key: ${TINFOIL_API_KEY}')
    expect(printed).toContain('- ${ONE}\n    - ${TWO}\n')
    expect(printed).toContain('token: ${ADMIN}')
    expect(printed).toStartWith('# yaml-language-server: $schema=')
    // Printed once more, it is the same.
    const again = read(file(printed), { ...env, TINFOIL_API_KEY: 't', IDENTITY_HASH_KEY: HASH_KEY })
    if (again.kind !== 'run') throw new Error(Bun.inspect(again))
    expect(printDocument(again)).toBe(printed)
  })
})

test('every setting has one place in a document, except alternative spellings', () => {
  const without = KEYS.filter((key) => !PATHS.has(key))
  expect(without.toSorted()).toEqual(['addr', 'devMode', 'redisUrl'])
  expect(settingsIn(ROOT).toSorted()).toEqual(KEYS.filter((key) => PATHS.has(key)).toSorted())
  const members = [...PATHS.keys()].map(memberOf)
  expect(new Set(members).size).toBe(members.length)
})
