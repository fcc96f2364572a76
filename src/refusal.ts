// Every refusal of postern, and what each looks like on the wire: in the error shape of the route's
// own API, and never a word about the upstream, the runtime or a secret. The caller gets the message
// in this table; the cause goes only to the log, as `reason`.

/** The API whose error shape a response has. */
export type Dialect = 'openai' | 'anthropic'

interface Wire {
  readonly status: number
  /** OpenAI's `error.type`. */
  readonly type:
    | 'authentication_error'
    | 'permission_error'
    | 'rate_limit_error'
    | 'invalid_request_error'
    | 'api_error'
  /** Anthropic's `error.type`, if it has another name. */
  readonly anthropicType?:
    'not_found_error' | 'request_too_large' | 'timeout_error' | 'billing_error' | 'overloaded_error'
  /** OpenAI's `error.code`, if it has a name of its own. */
  readonly openaiCode?: string
  /** `x-should-retry`, which clients obey before the status. */
  readonly retry?: boolean | Partial<Readonly<Record<Dialect, boolean>>>
  readonly message: string
  /** Whether Anthropic's shape includes the code: clients act on it without a person. */
  readonly coded?: true
  /** RFC 6750 §3: the `error` attribute of `WWW-Authenticate`; '' sends the bare challenge. */
  readonly challenge?: string
}

