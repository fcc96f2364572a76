import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import type { Subprocess } from 'bun'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { PassThrough } from 'node:stream'
import { fileStorage } from '../../src/client/storage.ts'
import { keptLogin } from '../../src/operate/kept-login.ts'
import { login } from '../../src/operate/login.ts'
import { logout, status } from '../../src/operate/login-status.ts'
import { mayOpenBrowser } from '../../src/operate/open-browser.ts'
import { readLine } from '../../src/operate/read-line.ts'
import { startFakeGate } from '../client/fake-gate.ts'
import { folder } from '../client/scene.ts'
import { binary, until } from '../support/binary.ts'
import { type LoginGate, startLoginGate } from './login-gate.ts'
import { label, named } from '../support/named.ts'

const UNLIKE = 'that is not the code#state of this sign-in\n'
const again = (): string => `sign in with: postern login --gate ${gate.url}\n`
let postern: string
let gate: LoginGate
let home: ReturnType<typeof folder>

beforeAll(async () => {
  postern = await binary()
})
beforeEach(async () => {
  gate = await startLoginGate()
  home = folder()
  mkdirSync(`${home.path}/bin`, { recursive: true })
})
afterEach(async () => {
  await gate.close()
  home.remove()
})

type Piped = Subprocess<'pipe', 'pipe', 'pipe'>

const environment = (): Record<string, string> => ({
  PATH: `${home.path}/bin:${process.env['PATH']}`,
  HOME: home.path,
  XDG_DATA_HOME: `${home.path}/data`,
  POSTERN_GATE: gate.url,
})
const keptFolder = (): string => `${home.path}/data/postern`
const keptFiles = (): string[] => (existsSync(keptFolder()) ? readdirSync(keptFolder()) : [])

function start(args: readonly string[], env: Record<string, string> = {}): Piped {
  return Bun.spawn([postern, ...args], {
    cwd: home.path,
    env: { ...environment(), ...env },
    stdin: 'pipe',
    stdout: 'pipe',
    stderr: 'pipe',
  })
}

interface Ran {
  readonly code: number
  readonly out: string
  readonly err: string
}

async function finish(child: Piped): Promise<Ran> {
  const [out, err] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ])
  return { code: await child.exited, out, err }
}

async function run(args: readonly string[], env: Record<string, string> = {}): Promise<Ran> {
  const child = start(args, env)
  await child.stdin.end()
  return finish(child)
}

/** Pastes `answer`, once the gate has begun an attempt to paste for. */
async function signIn(
  args: readonly string[] = [],
  env: Record<string, string> = {},
  answer: (right: string) => string = (right) => `${right}\n`,
): Promise<Ran> {
  const before = gate.attempts.size
  const child = start(['login', ...args], env)
  await until(() => gate.attempts.size > before)
  child.stdin.write(answer(gate.pasted()))
  await child.stdin.end()
  return finish(child)
}

interface Here {
  readonly env?: Record<string, string>
  readonly print?: boolean
  readonly browser?: boolean
  readonly answer?: (right: string) => string
  readonly baseUrl?: string
}

/** The same without a process of its own, for tables of many. */
async function signInHere(more: Here = {}): Promise<Ran> {
  const { env = {}, answer = (right) => `${right}\n`, baseUrl = gate.url, ...flags } = more
  let [out, err] = ['', '']
  const stdin = new PassThrough()
  const stdout = {
    write(said: string) {
      out += said
      if (gate.paste && /^https?:/.test(said)) stdin.end(answer(gate.pasted()))
    },
  }
  const stderr = {
    write(said: string) {
      err += said
      if (more.print === true && /^https?:/.test(said)) stdin.end(answer(gate.pasted()))
    },
  }
  const storage = fileStorage(keptFolder())
  const options = { baseUrl, env, gateWords: [], storage, pollEveryMs: 20, ...flags }
  return { code: await login(options, { stdin, stdout, stderr }), out, err }
}

async function here(
  command: typeof status | typeof logout,
  more: { readonly json?: boolean; readonly baseUrl?: string } = {},
): Promise<Ran> {
  let [out, err] = ['', '']
  const io = {
    stdout: { write: (said: string) => void (out += said) },
    stderr: { write: (said: string) => void (err += said) },
  }
  const options = { baseUrl: gate.url, storage: fileStorage(keptFolder()), ...more }
  return { code: await command(options, io), out, err }
}

