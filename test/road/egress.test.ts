// The way out as a private network has it: a CA of its own, a proxy in between, hosts that speak http.
// The names of these tests lead nowhere but through their proxy.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort, IDENTITY_KEY } from '../support/anthropic.ts'
import { type Authority, authority } from '../support/authority.ts'
import { type Running, runToEnd, start, until } from '../support/binary.ts'
import { type ConnectProxy, startConnectProxy } from '../support/connect-proxy.ts'
import { type Forge, startForge } from '../support/forge.ts'
import { API_KEY } from '../support/gate.ts'
import { UNLIMITED } from '../support/settings.ts'
import { bearer } from '../support/sink.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'

const CREDENTIALS = 'gate:p@ss/word-canary'
const IN_URL = 'gate:p%40ss%2Fword-canary'

interface Asked {
  readonly host: string | undefined
  readonly url: string | undefined
  readonly agent: string | undefined
}

const hasOpenssl = Bun.which('openssl') !== null

// With CI=true, a machine without openssl fails.
describe.skipIf(!hasOpenssl && process.env['CI'] !== 'true')('the way out', () => {
  let ca: Authority
  let forge: Forge
  let server: https.Server
  let port: number
  let asked: Asked[] = []
  let folder: string
  const open: { close(): unknown }[] = []

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'postern-egress-'))
    ca = authority()
    forge = await startForge()
    server = https.createServer(
      ca.issue('keys.up.test', 'api.up.test', 'atc.up.test', 'chosen.up.test', '127.0.0.1'),
    )
    server.on('request', (request, response) => {
      const { host, 'user-agent': agent, authorization } = request.headers
      asked.push({ host, url: request.url, agent })
      if (request.url === '/keys?p=b2c_1')
        return void response.end(JSON.stringify({ keys: [forge.jwk] }))
      const open = request.url === '/.well-known/hpke-keys' || request.url === '/attestation'
      if (!open && authorization !== `Bearer ${API_KEY}`) return void response.writeHead(401).end()
      if (request.method !== 'POST') return void response.end('{"data":[]}')
      if (request.url === '/v1/embeddings') {
        response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
        return
      }
      // What came, once more: streamed in both directions.
      response.writeHead(200, { 'content-type': 'application/octet-stream' })
      request.pipe(response)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    port = (server.address() as AddressInfo).port
  })
  afterAll(async () => {
    for (const each of open) await each.close()
    server.closeAllConnections()
    server.close()
    await forge.close()
    ca.close()
    rmSync(folder, { recursive: true, force: true })
  })
  beforeEach(() => {
    asked = []
  })

  const proxy = async (
    options: Parameters<typeof startConnectProxy>[0] = {},
  ): Promise<ConnectProxy> => {
    const started = await startConnectProxy({ to: { host: '127.0.0.1', port }, ...options })
    open.push(started)
    return started
  }
  const settings = (more: Readonly<Record<string, string>>): Record<string, string> => ({
    JWKS_URL: 'https://keys.up.test/keys?p=b2c_1',
    ISSUER: forge.issuer,
    AUDIENCES: forge.audience,
    TINFOIL_API_KEY: API_KEY,
    TINFOIL_BASE_URL: 'https://api.up.test',
    TINFOIL_ATTESTATION_URL: 'https://atc.up.test',
    IDENTITY_HASH_KEY: IDENTITY_KEY,
    REQUIRE_EHBP: 'false',
    UPSTREAM_CA_FILE: ca.file,
    ...UNLIMITED,
    ...more,
  })
  async function gate(more: Readonly<Record<string, string>>): Promise<Running> {
    const running = await start(settings(more))
    open.push({ close: () => running.stop() })
    return running
  }
  const check = (more: Readonly<Record<string, string>>) => runToEnd(['check'], settings(more))
  async function ready(running: Running): Promise<void> {
    let ok = false
    await until(() => {
      void fetch(`${running.url}/readyz`).then((response) => (ok ||= response.ok))
      return ok
    })
  }
  const speech = (running: Running, body: Uint8Array<ArrayBuffer>): Promise<Response> =>
    fetch(`${running.url}/v1/audio/speech`, {
      method: 'POST',
      headers: { ...bearer(forge.token()), 'content-type': 'application/json' },
      body,
    })

  /** Whether somebody listens there; asked again until so. */
  function isOpen(at: number): boolean {
    const probe = Bun.spawnSync(['bash', '-c', `exec 3<>/dev/tcp/127.0.0.1/${at}`])
    return probe.exitCode === 0
  }

  describe.each([
    ['http', false],
    ['https', true],
  ])('through an %s proxy, with credentials and a CA of its own', (_scheme, secure) => {
    let through: ConnectProxy
    let running: Running
    beforeAll(async () => {
      through = await proxy({
        credentials: CREDENTIALS,
        ...(secure && { tls: ca.issue('127.0.0.1') }),
      })
      running = await gate({
        UPSTREAM_PROXY: through.url.replace('://', `://${IN_URL}@`),
        TINFOIL_ENCLAVE_HOSTS: '.up.test',
        // Of no interest to anybody.
        HTTPS_PROXY: 'http://127.0.0.1:1',
        ALL_PROXY: 'http://127.0.0.1:1',
      })
      await ready(running)
    })

    test('key set, inference and documents all go there, with our user agent', async () => {
      const models = await fetch(`${running.url}/v1/models`, { headers: bearer(forge.token()) })
      expect([models.status, await models.text()]).toEqual([200, '{"data":[]}'])
      expect((await fetch(`${running.url}/attestation`)).status).toBe(200)
      expect((await fetch(`${running.url}/.well-known/hpke-keys`)).status).toBe(200)
      expect(new Set(through.asked)).toEqual(
        new Set(['keys.up.test:443', 'api.up.test:443', 'atc.up.test:443']),
      )
      expect(new Set(asked.map(({ agent }) => agent))).toEqual(
        new Set([expect.stringMatching(/^postern\/\d/)]),
      )
      expect(running.output()).not.toContain('HTTPS_PROXY')
    })

    test('an enclave that a client chooses is resolved by the proxy, and has to be who it says', async () => {
      const choose = (host: string): Promise<Response> =>
        fetch(`${running.url}/v1/models`, {
          headers: { ...bearer(forge.token()), 'x-tinfoil-enclave-url': `https://${host}` },
        })
      expect((await choose('chosen.up.test')).status).toBe(200)
      expect(asked.at(-1)?.host).toBe('chosen.up.test')
      const before = asked.length
      expect((await choose('other.up.test')).status).toBe(502)
      expect((await choose('chosen.down.test')).status).toBe(400)
      expect(asked).toHaveLength(before)
      expect(through.asked).toContain('other.up.test:443')
      expect(through.asked).not.toContain('chosen.down.test:443')
    })

    test('large bodies come through whole, and connections are used again', async () => {
      const before = through.asked.length
      const body = crypto.getRandomValues(new Uint8Array(65_536))
      const large = new Uint8Array(Buffer.concat(Array.from({ length: 64 }, () => body)))
      for (let round = 0; round < 3; round++) {
        const answer = await speech(running, large)
        expect(answer.status).toBe(200)
        expect(Bun.hash(await answer.arrayBuffer())).toBe(Bun.hash(large))
      }
      const small = await Promise.all(
        Array.from({ length: 30 }, async (_, at) => {
          const answer = await speech(running, new Uint8Array([at, 1, 2]))
          return [...(await answer.bytes())]
        }),
      )
      expect(small).toEqual(Array.from({ length: 30 }, (_, at) => [at, 1, 2]))
      for (let round = 0; round < 20; round++) await (await speech(running, body)).arrayBuffer()
      expect(through.asked.length - before).toBeLessThan(40)
    })

    test('a proxy that dies in the middle of a stream breaks it, and its connection is not used again', async () => {
      const dying = await proxy({ ...(secure && { tls: ca.issue('127.0.0.1') }) })
      const cut = await gate({
        UPSTREAM_PROXY: dying.url,
        JWKS_URL: forge.jwksUrl,
        NO_PROXY: new URL(forge.jwksUrl).host,
      })
      await ready(cut)
      const answer = await fetch(`${cut.url}/v1/embeddings`, {
        method: 'POST',
        headers: { ...bearer(forge.token()), 'content-type': 'application/json' },
        body: '{}',
      })
      const reader = answer.body?.getReader()
      expect(new TextDecoder().decode((await reader?.read())?.value)).toBe('data: 1\n\n')
      await dying.close()
      const ended = await reader?.read().then(
        ({ done }) => (done ? 'in order' : 'more'),
        () => 'broken',
      )
      expect(ended).toBe('broken')
      const id = answer.headers.get('x-request-id') ?? ''
      expect(await cut.logged(id)).toMatchObject({ end: 'upstream_error' })
    })

    test('the credentials are nowhere but in its own header', async () => {
      const secret = Buffer.from(CREDENTIALS).toString('base64')
      expect(through.heads.every((head) => head.includes(secret))).toBe(true)
      expect(JSON.stringify(asked)).not.toContain('canary')
      expect(running.output()).not.toContain('canary')
      expect(running.output()).not.toContain(secret)
    })
  })

  const tinyproxy = Bun.which('tinyproxy')
  test.skipIf(tinyproxy === null && process.env['CI'] !== 'true')(
    'through tinyproxy, with credentials',
    async () => {
      const listening = await freePort()
      const config = join(folder, 'tinyproxy.conf')
      writeFileSync(
        config,
        `Port ${listening}\nListen 127.0.0.1\nTimeout 60\nBasicAuth gate canary\nLogLevel Critical\n`,
      )
      const child = Bun.spawn([tinyproxy ?? 'tinyproxy', '-d', '-c', config], {
        stdout: 'ignore',
        stderr: 'ignore',
      })
      try {
        await until(() => isOpen(listening))
        const direct = `https://127.0.0.1:${port}`
        const at = { JWKS_URL: `${direct}/keys?p=b2c_1`, TINFOIL_BASE_URL: direct }
        const running = await gate({ ...at, UPSTREAM_PROXY: `gate:canary@127.0.0.1:${listening}` })
        await ready(running)
        const body = crypto.getRandomValues(new Uint8Array(50_000))
        expect(await (await speech(running, body)).bytes()).toEqual(body)
        const { stdout } = await check({
          ...at,
          UPSTREAM_PROXY: `gate:wrong@127.0.0.1:${listening}`,
        })
        expect(stdout).toMatch(/key set: proxy status 40[17]/)
      } finally {
        child.kill()
        await child.exited
      }
    },
  )

  test('the token endpoint is asked through the proxy too, by its own CA', async () => {
    const through = await proxy({ credentials: CREDENTIALS })
    const running = await start({
      CLIENT_ID: 'client',
      REDIRECT_URI: 'https://page.example/shows-the-code',
      OAUTH_BASE_URL: 'https://keys.up.test/authorize?p=b2c_1',
      OAUTH_TOKEN_URL: 'https://keys.up.test/token?p=b2c_1',
      API_BASE_URL: 'https://api.up.test',
      SESSION_SECRET: '4f1d0c9b8a7e6d5c4b3a29181706f5e4d3c2b1a0f9e8d7c6',
      UPSTREAM_CA_FILE: ca.file,
      UPSTREAM_PROXY: through.url.replace('://', `://${IN_URL}@`),
    })
    open.push({ close: () => running.stop() })
    const begun = await fetch(`${running.url}/auth/device/start`, { method: 'POST' })
    const { state, auth_url } = (await begun.json()) as { state: string; auth_url: string }
    expect(new URL(auth_url).searchParams.get('p')).toBe('b2c_1')
    const cookie = begun.headers
      .getSetCookie()
      .map((each) => each.split(';')[0])
      .join('; ')
    const submitted = await fetch(`${running.url}/auth/device/submit`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', cookie },
      body: JSON.stringify({ code: `code#${state}` }),
    })
    expect(submitted.ok).toBe(false)
    expect(through.asked).toEqual(['keys.up.test:443'])
    expect(asked).toEqual([
      {
        host: 'keys.up.test',
        url: '/token?p=b2c_1',
        agent: expect.stringMatching(/^postern\/\d/) as never,
      },
    ])
  })

  test('a proxy whose answer never comes is a connection that does not stand', async () => {
    const silent = await startUpstream({ eager: true })
    open.push(silent)
    silent.respond(() => {})
    const { stdout, exitCode } = await check({
      UPSTREAM_PROXY: `127.0.0.1:${silent.port}`,
      CONNECT_TIMEOUT_SECONDS: '1',
    })
    expect(exitCode).toBe(1)
    expect(stdout).toMatch(/no {2}key set: (?:connect_timeout|proxy)/)
  })

  describe('postern check names the obstacle', () => {
    const cases: readonly (readonly [string, () => Promise<Record<string, string>>, RegExp])[] = [
      [
        'credentials that the proxy does not take',
        async () => ({
          UPSTREAM_PROXY: (await proxy({ credentials: CREDENTIALS })).url.replace('://', '://a:b@'),
        }),
        /tinfoil \/v1\/models: proxy status 407; the proxy demands credentials.*UPSTREAM_PROXY/,
      ],
      [
        'a proxy that lets nothing through',
        async () => ({
          UPSTREAM_PROXY: (await proxy({ refuse: 'HTTP/1.1 403 Filtered\r\n\r\n' })).url,
        }),
        /key set: proxy status 403; .*NO_PROXY/,
      ],
      [
        'no proxy at all',
        async () => ({ UPSTREAM_PROXY: 'http://127.0.0.1:1' }),
        /key set: proxy ECONNREFUSED; .*UPSTREAM_PROXY/,
      ],
      [
        'what is no proxy',
        async () => ({ UPSTREAM_PROXY: (await proxy({ refuse: 'hello\r\n\r\n' })).url }),
        /key set: proxy gave no HTTP answer/,
      ],
      [
        'a proxy of another CA',
        async () => ({
          UPSTREAM_PROXY: (await proxy({ tls: ca.issue('127.0.0.1') })).url,
          UPSTREAM_CA_FILE: '',
        }),
        /key set: proxy UNABLE_TO_VERIFY_LEAF_SIGNATURE; .*UPSTREAM_CA_FILE/,
      ],
      [
        'a CA that is not known, through the proxy',
        async () => ({ UPSTREAM_PROXY: (await proxy()).url, UPSTREAM_CA_FILE: '' }),
        /key set: UNABLE_TO_VERIFY_LEAF_SIGNATURE; .*UPSTREAM_CA_FILE/,
      ],
      [
        'and directly',
        async () => ({ TINFOIL_BASE_URL: `https://127.0.0.1:${port}`, UPSTREAM_CA_FILE: '' }),
        /tinfoil \/v1\/models: UNABLE_TO_VERIFY_LEAF_SIGNATURE; .*UPSTREAM_CA_FILE/,
      ],
      [
        'a name that the upstream has not got, through the proxy',
        async () => ({
          UPSTREAM_PROXY: (await proxy()).url,
          TINFOIL_BASE_URL: 'https://other.up.test',
        }),
        /tinfoil \/v1\/models: ERR_TLS_CERT_ALTNAME_INVALID; .*another name/,
      ],
      [
        'a host that speaks no TLS',
        async () => ({ TINFOIL_BASE_URL: forge.issuer.replace('http', 'https') }),
        /tinfoil \/v1\/models: \w+; .*PLAIN_HTTP_HOSTS/,
      ],
    ]
    test.concurrent.each(cases)('%s', async (_what, prepare, said) => {
      const { exitCode, stdout, stderr } = await check(await prepare())
      expect(stdout).toMatch(said)
      expect([exitCode, stderr]).toEqual([1, ''])
      expect(stdout).not.toContain('canary')
    })
    test('nothing, if all is well', async () => {
      const { exitCode, stdout } = await check({
        UPSTREAM_PROXY: (await proxy({ credentials: CREDENTIALS })).url.replace(
          '://',
          `://${IN_URL}@`,
        ),
      })
      expect(stdout).toContain('ok  key set: 1 usable key')
      expect(stdout).toContain('ok  tinfoil /v1/models: status 200')
      expect(exitCode).toBe(0)
    })
  })

  test('NO_PROXY leads past it', async () => {
    const through = await proxy()
    const past = { UPSTREAM_PROXY: through.url, NO_PROXY: '127.0.0.0/8 localhost' }
    const direct = `https://127.0.0.1:${port}`
    const { stdout } = await check({
      ...past,
      JWKS_URL: `${direct}/keys?p=b2c_1`,
      TINFOIL_BASE_URL: direct,
    })
    expect(stdout).toContain('ok  key set')
    expect(through.asked).toEqual([])
  })

  test('an ignored proxy variable is logged once at the start', async () => {
    const { stdout } = await check({ HTTPS_PROXY: 'http://user:canary@127.0.0.1:1' })
    expect(stdout).toContain('!!  HTTPS_PROXY is set and not used: UPSTREAM_PROXY is the proxy')
    expect(stdout).not.toContain('canary')
    const both = await check({
      http_proxy: 'http://127.0.0.1:1',
      all_proxy: 'x',
      UPSTREAM_PROXY: '',
    })
    expect(both.stdout.match(/not used/g)).toHaveLength(1)
    expect(both.stdout).toContain('http_proxy, all_proxy are set')
  })

  describe('the forms of the settings', () => {
    const refused = async (more: Readonly<Record<string, string>>): Promise<string> => {
      const { exitCode, stderr } = await runToEnd([], settings(more))
      expect(exitCode).toBe(78)
      expect(stderr).not.toContain('canary')
      return stderr
    }
    const file = (content: string): string => {
      const path = join(folder, `${Bun.hash(content)}.pem`)
      writeFileSync(path, content, { mode: 0o600 })
      return path
    }
    test.each([
      [
        'a CA file that is not there',
        { UPSTREAM_CA_FILE: '/nonexistent/ca.pem' },
        'cannot be read',
      ],
      ['a socks proxy', { UPSTREAM_PROXY: 'socks5://127.0.0.1:1080' }, 'is not an HTTP proxy'],
      ['a proxy with a path', { UPSTREAM_PROXY: 'http://u:canary@127.0.0.1/x' }, 'has a path'],
      [
        'a password that is not encoded',
        { UPSTREAM_PROXY: 'http://u:canary%zz@p' },
        'write % as %25',
      ],
      ['http to anybody', { TINFOIL_BASE_URL: 'http://llm.test' }, 'PLAIN_HTTP_HOSTS'],
      ['http for keys', { JWKS_URL: 'http://10.0.0.7/keys' }, 'PLAIN_HTTP_HOSTS'],
      ['all of a public suffix', { PLAIN_HTTP_HOSTS: '.com' }, 'open to everybody'],
      ['a star', { PLAIN_HTTP_HOSTS: '*' }, 'is not a host'],
      ['a URL as a host', { PLAIN_HTTP_HOSTS: 'http://vllm' }, 'is not a host'],
    ])('not %s', async (_what, more, said) => {
      expect(await refused(more)).toContain(said)
    })
    test('no CA file without certificates, or with one that is broken', async () => {
      expect(await refused({ UPSTREAM_CA_FILE: file('hello') })).toContain('holds no certificate')
      const good = await Bun.file(ca.file).text()
      const broken = good.replace(/\n[A-Za-z0-9+/]{20}/, '\nAAAA')
      expect(await refused({ UPSTREAM_CA_FILE: file(good + broken) })).toContain(
        'certificate 2 of 2',
      )
      const cut = good.slice(0, -30)
      expect(await refused({ UPSTREAM_CA_FILE: file(cut) })).toContain('certificate 1 of 1')
    })
    test('several certificates, with words between, and a proxy out of a file', async () => {
      const other = authority('other')
      open.push(other)
      const bundle = `# ours\n${await Bun.file(other.file).text()}\n# theirs\n${await Bun.file(ca.file).text()}`
      const through = await proxy({ credentials: CREDENTIALS })
      const { stdout } = await check({
        UPSTREAM_CA_FILE: file(bundle),
        UPSTREAM_PROXY_FILE: file(through.url.replace('://', `://${IN_URL}@`)),
      })
      expect(stdout).toContain('ok  key set: 1 usable key')
    })
    test('http to private hosts that are named, and a warning of one that looks public', async () => {
      const plain: Upstream = await startUpstream()
      open.push(plain)
      plain.respond((request, response) => {
        response.end(request.url === '/keys' ? JSON.stringify({ keys: [forge.jwk] }) : '{}')
      })
      const through = await startConnectProxy({ to: { host: '127.0.0.1', port: plain.port } })
      open.push(through)
      const { stdout, exitCode } = await check({
        JWKS_URL: 'http://idp/keys',
        TINFOIL_BASE_URL: 'http://vllm.ai.svc.cluster.local:8000',
        TINFOIL_ATTESTATION_URL: 'http://llm.example.com',
        PLAIN_HTTP_HOSTS: 'idp, .svc.cluster.local,llm.example.com',
        UPSTREAM_PROXY: through.url,
      })
      expect(stdout).toContain('ok  key set: 1 usable key')
      expect(stdout).toContain('ok  tinfoil /v1/models: status 200')
      expect(stdout.match(/looks public/g)).toHaveLength(1)
      expect(stdout).toContain('llm.example.com, which looks public')
      expect(exitCode).toBe(0)
    })
  })
})
