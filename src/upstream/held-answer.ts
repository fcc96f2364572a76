// An answer that is held back until all of it has come, so that it can be looked at before any of it
// passes: what upstreams say in errors is short. Its bytes pass as they came.

import { clearDeadline, deadline } from '../turn/deadline.ts'
import { decoding } from '../http1/decoding.ts'
import type { AnswerHeaders } from '../http1/fields.ts'
import type { UpstreamAnswer, ResponseBody } from '../http1/transport.ts'

export type HeldAnswer =
  | {
      readonly ok: true
      readonly body: ResponseBody
      /** As it came, and decoded, in latin1; the same where it has no content coding. */
      readonly raw: string
      readonly text: string
    }
  | { readonly ok: false; readonly why: 'broken' | 'too large' | 'too slow' | 'unknown coding' }

/** Times MAX_UPSTREAM_CONCURRENCY, this is the most memory that errors can take. */
const MAX_HELD_BYTES = 262_144
const MAX_DECODED_BYTES = 1_048_576
const TIMEOUT_MS = 30_000

export function holdAnswer({ headers, body }: UpstreamAnswer): Promise<HeldAnswer> {
  return new Promise((resolve) => {
    const chunks: Uint8Array[] = []
    let bytes = 0
    const end = (held: HeldAnswer): void => {
      clearDeadline(limit)
      resolve(held)
    }
    const limit = deadline(TIMEOUT_MS, () => end({ ok: false, why: 'too slow' }))
    body.listen({
      onData(chunk) {
        bytes += chunk.byteLength
        if (bytes > MAX_HELD_BYTES) end({ ok: false, why: 'too large' })
        else chunks.push(chunk)
      },
      onEnd(how, trailers) {
        if (how === 'broken') return end({ ok: false, why: 'broken' })
        const whole = Buffer.concat(chunks)
        const text = decoded(whole, headers['content-encoding'])
        if (typeof text !== 'string') return end({ ok: false, why: text.why })
        const raw = whole.toString('latin1')
        end({ ok: true, body: again(chunks, trailers), raw, text })
      },
    })
  })
}

function decoded(
  whole: Uint8Array,
  coding: string | undefined,
): string | { readonly why: 'too large' | 'unknown coding' } {
  const pieces: Buffer[] = []
  let bytes = 0
  const decoder = decoding(coding, {
    push(piece) {
      bytes += piece.byteLength
      if (bytes > MAX_DECODED_BYTES) decoder?.close?.()
      else pieces.push(Buffer.from(piece))
    },
  })
  if (!decoder) return { why: 'unknown coding' }
  decoder.push(whole)
  decoder.close?.()
  return bytes > MAX_DECODED_BYTES ? { why: 'too large' } : Buffer.concat(pieces).toString('latin1')
}

/** A body of our own in an upstream's place. */
export const ofBytes = (bytes: Uint8Array): ResponseBody => again([bytes], {})

/** The same bytes once more. */
function again(chunks: readonly Uint8Array[], trailers: AnswerHeaders): ResponseBody {
  return {
    listen(to) {
      for (const chunk of chunks) to.onData(chunk)
      to.onEnd('complete', trailers)
    },
    pause() {},
    resume() {},
  }
}
