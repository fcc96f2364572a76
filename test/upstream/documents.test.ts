// The public documents, over a real socket: asked once, kept for a moment, and never with our key.

import { afterEach, beforeEach, expect, test } from 'bun:test'
import { gzipSync } from 'node:zlib'
import { asking } from '../../src/http1/ask.ts'
import type { PublicDocuments } from '../../src/upstream/documents.ts'
import { documents } from '../../src/upstream/tinfoil/documents.ts'
import { type Transport, transport } from '../../src/http1/transport.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'

let upstream: Upstream
let wire: Transport
let at: PublicDocuments
beforeEach(async () => {
  upstream = await startUpstream()
  wire = transport()
  at = documents({
    ask: asking(wire, { connectMs: 30_000, headersMs: 3000, bodyMs: 3000 }),
    baseUrl: new URL(`${upstream.url}/base//`),
    attestationUrl: new URL(upstream.url),
  })
})
afterEach(async () => {
  wire.close()
  await upstream.close()
})
const now = (): number => performance.now()
const post = (text: string) => at.attestation(Buffer.from(text), now())
const code = async (asked: ReturnType<PublicDocuments['hpkeKeys']>): Promise<unknown> => {
  const document = await asked
  return document.ok ? document.value.status : document.code
}

test('200 concurrent clients cause one request, and later ones within the moment cause none', async () => {
  const all = await Promise.all(Array.from({ length: 200 }, () => at.hpkeKeys(now())))
  await at.hpkeKeys(now())
  expect(new Set(all.map((each) => each.ok && Buffer.from(each.value.body).toString()))).toEqual(
    new Set(['{"ok":true}']),
  )
  expect(upstream.seen).toHaveLength(1)
  await at.hpkeKeys(now() + 5001)
  expect(upstream.seen).toHaveLength(2)
})

test('no credential goes along, and the base path does', async () => {
  await at.hpkeKeys(now())
  await at.attestation(undefined, now())
  await post('{"repo":"a"}')
  expect(upstream.seen.map(({ method, url }) => `${method} ${url}`)).toEqual([
    'GET /base/.well-known/hpke-keys',
    'GET /attestation',
    'POST /attestation',
  ])
  for (const { headers } of upstream.seen) {
    expect(Object.keys(headers).filter((name) => /authorization|key|cookie/.test(name))).toEqual([])
  }
  expect(upstream.seen[2]?.body.toString()).toBe('{"repo":"a"}')
})

test('two bodies are two documents', async () => {
  upstream.respond((_request, response, body) => void response.end(body))
  const text = async (body: string): Promise<unknown> => {
    const document = await post(body)
    return document.ok && Buffer.from(document.value.body).toString()
  }
  expect([await text('a'), await text('b'), await text('a')]).toEqual(['a', 'b', 'a'])
  expect(upstream.seen).toHaveLength(2)
})

test('only a 200 is kept', async () => {
  upstream.respond((_request, response) => void response.writeHead(503).end('down'))
  expect([await code(at.hpkeKeys(now())), await code(at.hpkeKeys(now()))]).toEqual([503, 503])
  expect(upstream.seen).toHaveLength(2)
  upstream.respond((_request, response) => void response.end('up'))
  expect(await code(at.hpkeKeys(now()))).toBe(200)
})

test('a redirect, a hang, a body cut off, one of 5 MiB and a closed door are refusals', async () => {
  upstream.respond((_request, response) => void response.writeHead(302, { location: '/x' }).end())
  expect(await code(at.hpkeKeys(now()))).toBe('upstream_invalid')
  upstream.respond(() => {})
  expect(await code(at.hpkeKeys(now()))).toBe('upstream_timeout')
  upstream.respond((_request, response) => {
    response.writeHead(200, { 'content-length': 100 })
    response.write('half', () => response.socket?.destroy())
  })
  expect(await code(at.hpkeKeys(now()))).toBe('upstream_invalid')
  upstream.respond((_request, response) => void response.end(Buffer.alloc(5_242_880)))
  expect(await code(at.hpkeKeys(now()))).toBe('upstream_invalid')
  await upstream.close()
  expect(await code(at.hpkeKeys(now()))).toBe('upstream_unavailable')
})

test('a document that is compressed without a request for it passes unchanged', async () => {
  upstream.respond((_request, response) => {
    response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync('{"format":"x"}'))
  })
  const document = await at.attestation(undefined, now())
  expect(document.ok && Buffer.from(document.value.body).toString()).toBe('{"format":"x"}')
})
