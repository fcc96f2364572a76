// The words after `postern`: what is meant is done or suggested, and who says nothing is told how to
// begin.

import { describe, expect, test } from 'bun:test'
import { nearest } from '../../src/config/nearest.ts'
import { runToEnd } from '../support/binary.ts'

describe('postern alone', () => {
  test('names the missing settings, how to try it, and the ways to run it, in 80 columns', async () => {
    const { exitCode, stdout, stderr } = await runToEnd([])
    expect([exitCode, stdout]).toEqual([78, ''])
    expect(stderr).toContain('4 mistakes')
    expect(stderr).toContain('\n  postern --dev-mode\n')
    const ways = stderr.slice(stderr.indexOf('The ways to run it'))
    for (const name of ['TINFOIL_API_KEY', 'ANTHROPIC_API_KEY', 'JWT_SECRET', 'CLIENT_ID']) {
      expect(ways).toContain(name)
    }
    for (const line of ways.split('\n')) expect(line.length).toBeLessThanOrEqual(80)
  })

  test('with something set, reports only its mistakes', async () => {
    const { exitCode, stderr } = await runToEnd([], { ANTHROPIC_API_KEY: 'sk-1' })
    expect(exitCode).toBe(78)
    expect(stderr).toContain('Make one with: openssl rand -hex 32.')
    expect(stderr).not.toContain('three ways')
  })
})

describe('help and version work in every usual spelling', () => {
  test.each([
    [['help'], /^Usage: postern \[options\] \[command\]/],
    [['help', 'serve'], /^Usage: postern \[options\] \[command\]/],
    [['help', 'enrol'], /^Usage: postern enrol /],
    [['help', 'enroll'], /^Usage: postern enrol /],
    [['enroll', '--help'], /^Usage: postern enrol /],
    [['help', 'usage'], /^Usage: postern usage /],
    [['-h'], /^Usage: postern \[options\] \[command\]/],
    [['version'], /^postern \d/],
    [['-v'], /^postern \d/],
    [['-V'], /^postern \d/],
  ])('postern %p', async (args, expected) => {
    const { exitCode, stdout, stderr } = await runToEnd(args)
    expect([exitCode, stderr]).toEqual([0, ''])
    expect(stdout).toMatch(expected)
  })

  test('a gate before its command is the one of the command', async () => {
    const gate = 'http://127.0.0.1:1'
    for (const flag of [['--gate', gate], [`--gate=${gate}`]]) {
      const { exitCode, stderr } = await runToEnd([...flag, 'exec', '--', 'true'])
      expect([exitCode, stderr]).toEqual([
        69,
        `postern exec: the gate cannot be reached at ${gate}; is it running?\n`,
      ])
    }
  })

  test('the commands stand before the flags of the gate', async () => {
    const { stdout } = await runToEnd(['--help'])
    expect(stdout.indexOf('setup claude-code')).toBeLessThan(stdout.indexOf('--dev-mode'))
    for (const line of stdout.slice(0, stdout.indexOf('--dev-mode')).split('\n')) {
      expect(line.length).toBeLessThanOrEqual(81)
    }
  })

  test('`dev` is development mode', async () => {
    const { exitCode, stderr } = await runToEnd(['dev', '--jwks-url', 'https://id.example'])
    expect(exitCode).toBe(78)
    expect(stderr).toContain('is set in development mode')
  })
})

describe('a slip of the fingers is answered with the word that was meant', () => {
  test.each([
    ['lgoin', 'login'],
    ['stauts', 'status'],
    ['stats', 'status'],
    ['enrolll', 'enrol'],
    ['revke', 'revoke'],
    ['chekc', 'check'],
    ['serv', 'serve'],
    ['tokne', 'token'],
    ['LOGIN', 'login'],
  ])('%s', async (word, meant) => {
    expect(await runToEnd([word])).toEqual({
      exitCode: 64,
      stdout: '',
      stderr: `postern: ${word} is not a command\n    did you mean: postern ${meant}?\n`,
    })
  })

  test('without a near word the list is named', async () => {
    const ended = { exitCode: 64, stdout: '' }
    const stderr = 'postern: xyzzy is not a command\n    postern help lists them\n'
    expect(await runToEnd(['xyzzy'])).toEqual({ ...ended, stderr })
    expect(await runToEnd(['help', 'xyzzy'])).toEqual({ ...ended, stderr })
  })

  test('the words of a command say whose they are', async () => {
    for (const [args, words] of [
      [['enrol', '--model', 'x'], 'Did you mean --models?'],
      [['revoke'], "missing required argument 'name'"],
      [['exec'], "missing required argument 'command'"],
      [['token', 'x'], 'too many arguments'],
    ] as const) {
      const { exitCode, stdout, stderr } = await runToEnd(args)
      expect([exitCode, stdout]).toEqual([64, ''])
      expect(stderr).toStartWith(`postern ${args[0]}: `)
      expect(stderr).toContain(words)
      expect(stderr).toContain(`postern help ${args[0]} shows its options\n`)
    }
  })

  test('is found if it is near, and not if it is far', () => {
    const known = ['login', 'logout', 'status']
    expect(nearest('logn', known)).toBe('login')
    expect(nearest('lgoout', known)).toBe('logout')
    expect(nearest('sta', known)).toBe('status')
    expect(nearest('x', known)).toBeUndefined()
    expect(nearest('loading', known)).toBeUndefined()
  })
})

describe('a gate that cannot be reached is named', () => {
  const gate = 'http://127.0.0.1:1'
  test.each([['exec'], ['token'], ['status'], ['login']])('by %s', async (command) => {
    const words = command === 'exec' ? ['--', 'true'] : []
    const { exitCode, stderr } = await runToEnd([command, '--gate', gate, ...words])
    expect(exitCode).toBe(69)
    expect(stderr).toBe(
      `postern ${command}: the gate cannot be reached at ${gate}; is it running?\n`,
    )
  })
})
