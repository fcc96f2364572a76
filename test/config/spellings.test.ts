import { describe, expect, test } from 'bun:test'
import type { ProcessEnvironment } from '../../src/config/given.ts'
import { mistakes, PRODUCTION, settings, wrong } from './reading.ts'

describe('ADDR', () => {
  test.each([
    [':8080', '0.0.0.0', 8080],
    ['127.0.0.1:1', '127.0.0.1', 1],
    ['[::1]:443', '::1', 443],
    ['gate.internal:65535', 'gate.internal', 65_535],
  ])('%p', (addr, host, port) => {
    expect(settings([], { ...PRODUCTION, ADDR: addr })).toMatchObject({ host, port })
    expect(settings([`--addr=${addr}`])).toMatchObject({ host, port })
  })
  test.each(['8080', 'host', '::1:80', ':65536', ':x', 'a:b:1', ':-1', '[::1]', ':'])(
    'is not an address: %p',
    (addr) => expect(wrong([`--addr=${addr}`])).toEqual(['--addr']),
  )
  test('is not given together with HOST or PORT', () => {
    expect(wrong(['--addr=:1', '--port=2'])).toEqual(['--addr'])
    expect(wrong([], { ...PRODUCTION, ADDR: ':1', HOST: '127.0.0.1' })).toEqual(['ADDR'])
  })
})

describe("system C's spelling of the rate", () => {
  const rate = (env: ProcessEnvironment, args: readonly string[] = []) => {
    const { rateLimitRpm, rateLimitBurst } = settings(args, { ...PRODUCTION, ...env })
    return [rateLimitRpm, rateLimitBurst]
  }
  test('is a window and how many fit in it', () => {
    expect(rate({ RATE_LIMIT_MAX: '100', RATE_LIMIT_WINDOW: '60000' })).toEqual([100, 100])
    expect(rate({ RATE_LIMIT_MAX: '100' })).toEqual([100, 100])
    expect(rate({ RATE_LIMIT_MAX: '10', RATE_LIMIT_WINDOW: '1000' })).toEqual([600, 10])
    expect(rate({ RATE_LIMIT_MAX: '5', RATE_LIMIT_WINDOW: '3600000' })).toEqual([5 / 60, 5])
    expect(rate({}, ['--rate-limit-max=7'])).toEqual([7, 7])
  })
  test('is not given together with ours', () => {
    for (const ours of ['RATE_LIMIT_RPM', 'RATE_LIMIT_BURST']) {
      for (const theirs of ['RATE_LIMIT_MAX', 'RATE_LIMIT_WINDOW']) {
        const env = { ...PRODUCTION, [ours]: '10', [theirs]: '5000' }
        expect([ours, wrong([], env)]).toEqual([ours, [theirs]])
      }
    }
  })
  test('a window without a number is a mistake, and not no limit', () => {
    expect(mistakes([], { ...PRODUCTION, RATE_LIMIT_WINDOW: '60000' })).toEqual([
      {
        setting: 'RATE_LIMIT_WINDOW',
        message: 'is given without RATE_LIMIT_MAX',
        hint: 'a window needs a number of requests',
      },
    ])
  })
  test('neither 0 nor a wrong number is no limit', () => {
    for (const max of ['0', '-1', 'x']) {
      expect(wrong([], { ...PRODUCTION, RATE_LIMIT_MAX: max })).toEqual(['RATE_LIMIT_MAX'])
    }
  })
})
