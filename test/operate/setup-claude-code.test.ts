import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { PassThrough } from 'node:stream'
import { setMember } from '../../src/operate/json-text.ts'
import { setupClaudeCode, type SetupOptions } from '../../src/operate/setup-claude-code.ts'
import { settingsFile } from '../../src/operate/claude-settings.ts'
import { folder } from '../client/scene.ts'

const GATE = 'https://gate.example'
const HELPER = ['/opt/my postern/postern', 'token']
let kept: ReturnType<typeof folder>
let file: string

beforeEach(() => {
  kept = folder()
  mkdirSync(kept.path, { recursive: true })
  file = `${kept.path}/settings.json`
})
afterEach(() => kept.remove())

interface Run {
  readonly code: number
  readonly out: string
  readonly err: string
}

async function run(
  more: Partial<SetupOptions> = {},
  typed?: string,
  beforeAnswer = (): void => {},
): Promise<Run> {
  let out = ''
  let err = ''
  const stdin = Object.assign(new PassThrough(), { isTTY: typed !== undefined })
  const stdout = {
    write(text: string) {
      out += text
      if (!text.includes('[y/N]')) return
      beforeAnswer()
      stdin.end(typed)
    },
  }
  const stderr = { write: (text: string) => void (err += text) }
  const options = { baseUrl: GATE, file, helper: HELPER, ...more }
  const code = await setupClaudeCode(options, { stdin, stdout, stderr })
  return { code, out, err }
}

const settings = (): Record<string, unknown> => JSON.parse(readFileSync(file, 'utf8'))
const WANTED = {
  apiKeyHelper: "'/opt/my postern/postern' token",
  env: { ANTHROPIC_BASE_URL: GATE, CLAUDE_CODE_API_KEY_HELPER_TTL_MS: '300000' },
}

describe('postern setup claude-code', () => {
  test('creates a missing file, readable by this user alone', async () => {
    file = `${kept.path}/new/settings.json`
    expect((await run({ yes: true })).code).toBe(0)
    expect(settings()).toEqual(WANTED)
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(readFileSync(file, 'utf8')).toBe(`${JSON.stringify(WANTED, null, 2)}\n`)
  })

  test('keeps every other byte, shows only the changes, and keeps a copy of the old file', async () => {
    const before =
      '{\r\n\t"z": [1,  2],\r\n\t"env": {\r\n\t\t"SECRET": "canary",\r\n\t\t"ANTHROPIC_BASE_URL" : "http://old\\u001b[2J"\r\n\t},\r\n\t"a": {"b":"}"}\r\n}'
    writeFileSync(file, before)
    chmodSync(file, 0o660)
    const { code, out } = await run({ yes: true })
    expect(code).toBe(0)
    expect(readFileSync(file, 'utf8')).toBe(
      '{\r\n\t"z": [1,  2],\r\n\t"env": {\r\n\t\t"SECRET": "canary",\r\n\t\t"ANTHROPIC_BASE_URL" : "https://gate.example",\r\n\t\t"CLAUDE_CODE_API_KEY_HELPER_TTL_MS": "300000"\r\n\t},\r\n\t"a": {"b":"}"},\r\n\t"apiKeyHelper": "\'/opt/my postern/postern\' token"\r\n}',
    )
    expect(out).toContain('- env.ANTHROPIC_BASE_URL: "http://old\\u001b[2J"\n')
    expect(out).toContain('+ env.ANTHROPIC_BASE_URL: "https://gate.example"\n')
    expect(out).not.toContain('canary')
    expect(out).not.toContain('\u001b')
    expect(statSync(file).mode & 0o777).toBe(0o660)
    const backup = readdirSync(kept.path).filter((name) => name.includes('before-postern'))
    expect(backup.length).toBe(1)
    expect(readFileSync(`${kept.path}/${backup[0]}`, 'utf8')).toBe(before)
  })

  test('the second time there is nothing to change, and nothing is written', async () => {
    await run({ yes: true })
    const { code, out } = await run({}, undefined)
    expect({ code, out }).toEqual({ code: 0, out: `${file}: nothing to change\n` })
    expect(readdirSync(kept.path)).toEqual(['settings.json'])
  })

  test('asks, and takes nothing but a yes', async () => {
    for (const typed of ['n\n', '\n', '', 'yep\n']) {
      expect(await run({}, typed)).toMatchObject({
        code: 1,
        err: expect.stringContaining('nothing'),
      })
      expect(existsSync(file)).toBe(false)
    }
    expect((await run({}, 'y\n')).code).toBe(0)
    expect(settings()).toEqual(WANTED)
  })

  test('without a terminal it shows, and writes only with --yes', async () => {
    expect(await run()).toMatchObject({ code: 64, out: expect.stringContaining('+ apiKeyHelper') })
    expect(existsSync(file)).toBe(false)
  })

  test.each([
    '{',
    '{"a":1,}',
    '// x\n{}',
    '[]',
    'null',
    '"x"',
    '{"env":[]}',
    '{"env":1}',
    '{"a":"\xff"}',
  ])('does not touch what it cannot read: %p', async (text) => {
    writeFileSync(file, text, 'latin1')
    expect(await run({ yes: true })).toMatchObject({ code: 1, out: '' })
    expect(readFileSync(file, 'latin1')).toBe(text)
    expect(readdirSync(kept.path)).toEqual(['settings.json'])
  })

  test('does not guess between two members of one name', async () => {
    for (const text of ['{"env":{},"env":{"A":"1"}}', '{"env":{"A":"1","\\u0041":"2"}}']) {
      writeFileSync(file, text)
      expect((await run({ yes: true })).code).toBe(1)
      expect(readFileSync(file, 'utf8')).toBe(text)
    }
  })

  test('does not overwrite changes that Claude Code made meanwhile', async () => {
    writeFileSync(file, '{}')
    const { code, err } = await run({}, 'y\n', () => writeFileSync(file, '{"model":"new"}'))
    expect(code).toBe(1)
    expect(err).toContain('has changed meanwhile')
    expect(settings()).toEqual({ model: 'new' })
  })

  test('a link to the settings stays a link', async () => {
    writeFileSync(`${kept.path}/dotfiles.json`, '{"a":1}')
    symlinkSync(`${kept.path}/dotfiles.json`, file)
    expect((await run({ yes: true })).code).toBe(0)
    expect(lstatSync(file).isSymbolicLink()).toBe(true)
    expect(settings()).toEqual({ a: 1, ...WANTED })
  })

  test('names the settings that take precedence over the helper', async () => {
    writeFileSync(file, '{"env":{"ANTHROPIC_AUTH_TOKEN":"canary"}}')
    const { err } = await run({ yes: true })
    expect(err).toContain('env.ANTHROPIC_AUTH_TOKEN is set')
    expect(err).not.toContain('canary')
  })

  test('a helper’s path means itself to a shell', async () => {
    const words = ["/a b/$(touch x)`y`/it's", 'token', '--gate=https://g/?a&b']
    await run({ yes: true, helper: ['printf', '%s|', ...words] })
    const said = Bun.spawnSync(['sh', '-c', String(settings()['apiKeyHelper'])])
    expect(said.stdout.toString()).toBe(words.map((word) => `${word}|`).join(''))
  })

  test('a gate that no token may be sent to is not written', async () => {
    expect((await run({ yes: true, baseUrl: 'http://gate.example' })).code).toBe(64)
    expect(existsSync(file)).toBe(false)
  })

  test('CLAUDE_CONFIG_DIR moves the file', () => {
    expect(settingsFile({ CLAUDE_CONFIG_DIR: '/c' })).toBe('/c/settings.json')
    expect(settingsFile({})).toEndWith('/.claude/settings.json')
  })
})

