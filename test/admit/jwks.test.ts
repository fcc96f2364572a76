// The identity provider's keys over a real socket: what is taken from a set, how often it is asked,
// and what an outage, a liar or a rotation does.

import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { generateKeyPairSync } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import type { KeySource } from '../../src/admit/jwks.ts'
import { type KeySet, parseKeySet } from '../../src/admit/key-set.ts'
import { until } from '../support/binary.ts'
import { afterCooldown, collector, type KeyServer, keyServer, source } from '../support/keys.ts'
import { type Json, mint } from '../support/mint.ts'
import type { Respond } from '../support/upstream.ts'
import { PATIENCE_MS } from '../support/patience.ts'
import { eventually } from '../support/sink.ts'

const a = mint('a')
const b = mint('b')
const now = (): number => performance.now()
const bomb = gzipSync(JSON.stringify({ keys: [b.jwk] }) + ' '.repeat(33_554_432))

const setOf = (...keys: unknown[]): Promise<KeySet> => parseKeySet(JSON.stringify({ keys }))
const parsed = async (...keys: unknown[]): Promise<string[]> =>
  (await setOf(...keys)).keys.map(({ kid }) => kid)
const jwkOf = (type: 'rsa' | 'ed25519' | 'P-384' | 'P-521', modulusLength = 2048): Json => {
  const { publicKey } =
    type === 'rsa'
      ? generateKeyPairSync('rsa', { modulusLength })
      : type === 'ed25519'
        ? generateKeyPairSync('ed25519')
        : generateKeyPairSync('ec', { namedCurve: type })
  return { ...publicKey.export({ format: 'jwk' }), kid: type }
}

const rsa = jwkOf('rsa')

