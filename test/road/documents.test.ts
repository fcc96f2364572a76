// The documents of the upstream that anybody may ask for: its HPKE keys and its attestation. So
// they are asked once for many, limited for each address, and no key of ours goes along.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { API_KEY, type Scene, scene } from '../support/gate.ts'
import { errorOf, eventually } from '../support/sink.ts'
import { exchange, head } from '../support/wire.ts'

let at: Scene
let limited: Scene
let behind: Scene
beforeAll(async () => {
  const limits = { PUBLIC_RATE_LIMIT_RPM: '6', RATE_LIMIT_BURST: '2' }
  const all = await Promise.all([
    scene(),
    scene({ env: limits }),
    scene({ env: { ...limits, TRUSTED_PROXIES: '127.0.0.1' } }),
  ])
  ;[at, limited, behind] = all
  at.upstream.respond((request, response) => {
    const keys = request.url === '/.well-known/hpke-keys'
    const type = keys ? 'application/ohttp-keys' : 'application/json'
    response.writeHead(200, { 'content-type': type, 'set-cookie': 'a=b', server: 'evil' })
    response.end(`${request.method} ${request.url}`)
  })
})
afterAll(() => Promise.all([at.close(), limited.close(), behind.close()]))

const seenAt = (path: string, method = 'GET') =>
  at.upstream.seen.filter((each) => each.url === path && each.method === method)

describe('GET', () => {
  for (const [path, type] of [
    ['/.well-known/hpke-keys', 'application/ohttp-keys'],
    ['/attestation', 'application/json'],
  ] as const) {
    test(`${path}: a hundred at once are one at the upstream, without our key`, async () => {
      const headers = {
        authorization: 'Bearer client',
        cookie: 'a=b',
        'x-forwarded-for': '1.2.3.4',
      }
      const answers = await Promise.all(
        Array.from({ length: 100 }, () => fetch(at.gate.url + path, { headers })),
      )
      for (const answer of answers) {
        expect([answer.status, await answer.text()]).toEqual([200, `GET ${path}`])
        // The exact media type: clients of EHBP take no other.
        expect(answer.headers.get('content-type')).toBe(type)
        expect(answer.headers.get('set-cookie')).toBeNull()
        expect(answer.headers.get('server')).toBeNull()
      }
      const seen = seenAt(path)
      expect(seen).toHaveLength(1)
      expect(Object.keys(seen[0]?.headers ?? {}).toSorted()).toEqual([
        'accept',
        'host',
        'user-agent',
      ])
      expect(JSON.stringify(seen)).not.toContain(API_KEY)
    })

    test(`${path}: afterwards it is remembered, whatever the query`, async () => {
      await fetch(at.gate.url + path).then((response) => response.bytes())
      const before = at.upstream.seen.length
      for (const query of ['', '?nonce=1', '?../admin']) {
        const response = await fetch(at.gate.url + path + query)
        expect(await response.text()).toBe(`GET ${path}`)
      }
      expect(at.upstream.seen.length).toBe(before)
    })
  }
})

describe('POST /attestation', () => {
  const post = (body: string, on = at): Promise<Response> =>
    fetch(`${on.gate.url}/attestation`, { method: 'POST', body })

  test('passes its body on, once for many that are the same', async () => {
    const body = '{"enclaveUrl":"https://a.tinfoil.sh","repo":"x"}'
    const answers = await Promise.all(Array.from({ length: 50 }, () => post(body)))
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
    const seen = seenAt('/attestation', 'POST').filter((each) => each.body.toString() === body)
    expect(seen).toHaveLength(1)
    expect(seen[0]?.headers.authorization).toBeUndefined()
    expect(seen[0]?.headers['content-type']).toBe('application/json')
  })

  test('is a request of its own for each body', async () => {
    await Promise.all([post('{"repo":"one"}'), post('{"repo":"two"}')])
    const bodies = seenAt('/attestation', 'POST').map((each) => each.body.toString())
    expect(bodies).toContain('{"repo":"one"}')
    expect(bodies).toContain('{"repo":"two"}')
  })

  test('takes 4096 bytes and not one more', async () => {
    expect((await post('x'.repeat(4096))).status).toBe(200)
    const before = at.upstream.seen.length
    const response = await post('x'.repeat(4097))
    expect(response.status).toBe(413)
    expect(errorOf(await response.text())['message']).toBe('request body exceeds 4096 bytes')
    expect(at.upstream.seen.length).toBe(before)
  })

  test('takes no body of unknown length: 411', async () => {
    const lines = ['POST /attestation HTTP/1.1', 'Host: gate.test', 'Transfer-Encoding: chunked']
    const [answer] = await exchange(at.gate.port, `${head(...lines)}2\r\n{}\r\n0\r\n\r\n`)
    expect(answer?.status).toBe(411)
    expect(errorOf(answer?.body ?? '')['code']).toBe('length_required')
  })
})

