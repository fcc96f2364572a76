// Where a request goes: the configured upstream, or the chosen enclave at the address that was
// checked for it.

import { describe, expect, test } from 'bun:test'
import { userAgent } from '../../src/version.ts'
import { Secret } from '../../src/secret.ts'
import type { Lookup } from '../../src/upstream/tinfoil/enclave.ts'
import { type Destination, destinationOf, placeUnder } from '../../src/http1/destination.ts'
import { tinfoil } from '../../src/upstream/tinfoil/tinfoil.ts'
import type { Asked } from '../../src/upstream/upstream.ts'

const apiKey = new Secret('tk-1')
const RULES = { requireEhbp: false, enclaveHosts: [], maxBodyBytes: 1_048_576 }
const at = (base: string, lookup: Lookup = () => Promise.reject(new Error('asked'))) =>
  tinfoil({ baseUrl: new URL(base), apiKey, lookup, ...RULES })
const asking = (search = '', enclaveHost?: string, path = '/v1/models'): Asked => ({
  method: 'GET',
  path,
  search,
  enclaveHost,
  sealed: false,
})
const placeOf = async (base: string, path = '/v1/models', search = ''): Promise<Destination> => {
  const to = await at(base).destination(asking(search, undefined, path), 0)
  if (!to.ok) throw new Error(to.code)
  return to.value
}
/** Answers one after the other, the last of them for ever, and counts. */
function resolver(...answers: readonly (readonly string[])[]) {
  const asked: string[] = []
  const lookup: Lookup = async (name) => {
    asked.push(name)
    return (answers[Math.min(asked.length, answers.length) - 1] ?? []).map((address) => ({
      address,
    }))
  }
  return { asked, lookup }
}

test.each([
  ['https://h.example', '', 443, '/v1/models', 'h.example'],
  ['https://h.example/', '', 443, '/v1/models', 'h.example'],
  ['https://h.example/api/', '', 443, '/api/v1/models', 'h.example'],
  ['https://h.example:8443/a/b', '', 8443, '/a/b/v1/models', 'h.example:8443'],
  ['http://h.example', '', 80, '/v1/models', 'h.example'],
  ['http://[::1]:81', '', 81, '/v1/models', '[::1]:81'],
  ['https://h.example', '?a=%20&b=?/../', 443, '/v1/models?a=%20&b=?/../', 'h.example'],
])('the base path goes before the route, the raw query after it: %p %p', async (...row) => {
  const [base, search, port, target, host] = row
  const { origin, opening } = await placeOf(base, '/v1/models', search)
  expect(opening).toBe(`${target} HTTP/1.1\r\nhost: ${host}\r\nuser-agent: ${userAgent}\r\n`)
  const { protocol, hostname } = new URL(base)
  expect(origin).toMatchObject({ tls: protocol === 'https:', port, address: undefined })
  expect(origin.hostname).toBe(hostname.replace(/[[\]]/g, ''))
})

describe('the host that gets our key is the one of the settings', () => {
  test.each([
    'https://h.example//',
    'https://h.example///',
    'https://h.example//evil.example',
    'https://h.example//evil.example/',
    'https://h.example/@evil.example',
  ])('%p', async (base) => {
    for (const { origin, opening } of [await placeOf(base), placeUnder(new URL(base), '/a')]) {
      expect(origin.hostname).toBe('h.example')
      expect(opening).toMatch(
        /^\/[^\s]+ HTTP\/1\.1\r\nhost: h\.example\r\nuser-agent: postern\/[\d.]+\r\n$/,
      )
    }
  })
  test.each([
    '?//evil.example',
    '?@evil.example',
    '?\\evil.example',
    '?x#@evil.example/',
    '?\t//evil',
    '?\r\nhost: evil.example',
    '? HTTP/1.1\r\nhost: evil.example\r\n',
  ])('with the query %p', async (search) => {
    const { origin, opening } = await placeOf('https://h.example', '/v1/models', search)
    expect(origin.hostname).toBe('h.example')
    expect(opening).toMatch(
      /^\/v1\/models\?[^\s]+ HTTP\/1\.1\r\nhost: h\.example\r\nuser-agent: postern\/[\d.]+\r\n$/,
    )
  })
})

test('the headers of the gate are its key and the wish for usage, and no more', () => {
  expect(at('https://h.example').requestHeaders(new Headers())).toEqual({
    authorization: 'Bearer tk-1',
    'x-tinfoil-request-usage-metrics': 'true',
  })
})

test('a chosen enclave is reached at the address that was checked, below no base path', async () => {
  const { lookup } = resolver(['1.1.1.1'])
  const to = await at('https://h.example/api', lookup).destination(asking('?a', 'e.tinfoil.sh'), 0)
  if (!to.ok) throw new Error(to.code)
  const there = new URL('https://e.tinfoil.sh/v1/models?a')
  expect(to.value).toEqual(destinationOf(there, '1.1.1.1'))
})