describe('of a set, only the public keys of algorithms that are taken are taken', () => {
  const ignored: readonly (readonly [string, unknown])[] = [
    ['a private key', b.privateJwk],
    ['a symmetric key', { kty: 'oct', k: 'c2VjcmV0', kid: 'b', alg: 'HS256' }],
    [
      'a symmetric key that calls itself ES256',
      { kty: 'oct', k: 'c2VjcmV0', kid: 'b', alg: 'ES256' },
    ],
    ['an RSA key of 1024 bits', jwkOf('rsa', 1024)],
    ['an RSA key of 2047 bits', jwkOf('rsa', 2047)],
    ['an RSA key with an e of 1', { ...rsa, e: 'AQ' }],
    ['an RSA key with an even e', { ...rsa, e: 'AQAC' }],
    ['an RSA key with an e of 5 bytes', { ...rsa, e: 'AQAAAAE' }],
    ['an RSA key without n', { ...rsa, n: undefined }],
    ['an RSA key for ES256', { ...rsa, alg: 'ES256' }],
    ['an RSA key for HS256', { ...rsa, alg: 'HS256' }],
    ['an RSA key for RSA-OAEP', { ...rsa, alg: 'RSA-OAEP' }],
    ['an RSA key for none', { ...rsa, alg: 'none' }],
    ['a key of P-256 for RS256', { ...b.jwk, alg: 'RS256' }],
    ['a key of P-256 for EdDSA', { ...b.jwk, alg: 'EdDSA' }],
    ['an Ed25519 key for ES256', { ...jwkOf('ed25519'), alg: 'ES256' }],
    ['an Ed25519 key of 31 bytes', { ...jwkOf('ed25519'), x: 'A'.repeat(42) }],
    ['an X25519 key', { ...jwkOf('ed25519'), crv: 'X25519' }],
    ['an Ed448 key', { ...jwkOf('ed25519'), crv: 'Ed448' }],
    ['an EC key on the curve Ed25519', { ...b.jwk, crv: 'Ed25519' }],
    ['a key of secp256k1', { ...b.jwk, crv: 'secp256k1' }],
    ['a key of P-384 that calls itself P-256', { ...jwkOf('P-384'), crv: 'P-256' }],
    ['a key of P-256 for ES384', { ...b.jwk, alg: 'ES384' }],
    ['a key for encryption', { ...b.jwk, use: 'enc' }],
    ['a key that may only sign', { ...b.jwk, key_ops: ['sign'] }],
    ['operations that are no list', { ...b.jwk, key_ops: 'verify' }],
    ['a key without a kid', { ...b.jwk, kid: undefined }],
    ['an empty kid', { ...b.jwk, kid: '' }],
    ['a kid that is a number', { ...b.jwk, kid: 1 }],
    ['a point that is not on the curve', { ...b.jwk, y: b.jwk['x'] }],
    ['the point at infinity', { ...b.jwk, x: 'A'.repeat(43), y: 'A'.repeat(43) }],
    ['a coordinate cut short', { ...b.jwk, x: String(b.jwk['x']).slice(0, 40) }],
    ['a missing coordinate', { ...b.jwk, y: undefined }],
    ['a coordinate that is a number', { ...b.jwk, x: 5 }],
    ['null', null],
    ['a string', 'key'],
    ['a list', [b.jwk]],
  ]
  for (const [name, entry] of ignored) {
    test(`not ${name}`, async () => {
      expect(await parsed(entry, a.jwk)).toEqual(['a'])
      expect(await parsed(a.jwk, entry)).toEqual(['a'])
      expect(parsed(entry)).rejects.toThrow('no usable key in the set')
    })
  }
  test('alg, use and key_ops may be absent', async () => {
    expect(await parsed({ ...a.jwk, alg: undefined, use: undefined })).toEqual(['a'])
    expect(await parsed({ ...a.jwk, key_ops: ['verify'] })).toEqual(['a'])
  })
  test('a key that is listed three times is one key', async () => {
    const { keys, dropped } = await setOf(a.jwk, a.jwk, { ...a.jwk, x5c: ['AA'] }, b.jwk)
    expect(keys.map(({ kid, keys }) => [kid, keys.length])).toEqual([
      ['a', 1],
      ['b', 1],
    ])
    expect(dropped).toEqual([])
  })
  test('different keys under one kid all serve, up to four', async () => {
    const others = ['c', 'd', 'e', 'f'].map((name) => Object.assign(mint(name).jwk, { kid: 'a' }))
    const { keys, dropped } = await setOf(a.jwk, b.jwk, ...others)
    expect(keys.map(({ kid, keys }) => [kid, keys.length])).toEqual([
      ['a', 4],
      ['b', 1],
    ])
    expect(dropped.map(({ name }) => name)).toEqual(['a'])
  })
  test('without an alg a key serves each algorithm of its type, and with one that alone', async () => {
    const algorithms = async (jwk: Json): Promise<unknown> =>
      (await setOf(jwk)).keys[0]?.keys[0]?.algorithms
    expect(await algorithms(rsa)).toEqual(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'])
    expect(await algorithms({ ...rsa, alg: 'RS256' })).toEqual(['RS256'])
    expect(await algorithms({ ...rsa, alg: 'PS256' })).toEqual(['PS256'])
    expect(await algorithms({ ...a.jwk, alg: undefined })).toEqual(['ES256'])
    expect(await algorithms(jwkOf('P-384'))).toEqual(['ES384'])
    expect(await algorithms(jwkOf('P-521'))).toEqual(['ES512'])
    expect(await algorithms(jwkOf('ed25519'))).toEqual(['EdDSA', 'Ed25519'])
  })
  test('keys of different types under one kid all serve', async () => {
    const { keys } = await setOf({ ...rsa, kid: 'a' }, a.jwk, { ...jwkOf('ed25519'), kid: 'a' })
    expect(keys.map(({ kid, keys }) => [kid, keys.map((each) => each.algorithms[0])])).toEqual([
      ['a', ['RS256', 'ES256', 'EdDSA']],
    ])
  })
  test('a modulus with a zero in front is the same modulus', async () => {
    const n = Buffer.concat([Buffer.alloc(1), Buffer.from(String(rsa['n']), 'base64url')])
    const { keys } = await setOf(rsa, { ...rsa, n: n.toString('base64') })
    expect(keys.map(({ keys }) => keys.map((each) => each.signatureBytes))).toEqual([[256]])
  })
  test('of more keys, four thousand are used and the rest is logged', async () => {
    const many = Array.from({ length: 4100 }, (_, at) => ({ ...a.jwk, kid: `k${at}` }))
    const { keys, dropped } = await setOf(...many)
    expect(keys).toHaveLength(4000)
    expect(dropped).toEqual([
      { name: 'entries 4001 to 4100', why: 'the set is too long', foreign: false },
    ])
  })
  test('a coordinate without its leading zeros, or with one more, is the same point', async () => {
    const bytes = (text: unknown): Buffer => Buffer.from(String(text), 'base64url')
    const [x, y] = [bytes(a.jwk['x']), bytes(a.jwk['y'])]
    const longer = { ...a.jwk, x: Buffer.concat([Buffer.alloc(1), x]).toString('base64url') }
    const padded = { ...a.jwk, y: y.toString('base64') }
    const { keys } = await setOf(a.jwk, longer, padded)
    expect(keys.map(({ keys }) => keys.length)).toEqual([1])
  })
})

describe('invalid key sets', () => {
  const good = JSON.stringify({ keys: [a.jwk] })
  for (const text of [
    '',
    'null',
    '[]',
    '{}',
    '{"keys":{}}',
    '{"keys":null}',
    '{"keys":[]}',
    '<html>',
    `[${good}]`,
    good.slice(0, -1),
    good.replace('{"keys"', '{"keys":[],"keys"'),
  ]) {
    test(JSON.stringify(text.slice(0, 40)), () => {
      expect(parseKeySet(text)).rejects.toThrow()
    })
  }
})

describe('one bad entry costs no other its life', () => {
  const good = JSON.stringify(a.jwk)
  const rsa = JSON.stringify(jwkOf('rsa'))
  const bad: Readonly<Record<string, string>> = {
    'an RSA key with a member twice': rsa.replace('"n":', '"use":"sig","use":"enc","n":'),
    'a key of ES256 with a member twice': JSON.stringify(b.jwk).replace('{', '{"kid":"x",'),
    'a member twice, deep inside': '{"kty":"EC","kid":"x","more":{"a":[{"b":1,"b":2}]}}',
    'a member twice, once by an escape': '{"kty":"EC","kid":"x","kt\\u0079":"RSA"}',
    'brackets and commas in texts': '{"kty":"]},{","kid":"\\"]}","x":["}"]}',
    nothing: '{}',
    'a number': '17',
    'a list': '[[],{}]',
  }
  for (const [name, entry] of Object.entries(bad)) {
    test(name, async () => {
      for (const entries of [
        `${entry},${good}`,
        `${good} , ${entry}`,
        `${entry},${good},${entry}`,
      ]) {
        const { keys, dropped } = await parseKeySet(`{"keys": [ ${entries} ]}`)
        expect(keys.map(({ kid }) => kid)).toEqual(['a'])
        expect(dropped.length).toBeGreaterThan(0)
      }
    })
  }
  test('members around the list may be odd, and a byte order mark may come first', async () => {
    for (const text of [
      `\uFEFF{"keys":[${good}]}`,
      `\uFEFF \n{ "a" : {"keys":[]}, "a": "keys", "keys"\n:\t[${good}] , "b":-1e3 } `,
      `{"b":[1,2,{"keys":null}],"keys":[${good}],"c":null}`,
    ]) {
      expect((await parseKeySet(text)).keys.map(({ kid }) => kid)).toEqual(['a'])
    }
  })
})

describe('over the network', () => {
  let server: KeyServer
  let keys: KeySource
  beforeEach(async () => {
    server = await keyServer([a.jwk])
    keys = source(server)
  })
  afterEach(async () => {
    keys.stop()
    await server.close()
  })
  const knows = async (kid: string, at = now()): Promise<boolean> => (await keys.lookup(kid, at)).ok
  const code = async (kid: string, at = now()): Promise<string> => {
    const found = await keys.lookup(kid, at)
    return found.ok ? 'ok' : found.code
  }

  test('200 lookups at once are one request', async () => {
    const found = await Promise.all(Array.from({ length: 200 }, () => knows('a')))
    expect(found.every(Boolean)).toBe(true)
    expect(server.asked).toBe(1)
  })

  test('10,000 random kids within the cooldown ask nothing, and after it once', async () => {
    expect(await knows('a')).toBe(true)
    const storm = (at: number): Promise<string[]> =>
      Promise.all(Array.from({ length: 10_000 }, (_, n) => code(`random-${n}`, at)))
    expect(new Set(await storm(now()))).toEqual(new Set(['unknown_kid']))
    expect(new Set(await storm(now() + 29_000))).toEqual(new Set(['unknown_kid']))
    expect(server.asked).toBe(1)
    expect(new Set(await storm(afterCooldown()))).toEqual(new Set(['unknown_kid']))
    expect(server.asked).toBe(2)
  })

  test('a known kid never asks, however old the set is', async () => {
    expect(await knows('a')).toBe(true)
    expect(await knows('a', now() + 3_600_000)).toBe(true)
    expect(server.asked).toBe(1)
  })

  test('a new kid is found after the cooldown, without a timer', async () => {
    expect(await knows('b')).toBe(false)
    server.serve([a.jwk, b.jwk])
    expect(await knows('b')).toBe(false)
    expect(await knows('b', afterCooldown())).toBe(true)
  })

  test('a withdrawn key is dead with the next read of the set', async () => {
    expect(await knows('a')).toBe(true)
    server.serve([b.jwk])
    expect(await knows('b', afterCooldown())).toBe(true)
    expect(keys.current('a', now())).toBeUndefined()
    expect(await code('a')).toBe('unknown_kid')
  })

  test('a key that stays is the same object after a refresh, one that changed is another', async () => {
    await knows('a')
    const before = keys.current('a', now())
    server.serve([a.jwk, b.jwk])
    await knows('b', afterCooldown())
    expect(keys.current('a', now())).toBe(before as never)
    server.serve([{ ...b.jwk, kid: 'a' }])
    await knows('c', afterCooldown())
    const after = keys.current('a', now())
    expect(after).toBeDefined()
    expect(after).not.toBe(before as never)
  })

  test('120 keys of other algorithms beside ours, of an odd type, with a query', async () => {
    const { log, text } = collector()
    const others = Array.from({ length: 120 }, (_, at) =>
      Object.assign(jwkOf('P-384'), { kid: `o${at}`, crv: 'secp256k1' }),
    )
    const broken = { ...b.jwk, y: undefined }
    server.respond((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/octet-stream' })
      response.end(`\uFEFF${JSON.stringify({ keys: [...others, broken, a.jwk] })}`)
    })
    const url = new URL('/keys?p=b2c_1', server.url)
    keys = source({ ...server, url }, { log, refreshMs: 10 })
    keys.start()
    await until(() => server.asked >= 4)
    expect(await knows('a')).toBe(true)
    const told = text()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(told).toEqual([
      expect.objectContaining({
        level: 30,
        entries: 120,
        kids: others
          .slice(0, 20)
          .map((o) => o.kid)
          .join(', '),
      }),
      expect.objectContaining({ level: 40, kids: 'b', why: expect.stringContaining('x or y') }),
    ])
  })

  test('dropped entries are logged again only if they have changed', async () => {
    const { log, text } = collector()
    keys = source(server, { log, refreshMs: 10 })
    const serveWith = async (...more: unknown[]): Promise<void> => {
      server.serve([a.jwk, ...more])
      const { asked } = server
      await until(() => server.asked >= asked + 3)
    }
    keys.start()
    await serveWith({ ...b.jwk, x: 1 })
    await serveWith({ ...b.jwk, x: 1 }, 1)
    expect(text().match(/"msg"/g)).toHaveLength(2)
    await serveWith()
    await serveWith({ ...b.jwk, x: 1 })
    expect(text().match(/"msg"/g)).toHaveLength(3)
  })

  const failing: readonly (readonly [string, Respond])[] = [
    ['500', (_request, response) => void response.writeHead(500).end('{"keys":[]}')],
    ['404', (_request, response) => void response.writeHead(404).end()],
    ['204', (_request, response) => void response.writeHead(204).end()],
    ['a hang before the headers', () => {}],
    [
      'a hang after the headers',
      (_request, response) => void response.writeHead(200, { 'content-length': 50 }).write('{'),
    ],
    ['garbage', (_request, response) => void response.end('\u0000\u0001garbage')],
    ['nothing', (_request, response) => void response.end()],
    ['an empty set', (_request, response) => void response.end('{"keys":[]}')],
    [
      'a private key',
      (_request, response) => void response.end(JSON.stringify({ keys: [b.privateJwk] })),
    ],
    ['a broken connection', (_request, response) => void response.socket?.destroy()],
    [
      'a body cut off',
      (_request, response) => {
        response.writeHead(200, { 'content-length': 1000 })
        response.write(JSON.stringify({ keys: [b.jwk] }), () => response.socket?.destroy())
      },
    ],
    [
      'more than 1 MiB, declared',
      (_request, response) => {
        const body = JSON.stringify({ keys: [b.jwk], pad: 'x'.repeat(1_048_577) })
        response.writeHead(200, { 'content-length': Buffer.byteLength(body) }).end(body)
      },
    ],
    [
      'more than 1 MiB, chunked',
      (_request, response) => {
        response.on('error', () => {})
        response.write(JSON.stringify({ keys: [b.jwk] }))
        const pour = (): void => {
          while (!response.destroyed && response.write(' '.repeat(65_536)));
          response.once('drain', pour)
        }
        pour()
      },
    ],
    [
      '32 MiB that arrive as 32 KiB of gzip',
      (_request, response) =>
        void response.writeHead(200, { 'content-encoding': 'gzip' }).end(bomb),
    ],
  ]
  for (const [name, respond] of failing) {
    test(`${name}: the last good keys stay, the log says so, and names no URL`, async () => {
      const { log, text } = collector()
      // A request waits for as long as the read takes.
      const patienceMs = PATIENCE_MS
      keys = source(server, { log, patienceMs, timeoutMs: name.includes('hang') ? 2000 : 5000 })
      expect(await knows('a')).toBe(true)
      const before = keys.current('a', now())
      server.respond(respond)
      expect(await code('b', afterCooldown())).toBe('unknown_kid')
      // Bun's fetch tries once more where a kept connection broke under it.
      expect(server.asked).toBeWithin(2, 4)
      expect(keys.current('a', now())).toBe(before as never)
      expect(keys.ready(now())).toBe(true)
      expect(text()).toContain('key set cannot be read')
      if (name.includes('MiB')) expect(text()).toContain('larger than 1 MiB')
      expect(text()).not.toContain('127.0.0.1')
    })
  }

  test('a hanging read delays no request for long, and none with a known key at all', async () => {
    keys = source(server, { timeoutMs: PATIENCE_MS, patienceMs: 200 })
    // A busy machine may take longer for the good read than a request waits.
    await eventually(() => knows('a'))
    server.respond(() => {})
    const started = now()
    const codes = await Promise.all(Array.from({ length: 20 }, () => code('b', afterCooldown())))
    expect(new Set(codes)).toEqual(new Set(['keys_unavailable']))
    expect(now() - started).toBeGreaterThan(190)
    expect(await knows('a')).toBe(true)
    expect(server.asked).toBe(2)
  })

  test('a redirect is not followed', async () => {
    expect(await knows('a')).toBe(true)
    server.respond((request, response) => {
      if (request.url === '/jwks.json') response.writeHead(302, { location: '/evil.json' }).end()
      else response.end(JSON.stringify({ keys: [b.jwk] }))
    })
    expect(await code('b', afterCooldown())).toBe('unknown_kid')
    expect(server.asked).toBe(2)
  })

  test('a key set that was never read is not a key that is unknown', async () => {
    server.respond((_request, response) => void response.writeHead(500).end())
    expect(await code('a')).toBe('keys_unavailable')
    expect(await code('a')).toBe('keys_unavailable')
    expect(keys.ready(now())).toBe(false)
    expect(server.asked).toBe(1)
    server.serve([a.jwk])
    expect(await code('a', afterCooldown())).toBe('ok')
    expect(keys.ready(now())).toBe(true)
  })

  test('keys older than the longest outage verify nothing', async () => {
    keys = source(server, { maxStaleMs: 60_000 })
    expect(await knows('a')).toBe(true)
    server.respond((_request, response) => void response.writeHead(500).end())
    expect(keys.current('a', now() + 59_000)).toBeDefined()
    expect(keys.ready(now() + 59_000)).toBe(true)
    expect(keys.current('a', now() + 60_001)).toBeUndefined()
    expect(keys.ready(now() + 60_001)).toBe(false)
    expect(await code('a', now() + 60_001)).toBe('keys_unavailable')
  })

  test('started, it reads the set by itself, recovers from a bad start, and sees a rotation', async () => {
    const { log, text } = collector()
    server.respond((_request, response) => void response.writeHead(503).end())
    keys = source(server, { refreshMs: 10, log })
    keys.start()
    await until(() => server.asked >= 3)
    expect(keys.ready(now())).toBe(false)
    server.serve([a.jwk])
    await until(() => keys.ready(now()))
    expect(keys.current('a', now())).toBeDefined()
    expect(text()).toContain('key set is back')
    server.serve([b.jwk])
    await until(() => keys.current('b', now()))
    expect(keys.current('a', now())).toBeUndefined()
  })

  test('after a failed start it asks again within about a second', async () => {
    server.respond((_request, response) => void response.writeHead(503).end())
    keys.start()
    await until(() => server.asked === 1)
    server.serve([a.jwk])
    await until(() => keys.ready(now()))
    // The regular time to refresh is minutes away.
    expect(server.asked).toBe(2)
  })

  test('stopped, it asks no more, not even when stopped in the middle of a read', async () => {
    keys = source(server, { refreshMs: 5 })
    const { promise: released, resolve: release } = Promise.withResolvers<void>()
    server.respond(async (_request, response) => {
      await released
      response.end(JSON.stringify({ keys: [a.jwk] }))
    })
    keys.start()
    await until(() => server.asked === 1)
    keys.stop()
    release()
    await until(() => keys.ready(now()))
    await Bun.sleep(40)
    expect(server.asked).toBe(1)
  })
})
