import { describe, expect, test } from 'bun:test'
import { PRODUCTION, settings, wrong } from './reading.ts'

describe('variables that would break its promises', () => {
  test('NODE_TLS_REJECT_UNAUTHORIZED=0 stops a start, in development mode too', () => {
    const env = { NODE_TLS_REJECT_UNAUTHORIZED: '0' }
    expect(wrong([], { ...PRODUCTION, ...env })).toEqual(['NODE_TLS_REJECT_UNAUTHORIZED'])
    expect(wrong(['--dev-mode'], env)).toEqual(['NODE_TLS_REJECT_UNAUTHORIZED'])
    expect(settings([], { ...PRODUCTION, NODE_TLS_REJECT_UNAUTHORIZED: '1' }).port).toBe(5381)
  })
  test('BUN_OPTIONS stops a start in production', () => {
    expect(wrong([], { ...PRODUCTION, BUN_OPTIONS: '--inspect' })).toEqual(['BUN_OPTIONS'])
    expect(settings([], { ...PRODUCTION, BUN_OPTIONS: '' }).port).toBe(5381)
  })
  test.each([
    'BUN_INSPECT',
    'BUN_INSPECT_CONNECT_TO',
    'BUN_INSPECT_PRELOAD',
    'BUN_CONFIG_VERBOSE_FETCH',
  ])('%s, which the compiled binary obeys, stops a start in production', (name) => {
    expect(wrong([], { ...PRODUCTION, [name]: '1' })).toEqual([name])
    expect(settings(['--dev-mode'], { [name]: '1' }).devMode).toBe(true)
  })
})
