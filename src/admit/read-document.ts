// One document of an identity provider, as text: bounded, redirects not followed, nothing but a 200.

import type { Ask } from '../http1/ask.ts'
import { KeySetError } from './key-set.ts'

export interface DocumentRead {
  readonly url: URL
  readonly accept: string
  readonly timeoutMs?: number | undefined
}

const TIMEOUT_MS = 10_000
const MAX_BYTES = 1_048_576

/** Throws a `KeySetError` where there is none, so that the last good one stays. */
export async function readDocument(
  ask: Ask,
  { url, accept, timeoutMs = TIMEOUT_MS }: DocumentRead,
): Promise<string> {
  const reply = await ask({
    method: 'GET',
    url,
    headers: {
      accept,
      // Reads are minutes apart: a connection that was kept would be closed by then.
      connection: 'close',
    },
    timeoutMs,
    maxBytes: MAX_BYTES,
    reads: (status) => status === 200,
  })
  if (!reply.ok) throw new KeySetError(reply.kind === 'too large' ? TOO_LARGE : reply.reason)
  const { status, body } = reply
  if (status >= 300 && status < 400) {
    throw new KeySetError(`status ${status}; redirects are not followed, give the final URL`)
  }
  if (status !== 200) throw new KeySetError(`status ${status}`)
  return Buffer.from(body).toString('utf8')
}

const TOO_LARGE = 'larger than 1 MiB'
