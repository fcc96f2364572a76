import { describe, expect, test } from 'bun:test'
import { readInvocation } from '../../src/config/command-line.ts'
import { mistakes, run, wrong } from './reading.ts'

describe('the command line', () => {
  test('check is a command, and so is serve', () => {
    expect([run(['check']).command, run(['serve']).command]).toEqual(['check', 'serve'])
    expect(run(['--port', '1', 'check']).command).toBe('check')
  })
  test('an unknown command and extra words are mistakes', () => {
    expect(wrong(['deploy'])).toEqual(['deploy'])
    expect(wrong(['serve', 'now', 'please'])).toEqual(['now', 'please'])
    expect(wrong(['check', 'serve'])).toEqual(['serve'])
  })
  test('an unknown flag is a mistake, once, with the nearest one as a hint', () => {
    expect(mistakes(['--jwks', 'https://x.example'])).toEqual([
      { setting: '--jwks', message: 'is not a flag', hint: 'did you mean --jwks-url?' },
    ])
    expect(mistakes(['--ratelimit-rpm=5'])[0]?.hint).toBe('did you mean --rate-limit-rpm?')
    expect(mistakes(['--zzz'])[0]?.hint).toBe('postern --help shows every flag')
    for (const odd of ['-', '--=x', '-5', '-x']) expect(wrong([odd])).toHaveLength(1)
    expect(mistakes(['-'])[0]?.hint).toBe('postern --help shows every flag')
  })
  test('a flag after -- is no flag', () => {
    expect(wrong(['--', '--port'])).toEqual(['--port'])
  })
  test('a flag without its value is reported with the other mistakes', () => {
    expect(wrong(['--log-level=x', '--port'])).toEqual(['--port', '--log-level'])
  })
  test('--version and --help are answers, whatever else is wrong', () => {
    for (const args of [['--version'], ['-V'], ['--port=x', '--help'], ['-h', 'nonsense']]) {
      const invocation = readInvocation(args, {})
      expect(invocation.kind).toBe('text')
    }
    const invocation = readInvocation(['--version'], {})
    expect(invocation.kind === 'text' && invocation.text).toMatch(
      /^postern \d+\.\d+\.\d+ \(.+, bun \d+\.\d+\.\d+\)\n$/,
    )
  })
})