/** Stands in for the platform's own: writes down what it was told to open, and with which terminal. */
function installBrowser(): () => string[] {
  const log = `${home.path}/opened`
  const path = `${home.path}/bin/xdg-open`
  writeFileSync(path, `#!/bin/sh\nprintf '%s\\n' "$#" "$1" >> '${log}'\n`)
  chmodSync(path, 0o755)
  return () => (existsSync(log) ? readFileSync(log, 'utf8').trimEnd().split('\n') : [])
}

const linkIn = (out: string): string => /^https?:\/\/\S+$/m.exec(out)?.[0] ?? ''

describe('postern login, by paste', () => {
  test('prints the link alone on its line, takes code#state, and keeps a key for this user alone', async () => {
    const { code, out, err } = await signIn()
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(linkIn(out)).toStartWith('https://auth.example/oauth/authorize?code=true&client_id=c&')
    // Nothing moves a cursor, hides a link behind a word, or shows the key.
    expect(out).toMatch(/^[ -~\n]+$/)
    expect(out).not.toContain('pst_')
    expect(out).toContain('signed in until 2031-05-06 07:08 UTC, and the gate renews it\n')
    expect(out).toContain('\n  postern exec -- claude\n')
    expect(out).toContain(`\n  export ANTHROPIC_BASE_URL=${gate.url}\n`)
    expect(out).toContain('\n  export ANTHROPIC_AUTH_TOKEN="$(postern token)"\n')
    const files = keptFiles()
    expect(files).toEqual([expect.stringMatching(/^login-[0-9a-f]{32}$/)])
    expect(statSync(keptFolder()).mode & 0o777).toBe(0o700)
    const file = `${keptFolder()}/${files[0]}`
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual({
      version: 1,
      base: gate.url,
      key: gate.key,
    })
  })

  test('names the gate if it is not the usual one', async () => {
    const { out } = await signIn(['--gate', gate.url], { POSTERN_GATE: 'http://127.0.0.1:1' })
    expect(out).toContain(`  postern exec --gate ${gate.url} -- claude\n`)
    expect(out).toContain(`"$(postern token --gate ${gate.url})"`)
  })

  test('takes a paste with space around it, without an end of line, and as an address', async () => {
    const answers = [
      (right: string) => `\t ${right} \r\n`,
      (right: string) => right,
      (right: string) => `${right}\nmore of it\n`,
    ]
    for (const answer of answers) expect((await signInHere({ answer })).code).toBe(0)
    // The address that a browser was left at.
    const { code } = await signInHere({
      answer(right) {
        const [given = '', state = ''] = right.split('#')
        return `https://app.example/callback?code=${given}&state=${state}\n`
      },
    })
    expect(code).toBe(0)
  })

  const unlike: [string, (right: string) => string, string?][] = [
    ['nothing', () => '', 'nothing was pasted\n'],
    ['an empty line', () => '\n', 'nothing was pasted\n'],
    ['a code without its state', (right: string) => `${right.split('#')[0]}\n`],
    ['a state of another sign-in', (right: string) => `${right.slice(0, -4)}AAAA\n`],
    ['half of the state', (right: string) => `${right.slice(0, -9)}\n`],
    ['the state alone', (right: string) => `#${right.split('#')[1]}\n`],
    ['two codes', (right: string) => `a#${right}\n`],
    ['controls', (right: string) => `\u001b[2J${right}\n`],
    ['an address with another state', () => 'https://app.example/?code=1&state=2\n'],
    ['8 KiB and more', (right: string) => `${'x'.repeat(8192)}${right}\n`],
    ['a flood without an end of line', () => 'x'.repeat(1_000_000)],
  ]
  test.each(unlike)('does not spend the attempt on %s', async (_, answer, says = UNLIKE) => {
    const { code, out, err } = await signInHere({ answer })
    expect(code).toBe(64)
    expect(err).toBe(`postern login: ${says}`)
    expect(gate.count('/auth/device/submit')).toBe(0)
    expect(out).not.toContain('signed in')
    expect(keptFiles()).toEqual([])
  })

  test('an answer that the gate does not accept is 77, and leaves nothing', async () => {
    const { code, err } = await signIn([], {}, (right) => `other-canary${right}\n`)
    expect({ code, err }).toEqual({
      code: 77,
      err: `postern login: the sign-in was not accepted; ${again()}`,
    })
    expect(keptFiles()).toEqual([])
  })

  test('sends the attempt as its cookie and the code as JSON, and says that it is a program', async () => {
    await signIn()
    const submit = gate.asks.find(({ path }) => path === '/auth/device/submit')
    expect(submit?.headers).toMatchObject({
      accept: 'application/json',
      'content-type': 'application/json',
      cookie: expect.stringMatching(/^postern_login=[\w-]{24}$/),
    })
    for (const { headers } of gate.asks) {
      expect(headers.origin).toBeUndefined()
      expect(headers['sec-fetch-site']).toBeUndefined()
    }
  })

  test('without a sign-in in time it exits with 77 and says how long it waited', async () => {
    gate.expiresIn = 0.1
    const { code, err } = await finish(start(['login']))
    expect({ code, err }).toEqual({
      code: 77,
      err: `postern login: nobody signed in within a minute; ${again()}`,
    })
  })
})

