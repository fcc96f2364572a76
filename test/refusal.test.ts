// What every refusal looks like on the wire.

import { describe, expect, test } from 'bun:test'
import {
  type Dialect,
  type Refusal,
  type RefusalCode,
  refusalResponse,
  refused,
  statusOf,
} from '../src/refusal.ts'

/** Status and `error.type`, code by code: what clients were told once, they are told from then on. */
const WIRE: Readonly<
  Record<RefusalCode, readonly [status: number, type: string, message: string]>
> = {
  upgrade_required: [
    426,
    'invalid_request_error',
    'this route is a WebSocket; open it with an upgrade',
  ],
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
    'too many concurrent requests for this identity',
  ],
  organisation_concurrency_limit: [
    429,
    'rate_limit_error',
    'too many concurrent requests for the organisation',
  ],
  policy_unknown: [
    403,
    'permission_error',
    'this credential names a policy that this gate does not have; ask the operator',
  ],
  route_not_allowed: [
    403,
    'permission_error',
    'the policy of this credential does not allow this route',
  ],
  list_too_long: [
    400,
    'invalid_request_error',
    'the upstream keeps so much for others that this gate found nothing of yours in time; ask for each object by its id',
  ],
  upstream_not_allowed: [
    403,
    'permission_error',
    'the policy of this credential does not allow this upstream',
  ],
  sealed_body_limited: [
    400,
    'invalid_request_error',
    'the policy of this credential limits models or spending, which a sealed body hides',
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
    'X-Tinfoil-Enclave-Url does not name an enclave that this gate may reach',
  ],
  uri_too_long: [414, 'invalid_request_error', 'the URL is too long'],
  request_too_large: [413, 'invalid_request_error', 'request body is too large'],
  length_required: [411, 'invalid_request_error', 'the request needs a Content-Length'],
  request_timeout: [408, 'invalid_request_error', 'the request body did not arrive in time'],
  token_revoked: [401, 'authentication_error', 'token was revoked'],
  key_expired: [401, 'authentication_error', 'the API key has expired; ask for a new one'],
  key_revoked: [401, 'authentication_error', 'the API key was revoked'],
  admin_required: [403, 'permission_error', "the operator's key is required"],
  session_invalid: [
    401,
    'authentication_error',
    'the session is not valid; sign in again at /auth/device or with postern login',
  ],
  session_ended: [
    401,
    'authentication_error',
    'the sign-in has ended; sign in again at /auth/device or with postern login',
  ],
  login_failed: [400, 'invalid_request_error', 'the sign-in was not accepted; start again'],
  login_unavailable: [503, 'api_error', 'the authorization server cannot be reached now'],
  foreign_origin: [403, 'permission_error', 'requests from other pages are refused'],
  enrollment_closed: [403, 'permission_error', 'this gate enrols no devices'],
  enrollment_required: [403, 'permission_error', 'an enrolment is required'],
  enrollment_refused: [403, 'permission_error', 'the enrolment was not accepted'],
  enrollment_limit: [429, 'rate_limit_error', 'too many enrolments'],
  enrollment_unavailable: [503, 'api_error', 'enrolment is not available now'],
  database_unavailable: [503, 'api_error', 'the database cannot be used now'],
  reports_busy: [503, 'api_error', 'too many reports are being made; ask again'],
  invalid_device_id: [
    400,
    'invalid_request_error',
    'device_id must be 1 to 200 visible ASCII characters',
  ],
  model_not_allowed: [404, 'invalid_request_error', 'this token may not use that model'],
  ambiguous_body: [
    400,
    'invalid_request_error',
    'the body is not a JSON object that every parser reads the same way',
  ],
  invalid_model: [400, 'invalid_request_error', 'model must be the name of a model'],
  invalid_max_tokens: [400, 'invalid_request_error', 'max_tokens must be a positive integer'],
  invalid_stream: [400, 'invalid_request_error', 'stream must be true or false'],
  stream_usage_required: [
    400,
    'invalid_request_error',
    'the policy of this credential requires a stream to report its usage; set stream_options to {"include_usage": true}',
  ],
  unsupported_body: [415, 'invalid_request_error', 'the body must be application/json in UTF-8'],
  unsupported_encoding: [
    415,
    'invalid_request_error',
    'the Content-Encoding of the body is not supported here',
  ],
  broken_encoding: [400, 'invalid_request_error', 'the body is not what its Content-Encoding says'],
  max_tokens_required: [
    400,
    'invalid_request_error',
    'max_tokens is required because a spend cap applies',
  ],
  unknown_cost: [
    400,
    'invalid_request_error',
    'the request contains something whose models and cost this gate does not know',
  ],
  invalid_count: [400, 'invalid_request_error', 'max_tokens and max_uses must be whole numbers'],
  too_many_models: [400, 'invalid_request_error', 'the request names too many models'],
  model_not_priced: [
    400,
    'invalid_request_error',
    'that model has no price, so a spend cap cannot admit it',
  ],
  spend_cap_reached: [429, 'rate_limit_error', 'the spend cap is reached'],
  spend_reserved: [429, 'rate_limit_error', 'running requests hold what is left of the spend cap'],
  spend_unavailable: [503, 'api_error', 'spending cannot be counted now'],
  circuit_open: [503, 'api_error', 'the upstream is failing; try again later'],
  upstream_unavailable: [502, 'api_error', 'upstream unavailable'],
  upstream_redirect: [502, 'api_error', 'the upstream answered with a redirect'],
  upstream_forbidden: [
    403,
    'permission_error',
    'the API does not permit this for the signed-in account',
  ],
  upstream_auth: [502, 'api_error', 'the upstream refused the credentials of this gate'],
  credential_renewed: [
    502,
    'api_error',
    'the credential was refused and has been renewed; send the request again',
  ],
  upstream_invalid: [502, 'api_error', 'the upstream gave an invalid answer'],
  upstream_timeout: [504, 'api_error', 'upstream timeout'],
  internal_error: [500, 'api_error', 'internal error'],
}
const CODES = Object.keys(WIRE) as RefusalCode[]

