// One request to the token endpoint: bounded in size, followed nowhere, sent once. Its answer is read
// by token-answer.ts; here is what goes wrong on the way. A reason for the log repeats nothing that
// the server said, nor an address, a token or a code.

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
  // What came with the redirect has no code in it.
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

/** Reads the answer whole before anybody believes it, and only so much of it. */
export function boundedFetch(ask: Ask, timeoutMs: number): NonNullable<Send> {
  return async (url, { body, headers }) => {
    // The library's own name for itself.
    const { 'user-agent': _, ...own } = headers
    const reply = await ask({
      method: 'POST',
      url: new URL(url),
      // On a connection that was kept, a request may meet its end: a refresh token's, perhaps.
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
    // Without a body, a status such as 204 takes none.
    return new Response(text === '' ? null : text, { status, headers: { 'content-type': type } })
  }
}

export async function answerOf(response: Response): Promise<TokenAnswer> {
  const contentType = response.headers.get('content-type') ?? ''
  return readAnswer({ status: response.status, contentType, text: await response.text() })
}
