// Attack 56: sealed requests. The gate reads none of them; it only never makes an answer look
// sealed, or a refusal of its own look like one of the enclave's.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { ENCAPSULATED_KEY, type Scene, scene } from '../support/gate.ts'
import { bearer, errorOf, forget, reachedUpstream } from '../support/sink.ts'
import { exchange, head } from '../support/wire.ts'

let strict: Scene
let lenient: Scene
beforeAll(async () => {
  const both = await Promise.all([scene({ env: { REQUIRE_EHBP: '' } }), scene()])
  ;[strict, lenient] = both
})
afterAll(() => Promise.all([strict.close(), lenient.close()]))
beforeEach(() => forget(strict, lenient))

const NONCE = 'cd'.repeat(32)
const SEALED_BYTES = Buffer.from([0, 0, 0, 3, 0xff, 0x00, 0x80])

type Headers = Readonly<Record<string, string>>
const sealedBy = (key: string): Headers => ({ 'ehbp-encapsulated-key': key })

const post = (on: Scene, headers: Headers = {}): Promise<Response> =>
  fetch(`${on.gate.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { ...bearer(on.token), 'content-type': 'application/json', ...headers },
    body: SEALED_BYTES,
  })
const answerWith = (on: Scene, status: number, headers: Headers, body: string | Buffer): void =>
  on.upstream.respond((_request, response) => void response.writeHead(status, headers).end(body))

describe('attack 56: REQUIRE_EHBP', () => {
  test('is on by default: a plaintext body is 400 with a reason, and reaches no upstream', async () => {
    const response = await post(strict)
    expect(response.status).toBe(400)
    expect(errorOf(await response.text())).toEqual({
      message: 'client-side encryption required: request is missing Ehbp-Encapsulated-Key',
      type: 'invalid_request_error',
      code: 'encryption_required',
      param: null,
    })
    expect(await reachedUpstream(strict)).toEqual([])
  })

  test('on: an empty body is refused just the same', async () => {
    const response = await fetch(`${strict.gate.url}/v1/embeddings`, {
      method: 'POST',
      headers: bearer(strict.token),
    })
    expect(response.status).toBe(400)
    expect(await reachedUpstream(strict)).toEqual([])
  })

  test('on: a request without a body is plaintext by the protocol’s design', async () => {
    const response = await fetch(`${strict.gate.url}/v1/models`, { headers: bearer(strict.token) })
    expect(response.status).toBe(200)
    await reachedUpstream(strict)
  })

  test('off: a plaintext body passes', async () => {
    answerWith(lenient, 200, { 'content-type': 'application/json' }, '{}')
    expect((await post(lenient)).status).toBe(200)
    expect((await reachedUpstream(lenient))[0]?.body).toEqual(SEALED_BYTES)
  })
})

describe('attack 56: Ehbp-Encapsulated-Key', () => {
  const malformed = [
    '',
    'ab',
    'zz'.repeat(32),
    'ab'.repeat(31),
    'ab'.repeat(33),
    `0x${'ab'.repeat(31)}`,
  ]
  for (const on of ['on', 'off'] as const) {
    const at = (): Scene => (on === 'on' ? strict : lenient)
    for (const key of malformed) {
      test(`${JSON.stringify(key)} is 400, REQUIRE_EHBP ${on}`, async () => {
        const response = await post(at(), sealedBy(key))
        expect(response.status).toBe(400)
        expect(errorOf(await response.text())['code']).toBe('invalid_encapsulated_key')
        expect(await reachedUpstream(at())).toEqual([])
      })
    }
    test(`twice is 400, REQUIRE_EHBP ${on}`, async () => {
      const key = `Ehbp-Encapsulated-Key: ${ENCAPSULATED_KEY}`
      const authorization = `Authorization: Bearer ${at().token}`
      const lines = ['Host: gate.test', authorization, key, key, 'Content-Length: 2']
      const bytes = `${head('POST /v1/chat/completions HTTP/1.1', ...lines)}{}`
      const [answer] = await exchange(at().gate.port, bytes)
      expect(answer?.status).toBe(400)
      expect(errorOf(answer?.body ?? '')['code']).toBe('invalid_encapsulated_key')
      expect(await reachedUpstream(at())).toEqual([])
    })
  }

  test('in capitals is a key too, and passes unchanged', async () => {
    answerWith(strict, 200, { 'ehbp-response-nonce': NONCE }, '')
    const key = ENCAPSULATED_KEY.toUpperCase()
    expect((await post(strict, sealedBy(key))).status).toBe(200)
    const [seen] = await reachedUpstream(strict)
    expect(seen?.headers['ehbp-encapsulated-key']).toBe(key)
    expect(seen?.body).toEqual(SEALED_BYTES)
  })

  test('without a body passes: the enclave decides', async () => {
    answerWith(strict, 400, { 'content-type': 'text/plain' }, 'no body')
    const response = await fetch(`${strict.gate.url}/v1/models`, {
      headers: { ...bearer(strict.token), ...sealedBy(ENCAPSULATED_KEY) },
    })
    expect([response.status, await response.text()]).toEqual([400, 'no body'])
    await reachedUpstream(strict)
  })
})

describe('attack 56: answers to a sealed request', () => {
  for (const status of [200, 201, 204]) {
    test(`a ${status} without the nonce is 502, and its body stays here`, async () => {
      const body = status === 204 ? '' : 'forged plaintext'
      answerWith(strict, status, { 'content-type': 'application/json' }, body)
      const response = await post(strict, sealedBy(ENCAPSULATED_KEY))
      expect(response.status).toBe(502)
      const text = await response.text()
      expect(errorOf(text)['code']).toBe('upstream_invalid')
      expect(text).not.toContain('forged')
      await reachedUpstream(strict)
    })
  }

  test.each([
    ['a short nonce', 'cd'],
    ['no hexadecimal', 'zz'.repeat(32)],
    ['two nonces', `${NONCE}, ${NONCE}`],
  ])('a 200 with %s is 502', async (_, nonce) => {
    answerWith(strict, 200, { 'ehbp-response-nonce': nonce }, 'made up')
    const response = await post(strict, sealedBy(ENCAPSULATED_KEY))
    expect(response.status).toBe(502)
    expect(await response.text()).not.toContain('made up')
    await reachedUpstream(strict)
  })

  test('a 200 with the nonce passes, nonce, type and bytes', async () => {
    answerWith(
      strict,
      200,
      { 'content-type': 'application/json', 'ehbp-response-nonce': NONCE },
      SEALED_BYTES,
    )
    const response = await post(strict, sealedBy(ENCAPSULATED_KEY))
    expect(response.headers.get('ehbp-response-nonce')).toBe(NONCE)
    expect(response.headers.get('content-type')).toBe('application/json')
    expect(Buffer.from(await response.bytes())).toEqual(SEALED_BYTES)
    await reachedUpstream(strict)
  })

  test('the 422 of a wrong key passes untouched, so that the client attests again', async () => {
    const problem =
      '{"type":"urn:ietf:params:ehbp:error:key-config","title":"failed to decrypt request"}'
    answerWith(strict, 422, { 'content-type': 'application/problem+json' }, problem)
    const response = await post(strict, sealedBy(ENCAPSULATED_KEY))
    expect(response.status).toBe(422)
    expect(response.headers.get('content-type')).toBe('application/problem+json')
    expect(await response.text()).toBe(problem)
    await reachedUpstream(strict)
  })

  for (const status of [400, 429, 500]) {
    test(`a plaintext ${status} passes as it is, and gets no nonce`, async () => {
      answerWith(
        strict,
        status,
        { 'content-type': 'text/plain', 'retry-after': '9' },
        'plain words',
      )
      const response = await post(strict, sealedBy(ENCAPSULATED_KEY))
      expect([response.status, await response.text()]).toEqual([status, 'plain words'])
      expect(response.headers.get('ehbp-response-nonce')).toBeNull()
      expect(response.headers.get('retry-after')).toBe('9')
      await reachedUpstream(strict)
    })
  }

  test('no refusal of ours carries a nonce, is 422, or is problem+json', async () => {
    const asked = [
      post(strict),
      post(strict, sealedBy('ab')),
      post(strict, { ...sealedBy(ENCAPSULATED_KEY), authorization: 'Bearer x' }),
      post(strict, { ...sealedBy(ENCAPSULATED_KEY), 'x-tinfoil-enclave-url': 'https://evil.test' }),
    ]
    for (const response of await Promise.all(asked)) {
      expect(response.status).toBeOneOf([400, 401])
      expect(response.headers.get('ehbp-response-nonce')).toBeNull()
      expect(response.headers.get('content-type')).toBe('application/json')
    }
    await reachedUpstream(strict)
  })
})