/** Anthropic's name of an error, where it is another than OpenAI's. */
const ANTHROPIC_TYPES: Readonly<Partial<Record<RefusalCode, string>>> = {
  not_found: 'not_found_error',
  model_not_allowed: 'not_found_error',
  request_too_large: 'request_too_large',
  upstream_timeout: 'timeout_error',
  spend_cap_reached: 'billing_error',
}

/** OpenAI's code of an error, where it has a name of its own for it. */
const OPENAI_CODES: Readonly<Partial<Record<RefusalCode, string>>> = {
  model_not_allowed: 'model_not_found',
}

/** Those that Anthropic's shape names too: a client acts on them without a person. */
const CODED = new Set<RefusalCode>([
  'token_expired',
  'token_revoked',
  'key_expired',
  'key_revoked',
  'invalid_token',
  'policy_unknown',
  'enrollment_closed',
  'enrollment_required',
  'enrollment_refused',
])

const answer = (
  refusal: Refusal,
  dialect: Dialect = 'openai',
  headers = new Headers({ 'x-request-id': 'r1', 'x-protocol-version': '1' }),
): Response => refusalResponse(refusal, { headers, dialect, requestId: 'r1' })

/** Of all 429s, only one is no use asking again; a key that is refused is no use either. */
const SHOULD_RETRY = (code: RefusalCode, status: number, dialect: Dialect): string | undefined => {
  if (code === 'circuit_open') return dialect === 'anthropic' ? 'false' : undefined
  const final = ['spend_cap_reached', 'upstream_auth', 'key_expired', 'key_revoked']
  if (final.includes(code)) return 'false'
  return status === 429 || code === 'credential_renewed' ? 'true' : undefined
}