const WIRE = {
  bad_host: bad(400, 'the Host header is missing or malformed'),
  bad_request: bad(400, 'the request is malformed'),
  not_found: { ...bad(404, 'no such route'), anthropicType: 'not_found_error' },
  method_not_allowed: bad(405, 'method not allowed'),

  missing_authorization: unauthorized('missing authorization', ''),
  malformed_authorization: unauthorized('invalid authorization header format'),
  missing_token: unauthorized('missing authorization token'),
  token_expired: coded(unauthorized('token has expired')),
  invalid_token: coded(unauthorized('invalid token')),
  ambiguous_credentials: bad(400, 'more than one credential was sent'),
  keys_unavailable: failed(503, 'the keys that verify tokens are not available'),
  insufficient_scope: {
    status: 403,
    type: 'permission_error',
    message: 'inference scope required',
    challenge: 'insufficient_scope',
  },
  token_revoked: coded(unauthorized('token was revoked')),
  // No client has another key to try; Claude Code would retry for minutes in silence.
  key_expired: final(coded(unauthorized('the API key has expired; ask for a new one'))),
  key_revoked: final(coded(unauthorized('the API key was revoked'))),
  admin_required: forbidden("the operator's key is required"),

  session_invalid: unauthorized(
    'the session is not valid; sign in again at /auth/device or with postern login',
  ),
  session_ended: unauthorized(
    'the sign-in has ended; sign in again at /auth/device or with postern login',
  ),
  login_failed: bad(400, 'the sign-in was not accepted; start again'),
  login_unavailable: failed(503, 'the authorization server cannot be reached now'),
  foreign_origin: forbidden('requests from other pages are refused'),

  policy_unknown: coded(
    forbidden('this credential names a policy that this gate does not have; ask the operator'),
  ),
  route_not_allowed: forbidden('the policy of this credential does not allow this route'),
  upstream_not_allowed: forbidden('the policy of this credential does not allow this upstream'),

  enrollment_closed: coded(forbidden('this gate enrols no devices')),
  enrollment_required: coded(forbidden('an enrolment is required')),
  enrollment_refused: coded(forbidden('the enrolment was not accepted')),
  enrollment_limit: limited('too many enrolments'),
  enrollment_unavailable: failed(503, 'enrolment is not available now'),
  invalid_device_id: bad(400, 'device_id must be 1 to 200 visible ASCII characters'),

  // What both APIs answer for an unknown model. To a 403 Claude Code says "Failed to authenticate".
  model_not_allowed: {
    ...bad(404, 'this token may not use that model'),
    anthropicType: 'not_found_error',
    openaiCode: 'model_not_found',
  },
  ambiguous_body: bad(400, 'the body is not a JSON object that every parser reads the same way'),
  invalid_model: bad(400, 'model must be the name of a model'),
  invalid_max_tokens: bad(400, 'max_tokens must be a positive integer'),
  invalid_stream: bad(400, 'stream must be true or false'),
  stream_usage_required: bad(
    400,
    'the policy of this credential requires a stream to report its usage; set stream_options to {"include_usage": true}',
  ),
  unsupported_body: bad(415, 'the body must be application/json in UTF-8'),
  unsupported_encoding: bad(415, 'the Content-Encoding of the body is not supported here'),
  broken_encoding: bad(400, 'the body is not what its Content-Encoding says'),
  max_tokens_required: bad(400, 'max_tokens is required because a spend cap applies'),
  unknown_cost: bad(
    400,
    'the request contains something whose models and cost this gate does not know',
  ),
  invalid_count: bad(400, 'max_tokens and max_uses must be whole numbers'),
  too_many_models: bad(400, 'the request names too many models'),
  model_not_priced: bad(400, 'that model has no price, so a spend cap cannot admit it'),
  spend_cap_reached: {
    ...limited('the spend cap is reached'),
    anthropicType: 'billing_error',
    retry: false,
  },
  spend_reserved: limited('running requests hold what is left of the spend cap'),
  spend_unavailable: failed(503, 'spending cannot be counted now'),

  rate_limit_exceeded: limited('rate limit exceeded'),
  identity_concurrency_limit: limited('too many concurrent requests for this identity'),
  organisation_concurrency_limit: limited('too many concurrent requests for the organisation'),
  upstream_concurrency_limit: limited('upstream concurrency limit reached'),

  encryption_required: bad(
    400,
    'client-side encryption required: request is missing Ehbp-Encapsulated-Key',
  ),
  sealed_body_limited: bad(
    400,
    'the policy of this credential limits models or spending, which a sealed body hides',
  ),
  invalid_encapsulated_key: bad(400, 'Ehbp-Encapsulated-Key must be 64 hexadecimal digits'),
  enclave_not_allowed: bad(
    400,
    'X-Tinfoil-Enclave-Url does not name an enclave that this gate may reach',
  ),
  request_too_large: {
    ...bad(413, 'request body is too large'),
    anthropicType: 'request_too_large',
  },
  list_too_long: bad(
    400,
    'the upstream keeps so much for others that this gate found nothing of yours in time; ask for each object by its id',
  ),
  uri_too_long: bad(414, 'the URL is too long'),
  upgrade_required: bad(426, 'this route is a WebSocket; open it with an upgrade'),
  length_required: bad(411, 'the request needs a Content-Length'),
  request_timeout: bad(408, 'the request body did not arrive in time'),

  // Claude Code would retry for minutes and show nothing; the user should know at once.
  circuit_open: {
    ...failed(503, 'the upstream is failing; try again later'),
    retry: { anthropic: false },
  },
  upstream_unavailable: failed(502, 'upstream unavailable'),
  upstream_redirect: failed(502, 'the upstream answered with a redirect'),
  upstream_forbidden: forbidden('the API does not permit this for the signed-in account'),
  upstream_auth: {
    ...failed(502, 'the upstream refused the credentials of this gate'),
    retry: false,
  },
  credential_renewed: {
    ...failed(502, 'the credential was refused and has been renewed; send the request again'),
    retry: true,
  },
  upstream_invalid: failed(502, 'the upstream gave an invalid answer'),
  upstream_timeout: { ...failed(504, 'upstream timeout'), anthropicType: 'timeout_error' },
  database_unavailable: failed(503, 'the database cannot be used now'),
  reports_busy: failed(503, 'too many reports are being made; ask again'),
  internal_error: failed(500, 'internal error'),
} as const satisfies Readonly<Record<string, Wire>>

export type RefusalCode = keyof typeof WIRE

export interface Refusal {
  readonly ok: false
  readonly code: RefusalCode
  /** For the log: which check failed. Never sent, and never contains what a caller sent. */
  readonly reason?: string
  /** Replaces the table's message if it needs a number or a name. */
  readonly message?: string | Readonly<Record<Dialect, string>>
  readonly retryAfterSeconds?: number
  /** Replaces the table's `x-should-retry`. */
  readonly retry?: boolean
  /** The missing scope (RFC 6750 §3), if it is not `inference`. */
  readonly scope?: string
  /** For 405, as RFC 9110 §15.5.6 requires. */
  readonly allow?: string
  /** For a 415 about a Content-Encoding (RFC 9110 §15.5.16). */
  readonly acceptEncoding?: string
}