test('a name that answers public first and 127.0.0.1 then is never reached at 127.0.0.1', async () => {
  const { lookup, asked } = resolver(['1.1.1.1'], ['127.0.0.1'])
  const upstream = at('https://h.example', lookup)
  const address = async (now: number): Promise<unknown> => {
    const to = await upstream.destination(asking('', 'e.tinfoil.sh'), now)
    return to.ok ? to.value.origin.address : to.code
  }
  expect(await address(0)).toBe('1.1.1.1')
  expect(await address(29_999)).toBe('1.1.1.1')
  expect(asked).toEqual(['e.tinfoil.sh'])
  expect(await address(30_000)).toBe('enclave_not_allowed')
  expect(asked).toHaveLength(2)
})

test('a name without a public address is asked again after ten seconds', async () => {
  const { lookup, asked } = resolver(['10.0.0.1'], ['1.1.1.1'])
  const upstream = at('https://h.example', lookup)
  const found = async (now: number): Promise<boolean> =>
    (await upstream.destination(asking('', 'e.tinfoil.sh', '/'), now)).ok
  expect([await found(0), await found(9999)]).toEqual([false, false])
  expect(asked).toHaveLength(1)
  expect(await found(10_000)).toBe(true)
})

test('no name is remembered for another', async () => {
  const upstream = at('https://h.example', async (name) => [
    { address: name.startsWith('a') ? '1.1.1.1' : '8.8.8.8' },
  ])
  const address = async (host: string): Promise<unknown> => {
    const to = await upstream.destination(asking('', host, '/'), 0)
    return to.ok && to.value.origin.address
  }
  expect([
    await address('a.tinfoil.sh'),
    await address('b.tinfoil.sh'),
    await address('a.tinfoil.sh'),
  ]).toEqual(['1.1.1.1', '8.8.8.8', '1.1.1.1'])
})

test('10,000 names are remembered by the few', async () => {
  const { lookup, asked } = resolver(['1.1.1.1'])
  const upstream = at('https://h.example', lookup)
  for (let n = 0; n < 10_000; n += 1)
    await upstream.destination(asking('', `n${n}.tinfoil.sh`, '/'), 0)
  asked.length = 0
  for (let n = 0; n < 10_000; n += 1)
    await upstream.destination(asking('', `n${n}.tinfoil.sh`, '/'), 0)
  expect(asked.length).toBeGreaterThanOrEqual(10_000 - 256)
})

test('the routes of its own are served, and counting tokens costs nothing', () => {
  const upstream = at('https://h.example')
  const serves = (path: string) => upstream.serves({ dialect: 'openai', method: 'POST', path })
  const counting = ['/v1/chat/completions/input_tokens', '/v1/responses/input_tokens']
  const paths = [...counting, '/v1/audio/translations', '/v1/convert/file']
  expect(paths.map(serves)).toEqual([true, true, true, true])
  const head = { 'content-type': 'application/json' }
  for (const path of counting) {
    const meter = upstream.meter({ ...asking('', undefined, path), method: 'POST' }, 200, head)
    meter.push?.(Buffer.from('{"input_tokens":11}'), 1)
    expect(meter.end({}, true)).toMatchObject({ state: 'exact', inputTokens: 0, outputTokens: 0 })
  }
})

describe('a stream that announces its usage in a trailer', () => {
  const asked = { ...asking('', undefined, '/v1/chat/completions'), method: 'POST' as const }
  const head = { 'content-type': 'text/event-stream', trailer: 'X-Tinfoil-Usage-Metrics' }
  const chunks = (...data: readonly unknown[]) =>
    data.map((each) => Buffer.from(`data: ${JSON.stringify(each)}\n\n`))
  const word = { choices: [{ delta: { content: 'word' } }] }
  const read = (pieces: readonly Uint8Array[], trailers = {}) => {
    const meter = at('https://h.example').meter(asked, 200, head)
    for (const piece of pieces) meter.push?.(piece, 1)
    return meter.end(trailers, true)
  }
  const USED = { 'x-tinfoil-usage-metrics': 'prompt=7,completion=3,total=10' }

  test('is metered by the trailer', () => {
    expect(read(chunks(word, word), USED)).toMatchObject({ state: 'exact', outputTokens: 3 })
  })
  test('and without a trailer, by the last event', () => {
    const usage = { usage: { prompt_tokens: 7, completion_tokens: 4 }, choices: [] }
    expect(read(chunks(word, word, usage))).toMatchObject({ state: 'exact', outputTokens: 4 })
  })
  test('and an error in it is seen', () => {
    const error = { error: { type: 'server_error', message: 'm' } }
    expect(read(chunks(word, error), USED)).toMatchObject({ sawError: 'server_error' })
  })
})
