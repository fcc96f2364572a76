// One request to the token endpoint: bounded in size, followed nowhere, sent once. Its answer is read
// by token-answer.ts; here is what goes wrong on the way. A reason for the log repeats nothing that
// the server said, nor an address, a token or a code.

import * as oauth from 'oauth4webapi'
import { type Answer, type Failure, failed, isPassing, readAnswer } from './token-answer.ts'

const MAX_BYTES = 131_072

export function failureOf(error: unknown): Failure {
  if (error instanceof TooLarge) return failed('refused', 'too large')
  // What came with the redirect has no code in it.
  if (error instanceof oauth.OperationProcessingError) return failed('refused', 'malformed')
  // Bun's own words carry the address.
  if (error instanceof DOMException) return failed('unavailable', error.name)
  const { code } = error as { readonly code?: unknown }
  return failed('unavailable', typeof code === 'string' ? code : 'unreachable')
}

class TooLarge extends Error {}

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
  if (isPassing(status) || (status >= 300 && status < 400)) {
    await response.body?.cancel()
    return new Response(null, { status })
  }
  const text = await readBounded(response)
  const type = response.headers.get('content-type') ?? ''
  // Without a body, a status such as 204 takes none.
  return new Response(text === '' ? null : text, { status, headers: { 'content-type': type } })
}

export async function answerOf(response: Response): Promise<Answer> {
  const contentType = response.headers.get('content-type') ?? ''
  return readAnswer({ status: response.status, contentType, text: await response.text() })
}

async function readBounded(response: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength
    if (bytes > MAX_BYTES) throw new TooLarge()
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}
