// The gate's own requests, for key sets, tokens and documents: each response is read whole. They use the
// same transport as everything else, are bounded in time and size, follow no redirect and are never
// retried. A content coding is decoded even though none was asked for.

import { decoding } from './decoding.ts'
import type { AnswerHeaders } from './fields.ts'
import { type Destination, destinationOf } from './destination.ts'
import type { UpstreamAnswer, FailureKind, Timeouts, Transport } from './transport.ts'

export interface Question {
  readonly method: 'GET' | 'POST'
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  readonly body?: Uint8Array
  /** For connecting, the headers and the body together. */
  readonly timeoutMs: number
  readonly maxBytes: number
  /** Whether the body of a response with this status is read; otherwise it is empty. */
  readonly reads: (status: number) => boolean
}

export type Reply =
  | {
      readonly ok: true
      readonly status: number
      readonly headers: AnswerHeaders
      readonly body: Uint8Array
    }
  /** `reason`: an errno or the like, for the log. */
  | { readonly ok: false; readonly kind: ReplyFailure; readonly reason: string }

export type ReplyFailure = 'unreachable' | 'late' | 'too large' | 'unreadable'

export type Ask = (question: Question) => Promise<Reply>
/** The same for a URL that is already parsed. */
export type AskAt = (to: Destination, question: Omit<Question, 'url'>) => Promise<Reply>

export function asking(transport: Transport, timeouts: Timeouts): Ask {
  const ask = askingAt(transport, timeouts)
  return ({ url, ...question }) => ask(destinationOf(url), question)
}

export function askingAt(transport: Transport, timeouts: Timeouts): AskAt {
  return async (to, { method, headers, body, timeoutMs, maxBytes, reads }) => {
    const flight = transport.send({ method, to, headers, body }, timeouts)
    let late = false
    const timer = setTimeout(() => {
      late = true
      flight.cancel()
    }, timeoutMs)
    const failed = (kind: ReplyFailure, reason: string): Reply =>
      late ? { ok: false, kind: 'late', reason: 'TimeoutError' } : { ok: false, kind, reason }
    try {
      const head = await flight.head
      if (!head.ok) return failed(LATE.has(head.kind) ? 'late' : 'unreachable', head.reason)
      const { status, headers: answered } = head
      const read = reads(status)
        ? await readBounded(head, maxBytes)
        : { ok: true as const, body: new Uint8Array() }
      if (read.ok) return { ok: true, status, headers: answered, body: read.body }
      return failed(read.why === 'too large' ? 'too large' : 'unreadable', read.why)
    } finally {
      clearTimeout(timer)
      flight.cancel()
    }
  }
}

const LATE: ReadonlySet<FailureKind> = new Set(['connect_timeout', 'headers_timeout'])

type Bounded =
  | { readonly ok: true; readonly body: Uint8Array }
  | { readonly ok: false; readonly why: 'too large' | 'cut off' | 'unknown content coding' }

/** `maxBytes` also bounds the decoded size. */
function readBounded({ headers, body }: UpstreamAnswer, maxBytes: number): Promise<Bounded> {
  return new Promise((resolve) => {
    if (Number(headers['content-length'] ?? 0) > maxBytes) {
      return resolve({ ok: false, why: 'too large' })
    }
    const pieces: Buffer[] = []
    let [bytes, decoded] = [0, 0]
    const end = (read: Bounded): void => {
      decoder?.close?.()
      resolve(read)
    }
    const decoder = decoding(headers['content-encoding'], {
      push(piece) {
        decoded += piece.byteLength
        if (decoded > maxBytes) end({ ok: false, why: 'too large' })
        else pieces.push(Buffer.from(piece))
      },
    })
    if (!decoder) return resolve({ ok: false, why: 'unknown content coding' })
    body.listen({
      onData(chunk) {
        bytes += chunk.byteLength
        if (bytes > maxBytes) end({ ok: false, why: 'too large' })
        else decoder.push(chunk)
      },
      onEnd: (how) =>
        end(
          how === 'complete'
            ? { ok: true, body: Buffer.concat(pieces) }
            : { ok: false, why: 'cut off' },
        ),
    })
  })
}
