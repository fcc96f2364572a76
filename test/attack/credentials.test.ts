// Attack 13: which header is a credential, and that there is one of it.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { type Scene, scene } from '../support/gate.ts'
import { bearer, errorOf, forget, reachedUpstream } from '../support/sink.ts'
import { exchange, head } from '../support/wire.ts'

let at: Scene
beforeAll(async () => {
  at = await scene()
})
afterAll(() => at.close())
beforeEach(() => forget(at))

describe('attack 13: more than one credential, or a strange one', () => {
  const ask = async (...lines: readonly string[]) => {
    const [answer] = await exchange(
      at.gate.port,
      head('GET /v1/models?credential HTTP/1.1', 'Host: gate.test', ...lines),
    )
    return answer
  }
  const good = (): string => `Authorization: Bearer ${at.token}`

  for (const [name, second] of [
    ['another', () => 'Authorization: Bearer other'],
    ['the same', good],
    ['an empty', () => 'Authorization:'],
    ['a basic', () => 'Authorization: Basic dXNlcjpwYXNz'],
  ] as const) {
    test(`${name} Authorization and a valid one are 400 ambiguous_credentials`, async () => {
      for (const lines of [
        [good(), second()],
        [second(), good()],
      ]) {
        const answer = await ask(...lines)
        expect(answer?.status).toBe(400)
        expect(errorOf(answer?.body ?? '')['code']).toBe('ambiguous_credentials')
      }
      expect(await reachedUpstream(at)).toEqual([])
    })
  }

  // Azure's and Anthropic's clients send their keys so. Neither header is passed.
  test('X-Api-Key with a valid token changes nothing; alone it is the credential', async () => {
    expect((await ask(good(), 'X-Api-Key: other'))?.status).toBe(200)
    expect((await reachedUpstream(at))[0]?.headers['x-api-key']).toBeUndefined()
    for (const name of ['X-Api-Key', 'Api-Key']) {
      forget(at)
      expect((await ask(`${name}: ${at.token}`))?.status).toBe(200)
      expect((await reachedUpstream(at))[0]?.headers[name.toLowerCase()]).toBeUndefined()
      expect((await ask(`${name}: other`))?.status).toBe(401)
      expect((await ask(`X-Api-Key: ${at.token}`, 'Api-Key: other'))?.status).toBe(400)
    }
  })

  for (const scheme of ['bearer', 'BEARER', 'Bearer  ', 'bEaReR']) {
    test(`the scheme ${JSON.stringify(scheme)} is Bearer`, async () => {
      expect((await ask(`Authorization: ${scheme} ${at.token}`))?.status).toBe(200)
    })
  }

  const refusals: readonly [string, () => string, string, string][] = [
    ['no header', () => 'X-A: b', 'missing_authorization', 'missing authorization'],
    [
      'no scheme',
      () => `Authorization: ${at.token}`,
      'malformed_authorization',
      'invalid authorization header format',
    ],
    [
      'another scheme',
      () => `Authorization: Basic ${at.token}`,
      'malformed_authorization',
      'invalid authorization header format',
    ],
    [
      'an empty header',
      () => 'Authorization:',
      'malformed_authorization',
      'invalid authorization header format',
    ],
    [
      'a scheme alone',
      () => 'Authorization: Bearer',
      'missing_token',
      'missing authorization token',
    ],
    [
      'two words',
      () => `Authorization: Bearer ${at.token} x`,
      'malformed_authorization',
      'invalid authorization header format',
    ],
    [
      'a tab between',
      () => `Authorization: Bearer\t${at.token}`,
      'malformed_authorization',
      'invalid authorization header format',
    ],
    [
      'quotes',
      () => `Authorization: Bearer "${at.token}"`,
      'malformed_authorization',
      'invalid authorization header format',
    ],
  ]
  for (const [name, line, code, message] of refusals) {
    test(`${name}: 401 ${code}`, async () => {
      const answer = await ask(line())
      expect(answer?.status).toBe(401)
      expect(errorOf(answer?.body ?? '')).toEqual({
        message,
        type: 'authentication_error',
        code,
        param: null,
      })
      expect(answer?.header('www-authenticate')).toStartWith('Bearer realm="postern"')
      expect(await reachedUpstream(at)).toEqual([])
    })
  }

  test('a token in the query is 401, even with a valid header, and is never forwarded or logged', async () => {
    const canary = 'query-token-canary'
    for (const query of [`access_token=${canary}`, `a=b&access%5Ftoken=${canary}`]) {
      const response = await fetch(`${at.gate.url}/v1/models?${query}`, {
        headers: bearer(at.token),
      })
      expect(response.status).toBe(401)
      expect(await response.text()).not.toContain(canary)
      await at.gate.logged(response.headers.get('x-request-id') ?? '')
    }
    expect(await reachedUpstream(at)).toEqual([])
    expect(at.gate.output()).not.toContain(canary)
  })
})