describe('postern login, if the redirect comes back to the gate', () => {
  beforeEach(() => {
    gate.paste = false
  })

  test("prints the gate's link, and has the key once the browser is through", async () => {
    const child = start(['login'])
    await until(() => gate.count('/auth/status') > 0)
    const [attempt] = gate.attempts.values()
    const link = `${gate.url}/auth/device/open?ticket=${attempt?.ticket}`
    expect(await gate.browse(link)).toBe(303)
    const { code, out, err } = await finish(child)
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(linkIn(out)).toBe(link)
    expect(out).not.toContain('auth.example')
    expect(out).not.toContain('pst_')
    expect(readFileSync(`${keptFolder()}/${keptFiles()[0]}`, 'utf8')).toContain(gate.key ?? '-')
    // Once a second, not more.
    expect(gate.count('/auth/status')).toBeLessThan(5)
  })

  const polled = (): Promise<unknown> => {
    const before = gate.count('/auth/status')
    return until(() => gate.count('/auth/status') > before)
  }

  test('a person who says no is 77', async () => {
    const ran = signInHere()
    await polled()
    for (const attempt of gate.attempts.values()) attempt.outcome = 'denied'
    expect(await ran).toMatchObject({
      code: 77,
      err: `postern login: the sign-in was not accepted; ${again()}`,
    })
  })

  test('a ticket that the gate refuses to follow up is a no, too', async () => {
    const ran = signInHere()
    await polled()
    gate.instead.set('/auth/status', { status: 400 })
    expect((await ran).code).toBe(77)
  })

  test('a timeout is distinguished from a refusal, though the gate reports both alike', async () => {
    gate.expiresIn = 1.9
    const ran = signInHere()
    await polled()
    gate.attempts.clear()
    expect(await ran).toMatchObject({ code: 77, err: expect.stringContaining('nobody signed in') })
  })

  test('a pending one ends with its time', async () => {
    gate.expiresIn = 0.2
    expect(await signInHere()).toMatchObject({
      code: 77,
      err: `postern login: nobody signed in within a minute; ${again()}`,
    })
  })

  test('a gate that is away is waited for, but not forever', async () => {
    const ran = signInHere()
    await polled()
    gate.instead.set('/auth/status', { status: 429 })
    await polled()
    gate.instead.clear()
    await polled()
    gate.instead.set('/auth/status', { status: 429, headers: { 'retry-after': '0' } })
    const before = gate.count('/auth/status')
    expect(await ran).toMatchObject({ code: 69, err: expect.stringContaining('try again later') })
    expect(gate.count('/auth/status') - before).toBeLessThan(8)
  })

  test('an answer that is no status ends it at once', async () => {
    gate.instead.set('/auth/status', { status: 200, body: 'canary' })
    expect(await signInHere()).toMatchObject({
      code: 69,
      err: expect.not.stringContaining('canary'),
    })
    expect(gate.count('/auth/status')).toBe(1)
  })

  test('over SSH it says how the link can be reached', async () => {
    gate.expiresIn = 0.1
    const { out } = await signInHere({ env: { SSH_CONNECTION: '10.0.0.1 1 10.0.0.2 22' } })
    const { port } = new URL(gate.url)
    expect(out).toContain(`connect with: ssh -L ${port}:127.0.0.1:${port} `)
  })
})

