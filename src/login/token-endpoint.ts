// One request to the token endpoint: bounded in size, followed nowhere, sent once. And what is made
// of its going wrong: a kind to decide by and a reason for the log, in which nothing is repeated that
// the server said, nor an address, a token or a code.

import * as oauth from 'oauth4webapi'

/**
 * `refused`: the server, or what it said, will not do. `ended`: what was shown to it is no longer
 * good (`invalid_grant`). `unavailable`: it did not answer, or said that it cannot now.
 */
export interface Failure {
  readonly ok: false
  readonly kind: 'refused' | 'ended' | 'unavailable'
  /** For the log. */
  readonly reason: string
}

const MAX_BYTES = 131_072

export function failed(kind: Failure['kind'], reason: string): Failure {
  return { ok: false, kind, reason }
}

/** RFC 6749 §5.2; what else a server invents is not repeated. */
const ERRORS = new Set([
  'invalid_request',
  'invalid_client',
  'invalid_grant',
  'unauthorized_client',
  'unsupported_grant_type',
  'invalid_scope',
])

export function failureOf(error: unknown): Failure {
  if (error instanceof TokenEndpointError) return failed(error.kind, error.message)
  if (error instanceof oauth.ResponseBodyError) {
    const name = ERRORS.has(error.error) ? error.error : 'error'
    return failed(name === 'invalid_grant' ? 'ended' : 'refused', name)
  }
  if (error instanceof oauth.OperationProcessingError) return failed('refused', 'malformed')
  if (error instanceof oauth.UnsupportedOperationError) return failed('refused', 'token type')
  // Bun's own words carry the address.
  if (error instanceof DOMException) return failed('unavailable', error.name)
  const { code } = error as { readonly code?: unknown }
  return failed('unavailable', typeof code === 'string' ? code : 'unreachable')
}

class TokenEndpointError extends Error {
  readonly kind: Failure['kind']

  constructor(kind: Failure['kind'], message: string) {
    super(message)
    this.kind = kind
  }
}

/** Reads the answer whole before anybody believes it, and only so much of it. */
export async function boundedFetch(
  url: string,
  { body, ...init }: oauth.CustomFetchOptions<'POST', URLSearchParams>,
): Promise<Response> {
  const { method, headers, signal } = init
  const response = await fetch(url, {
    method,
    headers,
    body,
    redirect: 'manual',
    // HTTP_PROXY of the environment must not choose who sees the tokens.
    proxy: false,
    // On a connection that was kept, a request could be sent twice: a refresh token's reuse.
    keepalive: false,
    ...(signal ? { signal } : {}),
  })
  const { status } = response
  if (status !== 200 && !(status >= 400 && status < 500 && status !== 408 && status !== 429)) {
    await response.body?.cancel()
    const passing = status >= 500 || status === 408 || status === 429
    throw new TokenEndpointError(passing ? 'unavailable' : 'refused', `status ${status}`)
  }
  const text = await readBounded(response)
  const type = response.headers.get('content-type') ?? ''
  // Of the headers nothing else counts: a challenge would hide the error that the body names.
  return new Response(withoutIdToken(text), { status, headers: { 'content-type': type } })
}

async function readBounded(response: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength
    if (bytes > MAX_BYTES) throw new TokenEndpointError('refused', 'too large')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/**
 * Who signed in decides nothing here, so that an ID token is not looked at: a fault in one, or a
 * clock that is off, must not cost the refresh token that came along.
 */
function withoutIdToken(text: string): string {
  if (!text.includes('id_token')) return text
  try {
    return JSON.stringify(JSON.parse(text), (key, value: unknown) =>
      key === 'id_token' ? undefined : value,
    )
  } catch {
    return text
  }
}