for (const dialect of ['openai', 'anthropic'] as const) {
  describe(`on the wire, as ${dialect}'s`, () => {
    for (const code of CODES) {
      test(code, async () => {
        const [status, type, message] = WIRE[code]
        const response = answer(refused(code, { reason: 'canary-reason' }), dialect)
        expect([response.status, statusOf(refused(code))]).toEqual([status, status])
        const error = { type: ANTHROPIC_TYPES[code] ?? type, message }
        expect(await response.text()).toBe(
          JSON.stringify(
            dialect === 'openai'
              ? { error: { message, type, code: OPENAI_CODES[code] ?? code, param: null } }
              : {
                  type: 'error',
                  error: CODED.has(code) ? { ...error, code } : error,
                  request_id: 'r1',
                },
          ),
        )
        const { 'www-authenticate': challenge, ...rest } = Object.fromEntries(response.headers)
        expect(rest).toEqual({
          'cache-control': 'no-store',
          'content-type': 'application/json',
          'x-protocol-version': '1',
          'x-request-id': 'r1',
          ...(SHOULD_RETRY(code, status, dialect) !== undefined && {
            'x-should-retry': SHOULD_RETRY(code, status, dialect),
          }),
        } as never)
        // RFC 9110 §15.5.2: a 401 must carry one. RFC 6750 §3.1: one 403 does.
        expect(challenge !== undefined).toBe(status === 401 || code === 'insufficient_scope')
      })
    }
  })
}

test("Anthropic's error types are known to its clients", () => {
  // https://docs.anthropic.com/en/api/errors
  const known = new Set([
    'invalid_request_error',
    'authentication_error',
    'billing_error',
    'permission_error',
    'not_found_error',
    'request_too_large',
    'rate_limit_error',
    'api_error',
    'timeout_error',
    'overloaded_error',
  ])
  for (const code of CODES) expect(known).toContain(ANTHROPIC_TYPES[code] ?? WIRE[code][1])
})

test('the challenge names the scheme, and the error only if a token was sent', () => {
  const challenge = (code: RefusalCode) => answer(refused(code)).headers.get('www-authenticate')
  expect(challenge('missing_authorization')).toBe('Bearer realm="postern"')
  expect(challenge('token_expired')).toBe(
    'Bearer realm="postern", error="invalid_token", error_description="token has expired"',
  )
  expect(challenge('insufficient_scope')).toBe(
    'Bearer realm="postern", error="insufficient_scope", error_description="inference scope required", scope="inference"',
  )
})

test('the challenge names the required scope, if it is another', () => {
  const missing = refused('insufficient_scope', { scope: 'gate/use', message: 'gate/use scope' })
  expect(answer(missing).headers.get('www-authenticate')).toBe(
    'Bearer realm="postern", error="insufficient_scope", error_description="gate/use scope", scope="gate/use"',
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
    expect(answer(refusal).headers.get('retry-after')).toBe(said)
  }
})

test('a 405 names the allowed methods', () => {
  const refusal = refused('method_not_allowed', { allow: 'GET, HEAD' })
  expect(answer(refusal).headers.get('allow')).toBe('GET, HEAD')
})

test('a message with a number in it stands for the one of the table', async () => {
  const refusal = refused('request_too_large', { message: 'request body exceeds 5 bytes' })
  const body = (await answer(refusal).json()) as {
    error: { message: string }
  }
  expect(body.error.message).toBe('request body exceeds 5 bytes')
})

test('the reason is for the log, and never on the wire', async () => {
  for (const dialect of ['openai', 'anthropic'] as const) {
    for (const code of CODES) {
      const response = answer(refused(code, { reason: 'canary-reason' }), dialect)
      const all = (await response.text()) + JSON.stringify([...response.headers])
      expect(all).not.toContain('canary')
    }
  }
})

test('a message of its own is in either shape', async () => {
  const refusal = refused('spend_cap_reached', { message: 'said instead' })
  for (const dialect of ['openai', 'anthropic'] as const) {
    expect(await answer(refusal, dialect).json()).toMatchObject({
      error: { message: 'said instead' },
    })
  }
})

test('a message may differ by dialect, for clients that go by its words', async () => {
  const message = { openai: 'The model `x` does not exist', anthropic: 'model: x' }
  for (const dialect of ['openai', 'anthropic'] as const) {
    const refusal = refused('model_not_allowed', { message })
    expect(await answer(refusal, dialect).json()).toMatchObject({
      error: { message: message[dialect] },
    })
  }
})
