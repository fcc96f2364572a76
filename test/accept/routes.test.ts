// The table of routes: exact paths and methods, and nothing that a stranger's path could inherit.

import { describe, expect, test } from 'bun:test'
import { ALL_ROUTES, INFERENCE_ROUTES, isSilent, methodsOf } from '../../src/accept/routes.ts'

test('every route is there under its own path and method', () => {
  for (const { method, path } of ALL_ROUTES) expect(methodsOf(path)?.has(method)).toBe(true)
})

test('everything under /v1/ is protected, and nothing else is', () => {
  for (const { path, access } of ALL_ROUTES) {
    expect([path, access]).toEqual([path, path.startsWith('/v1/') ? 'protected' : 'public'])
  }
  expect(INFERENCE_ROUTES).toHaveLength(7)
})

test('only probes are silent and answer HEAD', () => {
  const silent = ALL_ROUTES.filter(({ path }) => isSilent(path)).map(({ path }) => path)
  expect(silent).toEqual(['/health', '/healthz', '/readyz'])
  for (const { path } of ALL_ROUTES) expect(methodsOf(path)?.has('HEAD')).toBe(isSilent(path))
})

describe('there is no such path', () => {
  test.each([
    '',
    '/',
    '/V1/models',
    '/v1/models/',
    '/v1/models;a',
    '/v1//models',
    '//v1/models',
    '/v1/../admin',
    '/v1/%6dodels',
    '/v1%2fmodels',
    '/v1\\models',
    '/v1/models%00',
    '/v1/chat/completions/x',
    '/v1/chat',
    '/health.json',
    '/HEALTH',
    '__proto__',
    'constructor',
    '-',
  ])('%p', (path) => expect(methodsOf(path)).toBeUndefined())
})
