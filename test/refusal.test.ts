// What every refusal looks like on the wire.

import { describe, expect, test } from 'bun:test'
import { type RefusalCode, refusalResponse, refused, statusOf } from '../src/refusal.ts'

/** Status and `error.type`, code by code: what clients were told once, they are told from then on. */
const WIRE: Readonly<
  Record<RefusalCode, readonly [status: number, type: string, message: string]>
> = {
  bad_host: [400, 'invalid_request_error', 'the Host header is missing or malformed'],
  bad_request: [400, 'invalid_request_error', 'the request is malformed'],
  not_found: [404, 'invalid_request_error', 'no such route'],
  method_not_allowed: [405, 'invalid_request_error', 'method not allowed'],
  missing_authorization: [401, 'authentication_error', 'missing authorization'],
  malformed_authorization: [401, 'authentication_error', 'invalid authorization header format'],
  missing_token: [401, 'authentication_error', 'missing authorization token'],
  token_expired: [401, 'authentication_error', 'token has expired'],
  invalid_token: [401, 'authentication_error', 'invalid token'],
  ambiguous_credentials: [400, 'invalid_request_error', 'more than one credential was sent'],
  keys_unavailable: [503, 'api_error', 'the keys that verify tokens are not available'],
  insufficient_scope: [403, 'permission_error', 'inference scope required'],
  rate_limit_exceeded: [429, 'rate_limit_error', 'rate limit exceeded'],
  identity_concurrency_limit: [
    429,
    'rate_limit_error',
    'too many requests under way for this identity',
  ],
  upstream_concurrency_limit: [429, 'rate_limit_error', 'upstream concurrency limit reached'],
  encryption_required: [
    400,
    'invalid_request_error',
    'client-side encryption required: request is missing Ehbp-Encapsulated-Key',
  ],
  invalid_encapsulated_key: [
    400,
    'invalid_request_error',
    'Ehbp-Encapsulated-Key must be 64 hexadecimal digits',
  ],
  enclave_not_allowed: [
    400,
    'invalid_request_error',
    'X-Tinfoil-Enclave-Url names no enclave that this gate may reach',
  ],
  uri_too_long: [414, 'invalid_request_error', 'the URL is too long'],
  request_too_large: [413, 'invalid_request_error', 'request body is too large'],
  length_required: [411, 'invalid_request_error', 'the request needs a Content-Length'],
  request_timeout: [408, 'invalid_request_error', 'the request body did not arrive in time'],
  upstream_unavailable: [502, 'api_error', 'upstream unavailable'],
  upstream_redirect: [502, 'api_error', 'the upstream answered with a redirect'],
  upstream_auth: [502, 'api_error', 'the upstream refused the credentials of this gate'],
  upstream_invalid: [502, 'api_error', 'the upstream gave an invalid answer'],
  upstream_timeout: [504, 'api_error', 'upstream timeout'],
  internal_error: [500, 'api_error', 'internal error'],
}
const CODES = Object.keys(WIRE) as RefusalCode[]

describe('on the wire', () => {
  for (const code of CODES) {
    test(code, async () => {
      const [status, type, message] = WIRE[code]
      const headers = new Headers({ 'x-request-id': 'r1', 'x-protocol-version': '1' })
      const response = refusalResponse(refused(code, { reason: 'canary-reason' }), headers)
      expect([response.status, statusOf(refused(code))]).toEqual([status, status])
      expect(await response.json()).toEqual({ error: { message, type, code, param: null } })
      const { 'www-authenticate': challenge, ...rest } = Object.fromEntries(response.headers)
      expect(rest).toEqual({
        'cache-control': 'no-store',
        'content-type': 'application/json',
        'x-protocol-version': '1',
        'x-request-id': 'r1',
      } as never)
      // RFC 9110 §15.5.2: a 401 must carry one.
      expect(challenge !== undefined).toBe(status === 401 || status === 403)
    })
  }
})

test('the challenge names the scheme, and the error only where a token came', () => {
  const challenge = (code: RefusalCode) =>
    refusalResponse(refused(code), new Headers()).headers.get('www-authenticate')
  expect(challenge('missing_authorization')).toBe('Bearer realm="postern"')
  expect(challenge('token_expired')).toBe(
    'Bearer realm="postern", error="invalid_token", error_description="token has expired"',
  )
  expect(challenge('insufficient_scope')).toBe(
    'Bearer realm="postern", error="insufficient_scope", error_description="inference scope required", scope="inference"',
  )
})

test('Retry-After is whole seconds, rounded up, and at least 1', () => {
  for (const [seconds, said] of [
    [0, '1'],
    [-5, '1'],
    [0.001, '1'],
    [1, '1'],
    [1.001, '2'],
    [59.2, '60'],
  ] as const) {
    const refusal = refused('rate_limit_exceeded', { retryAfterSeconds: seconds })
    expect(refusalResponse(refusal, new Headers()).headers.get('retry-after')).toBe(said)
  }
})

test('405 says what is allowed', () => {
  const refusal = refused('method_not_allowed', { allow: 'GET, HEAD' })
  expect(refusalResponse(refusal, new Headers()).headers.get('allow')).toBe('GET, HEAD')
})

test('a message with a number in it stands for the one of the table', async () => {
  const refusal = refused('request_too_large', { message: 'request body exceeds 5 bytes' })
  const body = (await refusalResponse(refusal, new Headers()).json()) as {
    error: { message: string }
  }
  expect(body.error.message).toBe('request body exceeds 5 bytes')
})

test('the reason is for the log, and never on the wire', async () => {
  for (const code of CODES) {
    const response = refusalResponse(refused(code, { reason: 'canary-reason' }), new Headers())
    expect((await response.text()) + JSON.stringify([...response.headers])).not.toContain('canary')
  }
})
