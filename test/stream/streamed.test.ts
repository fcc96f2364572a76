// What proxies in front are told of an answer that comes in pieces.

import { describe, expect, test } from 'bun:test'
import { sayStreamed } from '../../src/relay/streamed.ts'

function said(type: string | undefined, cacheControl?: string): (string | null)[] {
  const headers = new Headers({
    ...(type !== undefined && { 'content-type': type }),
    ...(cacheControl !== undefined && { 'cache-control': cacheControl }),
  })
  sayStreamed(headers)
  return [headers.get('x-accel-buffering'), headers.get('cache-control')]
}

describe('a streamed answer', () => {
  test.each([
    'text/event-stream',
    'text/event-stream; charset=utf-8',
    'Text/Event-Stream;charset=utf-8',
    'application/x-ndjson',
    'application/jsonl',
    'audio/mpeg',
  ])('of %p is not to be held back', (type) => {
    expect(said(type)).toEqual(['no', 'no-cache, no-transform'])
  })
  test.each([
    ['no-store', 'no-store, no-cache, no-transform'],
    ['no-cache', 'no-cache, no-transform'],
    ['No-Cache', 'No-Cache, no-transform'],
    ['no-cache, no-transform', 'no-cache, no-transform'],
    ['private, max-age=0, no-store', 'private, max-age=0, no-store, no-cache, no-transform'],
    ['no-cache="set-cookie"', 'no-cache="set-cookie", no-cache, no-transform'],
    ['', 'no-cache, no-transform'],
  ])('keeps what the upstream said: %p', (cacheControl, becomes) => {
    expect(said('text/event-stream', cacheControl)).toEqual(['no', becomes])
  })
})

test.each([
  'application/json',
  'text/event-streams',
  'application/octet-stream',
  'text/html; a=text/event-stream',
  undefined,
])('an answer of %p goes as it came', (type) => {
  expect(said(type, 'max-age=60')).toEqual([null, 'max-age=60'])
})