describe('an upstream that fails', () => {
  test('is not remembered', async () => {
    const on = await scene()
    let status = 500
    on.upstream.respond((_request, response) => void response.writeHead(status).end('{}'))
    const ask = async (): Promise<number> => (await fetch(`${on.gate.url}/attestation`)).status
    expect(await ask()).toBe(500)
    status = 200
    expect(await ask()).toBe(200)
    await on.close()
  })

  test('by a redirect is 502 and not followed', async () => {
    const on = await scene()
    on.upstream.respond((_request, response) => {
      response.writeHead(302, { location: `${on.upstream.url}/elsewhere` }).end()
    })
    const response = await fetch(`${on.gate.url}/.well-known/hpke-keys`, { redirect: 'manual' })
    expect(response.status).toBe(502)
    expect(errorOf(await response.text())['code']).toBe('upstream_invalid')
    expect(on.upstream.seen).toHaveLength(1)
    await on.close()
  })

  test('by a document of 5 MB is 502', async () => {
    const on = await scene()
    on.upstream.respond((_request, response) => void response.end(Buffer.alloc(5_000_000)))
    expect((await fetch(`${on.gate.url}/attestation`)).status).toBe(502)
    await eventually(async () => on.upstream.connections.open === 0)
    await on.close()
  })
})

describe('attack 29: the limit of an address', () => {
  const ask = (on: Scene, forwardedFor?: string): Promise<Response> =>
    fetch(`${on.gate.url}/attestation`, {
      headers: forwardedFor === undefined ? {} : { 'x-forwarded-for': forwardedFor },
    })
  const statuses = async (on: Scene, ...forwarded: readonly (string | undefined)[]) => {
    const found: number[] = []
    for (const each of forwarded) found.push((await ask(on, each)).status)
    return found
  }

  test('counts all proxied routes together, says when, and believes no stranger’s header', async () => {
    expect(await statuses(limited, '192.0.2.1', '192.0.2.2', '192.0.2.3')).toEqual([200, 200, 429])
    const refused = await fetch(`${limited.gate.url}/.well-known/hpke-keys`)
    expect(refused.status).toBe(429)
    expect(Number(refused.headers.get('retry-after'))).toBeWithin(9, 11)
    expect(errorOf(await refused.text())['code']).toBe('rate_limit_exceeded')
    expect((await fetch(`${limited.gate.url}/health`)).status).toBe(200)
  })

  test("behind a trusted proxy is the client's, from the last hop", async () => {
    expect(await statuses(behind, '192.0.2.1', '192.0.2.1', '192.0.2.1')).toEqual([200, 200, 429])
    expect(await statuses(behind, '192.0.2.2')).toEqual([200])
    // What a client put there itself stands further left, and is not looked at.
    expect(await statuses(behind, '198.51.100.9, 192.0.2.1')).toEqual([429])
    // One IPv6 customer has a /64; a mapped address is the IPv4 one.
    const six = ['2001:db8::1', '2001:db8::ffff:1', '2001:db8:0:0:9::']
    expect(await statuses(behind, ...six)).toEqual([200, 200, 429])
    expect(await statuses(behind, '::ffff:192.0.2.1')).toEqual([429])
  })
})