describe('the browser', () => {
  test.skipIf(process.platform !== 'linux')('is given the link as one word', async () => {
    const opened = installBrowser()
    const { out } = await signIn(['--browser'])
    await until(() => opened().length === 2)
    expect(opened()).toEqual(['1', linkIn(out)])
    expect(out).toStartWith('Sign in at this link, which your browser opens:\n')
  })

  test('is not opened without a terminal, or if the person says so', async () => {
    const opened = installBrowser()
    const { out } = await signIn()
    expect(out).toStartWith('Sign in at this link:\n')
    await signIn(['--no-browser'])
    await signIn(['--browser'], { SSH_CONNECTION: 'a 1 b 22' })
    await Bun.sleep(100)
    expect(opened()).toEqual([])
  })

  test('one that is not there is no error', async () => {
    const bin = `${home.path}/bin`
    expect(await signIn(['--browser'], { PATH: bin })).toMatchObject({ code: 0, err: '' })
  })

  test('is not for a terminal far away, unless its windows come back', () => {
    const cases: [Record<string, string>, boolean, boolean | undefined, boolean][] = [
      [{}, true, undefined, true],
      [{}, true, false, false],
      [{}, false, undefined, false],
      [{}, false, true, true],
      [{ SSH_CONNECTION: 'x' }, true, undefined, false],
      [{ SSH_CONNECTION: 'x' }, true, true, false],
      [{ SSH_CONNECTION: 'x', DISPLAY: ':10' }, true, undefined, true],
      [{ SSH_CONNECTION: 'x', DISPLAY: ':10' }, true, false, false],
      [{ SSH_CONNECTION: '' }, true, undefined, true],
    ]
    for (const [env, onTerminal, wanted, may] of cases) {
      expect([env, wanted, mayOpenBrowser({ env, onTerminal, wanted })]).toEqual([env, wanted, may])
    }
  })
})

describe('postern login --print', () => {
  test('writes to stdout only lines that a shell evaluates', async () => {
    const { code, out, err } = await signIn(['--print'])
    expect(code).toBe(0)
    expect(out).toBe(
      `export ANTHROPIC_BASE_URL=${gate.url}\nexport ANTHROPIC_AUTH_TOKEN=${gate.key}\n`,
    )
    expect(linkIn(err)).toStartWith('https://auth.example/')
    expect(err).toContain('signed in until')
    expect(err).not.toContain('pst_')
    expect(keptFiles().length).toBe(1)
  })

  test('works as eval "$(postern login --print)"', async () => {
    const script = `eval "$('${postern}' login --print)"; env`
    const shell = Bun.spawn(['sh', '-c', script], {
      env: { ...environment(), ANTHROPIC_API_KEY: 'canary-own' },
      stdin: 'pipe',
      stdout: 'pipe',
      stderr: 'pipe',
    })
    await until(() => gate.attempts.size > 0)
    shell.stdin.write(`${gate.pasted()}\n`)
    await shell.stdin.end()
    const { code, out, err } = await finish(shell)
    expect(code).toBe(0)
    expect(out).toContain(`ANTHROPIC_AUTH_TOKEN=${gate.key}\n`)
    expect(out).toContain(`ANTHROPIC_BASE_URL=${gate.url}\n`)
    expect(err).toContain('! ANTHROPIC_API_KEY is set here too')
    expect(err).not.toContain('canary')
  })

  test('writes nothing to stdout if it fails', async () => {
    gate.instead.set('/auth/device/submit', { status: 503 })
    expect(await signIn(['--print'])).toMatchObject({
      code: 69,
      out: '',
      err: expect.stringContaining(
        'the gate cannot reach the authorization server, or use its own file, now',
      ),
    })
  })
})