export type Decision<T> = { readonly ok: true; readonly value: T } | Refusal

export function granted<T>(value: T): Decision<T> {
  return { ok: true, value }
}

export function refused(code: RefusalCode, more: Omit<Refusal, 'ok' | 'code'> = {}): Refusal {
  return { ok: false, code, ...more }
}

export function statusOf(refusal: Refusal): number {
  return WIRE[refusal.code].status
}

/** The parts of a request that its refusal uses; `headers` are added to. */
export interface Refused {
  readonly headers: Headers
  readonly dialect: Dialect
  readonly requestId: string
}

export function refusalResponse(refusal: Refusal, to: Refused): Response {
  const wire: Wire = WIRE[refusal.code]
  const { headers } = to
  const own = refusal.message ?? wire.message
  const message = typeof own === 'string' ? own : own[to.dialect]
  headers.set('content-type', 'application/json')
  headers.set('cache-control', 'no-store')
  if (wire.challenge !== undefined) {
    headers.set('www-authenticate', challenge(wire.challenge, message, refusal.scope))
  }
  if (refusal.retryAfterSeconds !== undefined) {
    headers.set('retry-after', String(Math.max(1, Math.ceil(refusal.retryAfterSeconds))))
  }
  const usual = typeof wire.retry === 'object' ? wire.retry[to.dialect] : wire.retry
  const retry = refusal.retry ?? usual
  if (retry !== undefined) headers.set('x-should-retry', String(retry))
  if (refusal.allow !== undefined) headers.set('allow', refusal.allow)
  if (refusal.acceptEncoding !== undefined) headers.set('accept-encoding', refusal.acceptEncoding)
  const body =
    to.dialect === 'openai' ? openai(refusal, wire, message) : anthropic(refusal, wire, message, to)
  return new Response(JSON.stringify(body), { status: wire.status, headers })
}

/** For a realtime connection that is open: an event of OpenAI's API, about a client's own one if there is an id. */
export function refusalEvent(refusal: Refusal, eventId: string | undefined): string {
  const { type, openaiCode, message }: Wire = WIRE[refusal.code]
  const own = refusal.message ?? message
  const error = {
    type,
    code: openaiCode ?? refusal.code,
    message: typeof own === 'string' ? own : own.openai,
    param: null,
    event_id: eventId ?? null,
  }
  return JSON.stringify({ type: 'error', event_id: `event_${Bun.randomUUIDv7()}`, error })
}

function openai({ code }: Refusal, { type, openaiCode }: Wire, message: string): object {
  return { error: { message, type, code: openaiCode ?? code, param: null } }
}

function anthropic(
  { code }: Refusal,
  { type, anthropicType, coded }: Wire,
  message: string,
  { requestId }: Refused,
): object {
  const error = { type: anthropicType ?? type, message, ...(coded && { code }) }
  return { type: 'error', error, request_id: requestId }
}

function challenge(error: string, description: string, missing = 'inference'): string {
  const realm = 'Bearer realm="postern"'
  if (error === '') return realm
  const scope = error === 'insufficient_scope' ? `, scope="${missing}"` : ''
  return `${realm}, error="${error}", error_description="${description}"${scope}`
}

function bad(status: 400 | 404 | 405 | 408 | 411 | 413 | 414 | 415 | 426, message: string): Wire {
  return { status, type: 'invalid_request_error', message }
}

function unauthorized(message: string, challenge = 'invalid_token'): Wire {
  return { status: 401, type: 'authentication_error', message, challenge }
}

function coded(wire: Wire): Wire {
  return { ...wire, coded: true }
}

function final(wire: Wire): Wire {
  return { ...wire, retry: false }
}

function forbidden(message: string): Wire {
  return { status: 403, type: 'permission_error', message }
}

function limited(message: string): Wire {
  return { status: 429, type: 'rate_limit_error', message, retry: true }
}

function failed(status: 500 | 502 | 503 | 504, message: string): Wire {
  return { status, type: 'api_error', message }
}