describe('the text of a JSON object', () => {
  test.each([
    ['one line', '{ "a": 1, "env": {"A":"1"} }', '{ "a": 1, "env": {"A":"1", "N": "new"} }'],
    ['no space', '{"a":1}', '{"a":1,"env":{"N":"new"}}'],
    ['an empty object', '{}\n', '{\n  "env": {\n    "N": "new"\n  }\n}\n'],
    [
      'tabs and CRLF',
      '{\r\n\t"a" : 1\r\n}\r\n',
      '{\r\n\t"a" : 1,\r\n\t"env": {\r\n\t\t"N": "new"\r\n\t}\r\n}\r\n',
    ],
    [
      'a byte order mark, four spaces',
      '\uFEFF{\n    "env": {\n        "N" : 1\n    }\n}',
      '\uFEFF{\n    "env": {\n        "N" : "new"\n    }\n}',
    ],
  ])('keeps its style: %s', (_, before, after) => {
    expect(setMember(before, ['env', 'N'], 'new')).toBe(after)
  })

  const seed = Math.floor(Math.random() * 2 ** 31)

  test(`500 of them, in any style: only the member changes (seed ${seed})`, () => {
    const random = mulberry(seed)
    const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] as T
    const scalars = [1, -2.5e-7, true, null, '', 'a"b\\', '}{,:[]', '\u2028é', '__proto__']
    const value = (depth: number): unknown => {
      const kind = random()
      if (depth > 2 || kind < 0.5) return pick(scalars)
      const size = Math.floor(random() * 4)
      if (kind < 0.7) return Array.from({ length: size }, () => value(depth + 1))
      return object(depth + 1, size)
    }
    const object = (depth: number, size: number): Record<string, unknown> =>
      Object.fromEntries(
        Array.from({ length: size }, (_, at) => [
          `${pick(['k', 'é', '"', '\\'])}${at}`,
          value(depth),
        ]),
      )
    for (let each = 0; each < 500; each += 1) {
      const before = object(0, Math.floor(random() * 4))
      if (random() < 0.5) before['env'] = object(1, Math.floor(random() * 3))
      if (random() < 0.3) before['x'] = value(0)
      let text = JSON.stringify(before, null, pick([undefined, 1, 2, 4, '\t']))
      if (random() < 0.3) text = text.replaceAll('\n', '\r\n')
      if (random() < 0.3) text = `\n ${text}\n\n`
      const nested = random() < 0.5
      const after = setMember(text, nested ? ['env', 'N'] : ['x'], 'new')
      const expected = nested
        ? { ...before, env: { ...(before['env'] as object | undefined), N: 'new' } }
        : { ...before, x: 'new' }
      expect(JSON.parse(after ?? '')).toEqual(expected)
      expect(Object.keys(JSON.parse(after ?? ''))).toEqual(Object.keys(expected))
    }
  })
})

function mulberry(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