describe('failures', () => {
  const cases: [string, number, number, string][] = [
    ['/auth/device/start', 404, 69, 'this gate has no sign-in: it was started without CLIENT_ID\n'],
    [
      '/auth/device/start',
      503,
      69,
      'the gate cannot reach the authorization server, or use its own file, now\n',
    ],
    ['/auth/device/start', 429, 69, 'the gate asks to try again later\n'],
    ['/auth/device/start', 302, 69, 'the gate answered with a redirect, which is not followed\n'],
    ['/auth/device/start', 400, 69, 'the gate is unhealthy\n'],
    ['/auth/device/start', 403, 77, 'the gate refuses to be asked from here\n'],
    ['/auth/device/start', 500, 69, 'the gate is unhealthy\n'],
  ]
  test.each(cases)('%s says %i: exit %i, one sentence', async (path, status, exitCode, message) => {
    gate.instead.set(path, { status, body: 'canary', headers: { location: '/canary' } })
    const { code, out, err } = await signInHere()
    expect({ code, out, err }).toEqual({
      code: exitCode,
      out: '',
      err: `postern login: ${message}`,
    })
  })

  test('without a gate it exits with 69 and names the address', async () => {
    await gate.close()
    for (const command of ['login', 'status']) {
      expect(await run([command])).toEqual({
        code: 69,
        out: '',
        err: `postern ${command}: the gate cannot be reached at ${gate.url}; is it running?\n`,
      })
    }
  })

  test.each([
    'https://gate.example',
    'http://gate.example',
    'http://10.0.0.1:5381',
    'http://127.0.0.1.evil.example',
    'http://me:canary@127.0.0.1:5381',
    'ftp://127.0.0.1',
    'canary',
  ])('a sign-in belongs to one machine: %s is 64', async (url) => {
    const message = 'the gate must be on this machine: a sign-in belongs to one\n'
    const ran = [
      await signInHere({ baseUrl: url }),
      await here(status, { baseUrl: url }),
      await here(logout, { baseUrl: url }),
    ]
    expect(ran).toEqual(
      ['login', 'status', 'logout'].map((command) => ({
        code: 64,
        out: '',
        err: `postern ${command}: ${message}`,
      })),
    )
    expect(gate.asks).toEqual([])
  })

  test.each(
    named<[string, unknown]>(
      [
        ['auth_url', 'file:///etc/passwd'],
        ['auth_url', 'javascript:alert(1)'],
        ['auth_url', 'http://auth.example/'],
        ['auth_url', 'https://me:pw@auth.example/'],
        ['auth_url', `https://auth.example/${'x'.repeat(9000)}`],
        ['auth_url', 7],
        ['state', 'short'],
        ['state', 'with space and more of it'],
        ['paste', 'yes'],
        ['paste', false],
      ],
      (name, value) =>
        `nothing is opened, printed or asked for if the gate says ${name} ${label(value)}`,
    ),
  )('%s', async (_, name, value) => {
    const opened = installBrowser()
    gate.start = { [name]: value }
    const { code, out, err } = await signInHere({ browser: true })
    expect({ code, out, err }).toEqual({
      code: 69,
      out: '',
      err: 'postern login: the gate gave an invalid answer\n',
    })
    expect(opened()).toEqual([])
  })

  test('a link cannot speak to a terminal', async () => {
    gate.start = { auth_url: 'https://auth.example/\u001b]8;;x\u0007\n\u001b[2J?a=\u202e' }
    const { out } = await signInHere()
    expect(out).toMatch(/^[ -~\n]+$/)
    expect(linkIn(out)).toBe('https://auth.example/%1B]8;;x%07%1B[2J?a=%E2%80%AE')
  })

  test.each(['pst_ x', 'pst_\nexport A=1', "pst_';touch x;'", '', 7])(
    'a key that no header could carry is none: %p',
    async (key) => {
      gate.instead.set('/auth/device/submit', {
        status: 200,
        body: JSON.stringify({ authenticated: true, session_key: key }),
      })
      expect(await signInHere({ print: true })).toMatchObject({ code: 69, out: '' })
      expect(keptFiles()).toEqual([])
    },
  )

  test('a key that cannot be kept is ended at the gate', async () => {
    mkdirSync(keptFolder(), { recursive: true })
    chmodSync(keptFolder(), 0o777)
    const { code, out, err } = await signIn()
    expect({ code, err }).toEqual({
      code: 69,
      err: 'postern login: the session key cannot be kept: the storage failed\n',
    })
    expect(out).not.toContain('signed in')
    expect(gate.count('/auth/logout')).toBe(1)
    expect(gate.key).toBeUndefined()
  })

  test.each([true, false])('Ctrl-C is 130 and a sentence (paste: %p)', async (paste) => {
    gate.paste = paste
    const child = start(['login'])
    await until(() => gate.attempts.size > 0)
    await Bun.sleep(100)
    child.kill('SIGINT')
    const { code, err } = await finish(child)
    expect({ code, err }).toEqual({
      code: 130,
      err: 'postern login: stopped; nothing was kept\n',
    })
    expect(keptFiles()).toEqual([])
  })
})

