// One request to the token endpoint: bounded in size, not redirected, sent once. token-answer.ts reads
// its response; this file handles what goes wrong on the way. A reason for the log repeats nothing
// that the server said, and no address, token or code.

import * as oauth from 'oauth4webapi'
import type { Ask } from '../http1/ask.ts'
import {
  type TokenAnswer,
  type TokenFailure,
  failed,
  isPassing,
  readAnswer,
} from './token-answer.ts'

const MAX_BYTES = 131_072

export function failureOf(error: unknown): TokenFailure {
  if (error instanceof NoAnswer) return error.failure
  // The redirect came without a code.
  if (error instanceof oauth.OperationProcessingError) return failed('refused', 'malformed')
  return failed('unavailable', error instanceof Error ? error.name : 'unreachable')
}

class NoAnswer extends Error {
  readonly failure: TokenFailure

  constructor(failure: TokenFailure) {
    super(failure.reason)
    this.failure = failure
  }
}

type Send = oauth.TokenEndpointRequestOptions[typeof oauth.customFetch]

/** Reads the whole response, up to a bound, before anybody uses it. */
export function boundedFetch(ask: Ask, timeoutMs: number): NonNullable<Send> {
  return async (url, { body, headers }) => {
    // The library's own product name.
    const { 'user-agent': _, ...own } = headers
    const reply = await ask({
      method: 'POST',
      url: new URL(url),
      // On a reused connection the request, and with it a refresh token, could be lost.
      headers: { ...own, connection: 'close' },
      body: Buffer.from(String(body)),
      timeoutMs,
      maxBytes: MAX_BYTES,
      reads: (status) => !isPassing(status) && (status < 300 || status >= 400),
    })
    if (!reply.ok) {
      const kind = reply.kind === 'too large' ? 'refused' : 'unavailable'
      throw new NoAnswer(failed(kind, reply.reason))
    }
    const { status, headers: answered } = reply
    const text = Buffer.from(reply.body).toString('utf8')
    const type = answered['content-type'] ?? ''
    // A status such as 204 allows no body.
    return new Response(text === '' ? null : text, { status, headers: { 'content-type': type } })
  }
}

export async function answerOf(response: Response): Promise<TokenAnswer> {
  const contentType = response.headers.get('content-type') ?? ''
  return readAnswer({ status: response.status, contentType, text: await response.text() })
}
