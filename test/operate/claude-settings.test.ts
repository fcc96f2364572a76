// What would lead Claude Code past a gate, or make it send a second credential: seen in the shell and
// in its own settings files, told by name, and never by value.

import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { mkdirSync, writeFileSync } from 'node:fs'
import {
  claudeSettings,
  inTheWay,
  overriding,
  withoutCredentials,
} from '../../src/operate/claude-settings.ts'
import { runToEnd } from '../support/binary.ts'
import { folder } from '../client/scene.ts'

const GATE = 'http://127.0.0.1:5381'
let home: ReturnType<typeof folder>
beforeEach(() => {
  home = folder()
  mkdirSync(`${home.path}/.claude`, { recursive: true })
  mkdirSync(`${home.path}/project/.claude`, { recursive: true })
})
afterEach(() => home.remove())

const write = (where: string, settings: unknown): void => {
  const text = typeof settings === 'string' ? settings : JSON.stringify(settings)
  writeFileSync(`${home.path}/${where}`, text)
}
const overridden = () =>
  overriding(
    claudeSettings({ CLAUDE_CONFIG_DIR: `${home.path}/.claude` }, `${home.path}/project`),
    GATE,
  )

describe('the shell', () => {
  test.each([
    ['ANTHROPIC_API_KEY', 'sk-canary', 'beside the token'],
    ['ANTHROPIC_AUTH_TOKEN', 'canary', 'in the place of the token'],
    ['CLAUDE_CODE_USE_BEDROCK', '1', 'not to the gate'],
    ['CLAUDE_CODE_USE_VERTEX', 'true', 'not to the gate'],
    ['CLAUDE_CODE_USE_FOUNDRY', '1', 'not to the gate'],
    ['ANTHROPIC_CUSTOM_HEADERS', 'X-Trace: 1\nX-Api-Key: canary', 'beside the token'],
  ])('%s=%s is told', (name, value, what) => {
    const lines = inTheWay({ [name]: value })
    expect(lines).toHaveLength(1)
    expect(lines[0]).toContain(name)
    expect(lines[0]).toContain(what)
    expect(lines[0]).not.toContain('canary')
  })

  test('an empty, disabled or harmless setting is not', () => {
    for (const env of [
      {},
      { ANTHROPIC_API_KEY: '' },
      { CLAUDE_CODE_USE_BEDROCK: '0' },
      { CLAUDE_CODE_USE_VERTEX: 'false' },
      { ANTHROPIC_CUSTOM_HEADERS: 'X-Trace: authorization: none' },
      { ANTHROPIC_MODEL: 'x' },
    ]) {
      expect(inTheWay(env)).toEqual([])
    }
  })

  test('custom headers lose their credentials and keep the rest', () => {
    expect(withoutCredentials('X-A: 1\nAuthorization: Bearer x\nx-api-key: y\nX-B: 2')).toBe(
      'X-A: 1\nX-B: 2',
    )
    expect(withoutCredentials('authorization: Bearer x')).toBeUndefined()
  })

  test('setup says what each setting will do, and writes no value of it', async () => {
    const { exitCode, stdout, stderr } = await runToEnd(['setup', 'claude-code', '--yes'], {
      HOME: home.path,
      ANTHROPIC_API_KEY: 'sk-canary',
      CLAUDE_CODE_USE_BEDROCK: '1',
    })
    expect(exitCode).toBe(0)
    expect(stderr.split('\n').filter((line) => line.startsWith('! '))).toEqual([
      '! ANTHROPIC_API_KEY is set in this shell: Claude Code sends it beside the token, and the gate answers 400 to two credentials; unset it',
      '! CLAUDE_CODE_USE_BEDROCK is set in this shell: Claude Code goes there and not to the gate; unset it',
    ])
    expect(stdout + stderr).not.toContain('canary')
  })
})

describe('its settings files, for one run of exec', () => {
  test('say nothing if they are absent, unreadable, or only our own', () => {
    expect(overridden()).toEqual({ settings: undefined, names: [], unheeded: [] })
    write('.claude/settings.json', '{ broken')
    expect(overridden().settings).toBeUndefined()
    for (const settings of [[], null, 'x', { env: null }, { env: { ANTHROPIC_BASE_URL: GATE } }]) {
      write('.claude/settings.json', settings === 'x' ? '"x"' : settings)
      expect(overridden().settings).toBeUndefined()
    }
  })

  test('are overridden if they name another gate, another helper, a key or a cloud', () => {
    write('.claude/settings.json', {
      env: { ANTHROPIC_BASE_URL: 'https://other.example', CLAUDE_CODE_USE_VERTEX: '1', KEEP: 'x' },
      apiKeyHelper: 'echo canary',
    })
    write('project/.claude/settings.local.json', { env: { ANTHROPIC_API_KEY: 'sk-canary' } })
    const { settings, names, unheeded } = overridden()
    expect(JSON.parse(settings ?? '')).toEqual({
      apiKeyHelper: '',
      env: { ANTHROPIC_BASE_URL: GATE, CLAUDE_CODE_USE_VERTEX: '', ANTHROPIC_API_KEY: '' },
    })
    expect(names.toSorted()).toEqual([
      'apiKeyHelper',
      'env.ANTHROPIC_API_KEY',
      'env.ANTHROPIC_BASE_URL',
      'env.CLAUDE_CODE_USE_VERTEX',
    ])
    expect(unheeded).toEqual([])
  })

  test('a token in them cannot be undone, and its file is named', () => {
    write('project/.claude/settings.json', { env: { ANTHROPIC_AUTH_TOKEN: 'canary' } })
    expect(overridden()).toEqual({
      settings: undefined,
      names: [],
      unheeded: [`${home.path}/project/.claude/settings.json`],
    })
  })
})