describe('postern status', () => {
  test('is 0 and shows the expiry, the scope and whether it renews', async () => {
    await signIn()
    expect(await run(['status'])).toEqual({
      code: 0,
      out: 'signed in until 2031-05-06 07:08 UTC, and the gate renews it\nscope: org:read user:inference\n',
      err: '',
    })
    Object.assign(gate, { renewable: false, scope: undefined, expiresAt: 1_935_662_469 })
    expect((await here(status)).out).toBe(
      'signed in until 2031-05-04 12:01 UTC, and it cannot be renewed\n',
    )
    Object.assign(gate, { renewable: true, expiresAt: undefined })
    expect((await here(status)).out).toBe('signed in, and the gate renews it\n')
  })

  test('--json is for programs', async () => {
    await signInHere()
    const { code, out } = await run(['status', '--json'])
    expect(code).toBe(0)
    expect(JSON.parse(out)).toEqual({
      authenticated: true,
      gate: gate.url,
      expires_at: '2031-05-06T07:08:09.000Z',
      scope: 'org:read user:inference',
      renewable: true,
    })
    gate.key = undefined
    const after = await here(status, { json: true })
    expect(after.code).toBe(1)
    expect(JSON.parse(after.out)).toEqual({ authenticated: false, gate: gate.url })
  })

  test('is 1 before, and 1 after it ended', async () => {
    expect(await here(status)).toEqual({ code: 1, out: `not signed in; ${again()}`, err: '' })
    await signInHere()
    gate.key = undefined
    const { code, out } = await here(status)
    expect({ code, out }).toEqual({ code: 1, out: `the sign-in has ended; ${again()}` })
  })

  test('a gate without a sign-in is 69', async () => {
    gate.instead.set('/auth/status', { status: 404 })
    expect(await here(status)).toMatchObject({
      code: 69,
      err: expect.stringContaining('no sign-in'),
    })
  })

  test("a server's texts do not reach the terminal raw", async () => {
    await signInHere()
    Object.assign(gate, { scope: '\u001b[2Ja\nb', expiresAt: 1e300 })
    const { code, out } = await here(status)
    expect({ code, out }).toEqual({
      code: 0,
      out: 'signed in, and the gate renews it\nscope: ?[2Ja?b\n',
    })
  })

  test('a key is shown to no other gate than the one that gave it', async () => {
    await signIn()
    const other = await startLoginGate()
    try {
      expect((await run(['status', '--gate', other.url])).code).toBe(1)
      // Nor where somebody gives the file the other's name.
      const [name = ''] = keptFiles()
      await signInAt(other)
      const theirs = keptFiles().find((each) => each !== name)
      writeFileSync(`${keptFolder()}/${theirs}`, readFileSync(`${keptFolder()}/${name}`))
      const { code } = await run(['status', '--gate', other.url])
      expect(code).toBe(1)
      const keys = other.asks.map(({ headers }) => headers.authorization)
      expect(keys.join(' ')).not.toContain(gate.key ?? '-')
    } finally {
      await other.close()
    }
  })

  async function signInAt(other: LoginGate): Promise<void> {
    const child = start(['login', '--gate', other.url])
    await until(() => other.attempts.size > 0)
    child.stdin.write(`${other.pasted()}\n`)
    await child.stdin.end()
    expect((await finish(child)).code).toBe(0)
  }
})

describe('postern logout', () => {
  test('ends it at the gate and here, and the second time there is nothing to end', async () => {
    await signIn()
    const key = gate.key
    expect(await run(['logout'])).toEqual({ code: 0, out: 'signed out\n', err: '' })
    expect(gate.asks.at(-1)).toMatchObject({
      method: 'POST',
      path: '/auth/logout',
      headers: { authorization: `Bearer ${key}` },
    })
    expect(gate.key).toBeUndefined()
    expect(keptFiles()).toEqual([])
    expect(await run(['logout'])).toEqual({ code: 0, out: 'not signed in\n', err: '' })
    expect(gate.count('/auth/logout')).toBe(1)
  })

  test('one that the gate has forgotten goes here too, and it says so', async () => {
    for (const status of [401, 404]) {
      await signInHere()
      gate.instead.set('/auth/logout', { status })
      expect(await here(logout)).toEqual({
        code: 0,
        out: 'signed out; the gate knew of no sign-in any more\n',
        err: '',
      })
      expect(keptFiles()).toEqual([])
    }
  })

  test('if the gate does not confirm it, the key stays, so that the session can still be ended', async () => {
    await signInHere()
    const says = [
      { status: 503 },
      { status: 500 },
      { status: 200, body: '{"authenticated":true}' },
      { status: 200, body: 'canary' },
    ]
    for (const each of says) {
      gate.instead.set('/auth/logout', each)
      const { code, out, err } = await here(logout)
      expect({ code, out }).toEqual({ code: 69, out: '' })
      expect(err).toEndWith('; still signed in, try again\n')
      expect(err).not.toContain('canary')
    }
    gate.instead.clear()
    expect((await here(logout)).out).toBe('signed out\n')
  })
})

describe('exec and token, after a sign-in', () => {
  const shown = ['exec', '--', 'sh', '-c', 'echo "$ANTHROPIC_BASE_URL $ANTHROPIC_AUTH_TOKEN"']

  test('give programs the session key, and enrol nothing', async () => {
    await signInHere()
    expect(await run(shown)).toEqual({ code: 0, out: `${gate.url} ${gate.key}\n`, err: '' })
    const asked = gate.asks.length
    expect(await run(['token'])).toEqual({ code: 0, out: `${gate.key}\n`, err: '' })
    expect(gate.asks.length).toBe(asked)
    expect(await run(['token', '--refresh'])).toEqual({ code: 0, out: `${gate.key}\n`, err: '' })
    expect(gate.count('/auth/refresh')).toBe(1)
    expect(gate.count('/bootstrap')).toBe(0)
    expect(keptFiles().filter((name) => !name.startsWith('login-'))).toEqual([])
  })

  test('a sign-in that has ended starts nothing: 77', async () => {
    await signInHere()
    gate.key = undefined
    expect(await run(['exec', '--', 'echo', 'started'])).toEqual({
      code: 77,
      out: '',
      err: `postern exec: the sign-in has ended; ${again()}`,
    })
    const refreshed = await run(['token', '--refresh'])
    gate.instead.set('/auth/refresh', { status: 200, body: '{"authenticated":false}' })
    expect([refreshed, await run(['token', '--refresh'])]).toEqual(
      Array.from({ length: 2 }, () => ({
        code: 77,
        out: '',
        err: `postern token: the sign-in has ended; ${again()}`,
      })),
    )
  })

  test('a gate that is down starts nothing: 69', async () => {
    await signInHere()
    await gate.close()
    expect(await run(['exec', '--', 'echo', 'started'])).toMatchObject({ code: 69, out: '' })
  })

  test('before a sign-in they say what to do', async () => {
    for (const args of [['exec', '--', 'echo', 'started'], ['token']]) {
      expect(await run(args)).toEqual({
        code: 69,
        out: '',
        err: `postern ${args[0]}: ${gate.url} enrols no devices; ${again()}`,
      })
    }
  })

  test('a gate that now enrols devices is used for devices', async () => {
    await signInHere()
    const devices = await startFakeGate()
    devices.fate = ({ path }) =>
      path.startsWith('/auth/') ? (response) => response.writeHead(404).end() : 'answer'
    try {
      // As if the one before had listened at the same address.
      await keptLogin(fileStorage(keptFolder()), devices.url).write(gate.key ?? '')
      const { code, out } = await run(shown, { POSTERN_GATE: devices.url })
      const [base, token = ''] = out.trimEnd().split(' ')
      expect({ code, base, issued: devices.issued.has(token) }).toEqual({
        code: 0,
        base: devices.url,
        issued: true,
      })
      const next = await run(['token', '--refresh'], { POSTERN_GATE: devices.url })
      expect(devices.issued.has(next.out.trimEnd())).toBe(true)
    } finally {
      await devices.close()
    }
  })
})

/** A terminal of its own, 100 columns wide, as a person would see it. */
function terminal(): {
  run(command: string): void
  type(keys: string): void
  press(key: string): void
  screen(): string
  close(): void
} {
  const tmux = (...words: string[]): string =>
    Bun.spawnSync(['tmux', '-f', '/dev/null', ...words], {
      env: {
        ...environment(),
        TMUX_TMPDIR: home.path,
        TERM: 'xterm-256color',
        LANG: 'C.UTF-8',
        PS1: '$ ',
      },
    }).stdout.toString()
  return {
    run: (command) => void tmux('new-session', '-d', '-x', '100', '-y', '40', command),
    type: (keys) => void tmux('send-keys', '-l', keys),
    press: (key) => void tmux('send-keys', key),
    screen: () => tmux('capture-pane', '-p', '-J'),
    close: () => void tmux('kill-server'),
  }
}

describe.skipIf(Bun.which('tmux') === null)('at a terminal', () => {
  const asks = 'Paste the code#state that it shows: '
  const command = (args: string): string => `'${postern}' ${args}; echo "exit $?"; sleep 20`

  test('shows the link, opens it, asks again after a wrong paste, and says what to do next', async () => {
    const opened = installBrowser()
    const pane = terminal()
    try {
      pane.run(command('login'))
      await until(() => pane.screen().includes(asks))
      const link = linkIn(pane.screen())
      await until(() => opened().length === 2)
      expect(opened()).toEqual(['1', link])
      pane.type('something else')
      pane.press('Enter')
      const wrong = 'That is not the code#state of this sign-in, or not all of it.'
      await until(() => pane.screen().includes(wrong))
      pane.type(gate.pasted())
      pane.press('Enter')
      await until(() => pane.screen().includes('exit '))
      const screen = pane.screen()
      if (process.env['SHOW_TERMINAL']) console.log(screen)
      expect(screen).toContain('\nsigned in until 2031-05-06 07:08 UTC, and the gate renews it\n')
      expect(screen).toContain('\n  postern exec -- claude\n')
      expect(screen).toContain('exit 0')
      expect(screen).not.toContain('pst_')
      expect(gate.count('/auth/device/submit')).toBe(1)
    } finally {
      pane.close()
    }
  })

  test('Ctrl-C stops it in a sentence of its own line', async () => {
    const pane = terminal()
    try {
      pane.run(command('login --no-browser'))
      await until(() => pane.screen().includes(asks))
      pane.press('C-c')
      await until(() => pane.screen().includes('exit '))
      if (process.env['SHOW_TERMINAL']) console.log(pane.screen())
      expect(pane.screen()).toContain('\npostern login: stopped; nothing was kept\nexit 130\n')
      expect(keptFiles()).toEqual([])
    } finally {
      pane.close()
    }
  })

  test('if the redirect comes back to the gate, nothing is asked', async () => {
    gate.paste = false
    const pane = terminal()
    try {
      pane.run(command('login --no-browser'))
      await until(() => pane.screen().includes('Waiting for it'))
      expect(await gate.browse(linkIn(pane.screen()))).toBe(303)
      await until(() => pane.screen().includes('exit 0'))
      if (process.env['SHOW_TERMINAL']) console.log(pane.screen())
      expect(pane.screen()).not.toContain('Paste')
      expect(keptFiles().length).toBe(1)
    } finally {
      pane.close()
    }
  })
})

describe('one line', () => {
  const piped = (...pieces: (string | Buffer)[]): PassThrough => {
    const stream = new PassThrough()
    for (const piece of pieces) stream.write(piece)
    return stream
  }

  test('is whole, however it comes apart', async () => {
    const bytes = Buffer.from(' é#x \r\nrest')
    for (let cut = 0; cut <= bytes.length; cut += 1) {
      const stream = piped(bytes.subarray(0, cut), bytes.subarray(cut))
      expect(await readLine(stream, 16)).toEqual({ kind: 'line', text: 'é#x' })
    }
  })

  test('has a size, with or without its end', async () => {
    expect(await readLine(piped('12345678\n'), 8)).toEqual({ kind: 'line', text: '12345678' })
    expect(await readLine(piped('123456789\n'), 8)).toEqual({ kind: 'too_long' })
    expect(await readLine(piped('1234', '56789'), 8)).toEqual({ kind: 'too_long' })
  })

  test('an input that ends or breaks has none', async () => {
    const ended = piped()
    ended.end()
    expect(await readLine(ended, 8)).toEqual({ kind: 'ended' })
    const broken = piped()
    const line = readLine(broken, 8)
    broken.destroy(new Error('EIO'))
    expect(await line).toEqual({ kind: 'ended' })
  })
})
