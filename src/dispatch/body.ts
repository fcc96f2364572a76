// Reads a request's body within its maximum. A small body of known length is read whole before it is
// sent, which halves the cost of a request. A large body, or one of unknown length, is streamed and
// counted on the way.

import { clearDeadline, type Deadline, setDeadline } from '../turn/deadline.ts'
import { type Decision, granted, type Refusal, refused } from '../refusal.ts'
import type { BodyStream } from '../http1/request.ts'
import { declaredLength, tooLarge } from '../upstream/inspected.ts'
import { uncoded } from './content-coding.ts'

/** Multiplied by MAX_UPSTREAM_CONCURRENCY, this bounds the memory of held bodies. */
export const MAX_HELD_BYTES = 262_144

/** A body's source throws it with the reason for its end; any other error means that the client left. */
export class BodyRefused extends Error {
  readonly refusal: Refusal

  constructor(refusal: Refusal) {
    super(refusal.code)
    this.refusal = refusal
  }
}

/**
 * The whole body, at most `maxBytes`. `count` is called with each chunk before it is kept, and may throw
 * a BodyRefused; the body may then stall for `timeoutMs`. Without `count`, the declared length is small,
 * and the whole body must arrive within `timeoutMs`.
 */
export function readWhole(
  request: Request,
  maxBytes: number,
  timeoutMs: number,
  count?: (bytes: number) => void,
): Promise<Decision<Uint8Array>> {
  return new Promise((resolve) => {
    const reading = new Reading(resolve)
    setDeadline(reading, timeoutMs)
    const moved = (bytes: number): void => {
      if (!reading.over) setDeadline(reading, timeoutMs)
      count?.(bytes)
    }
    const whole = count ? gather(request, maxBytes, moved) : request.bytes()
    whole.then(
      (body) => reading.end(granted(body)),
      (error: unknown) => {
        const refusal = error instanceof BodyRefused ? error.refusal : undefined
        reading.end(refusal ?? refused('bad_request', { reason: 'body ended early' }))
      },
    )
  })
}

/** A body that is awaited, with its deadline. */
class Reading implements Deadline {
  place = -1
  atMs = -1
  over = false
  readonly #resolve: (read: Decision<Uint8Array>) => void

  constructor(resolve: (read: Decision<Uint8Array>) => void) {
    this.#resolve = resolve
  }

  passed(): void {
    this.end(refused('request_timeout'))
  }

  end(read: Decision<Uint8Array>): void {
    this.over = true
    clearDeadline(this)
    this.#resolve(read)
  }
}

/** For a body that must be small, whatever length was declared. */
export async function readBounded(
  request: Request,
  maxBytes: number,
  timeoutMs: number,
): Promise<Decision<Uint8Array>> {
  const plain = uncoded(request.headers.get('content-encoding'))
  if (!plain.ok) return plain
  const length = declaredLength(request.headers, maxBytes)
  if (!length.ok) return length
  if (length.value !== undefined) return readWhole(request, maxBytes, timeoutMs)
  // Chunked bodies are for large content; no small public request needs one.
  return request.body === null ? granted(new Uint8Array()) : refused('length_required')
}

async function gather(
  request: Request,
  maxBytes: number,
  count: (bytes: number) => void,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  try {
    for await (const chunk of passOn(request, undefined, maxBytes, count).chunks) {
      chunks.push(chunk)
    }
    return Buffer.concat(chunks)
  } finally {
    // Emptied, because their bytes are no longer counted, or have been copied into one piece.
    for (const { buffer } of chunks) if (buffer instanceof ArrayBuffer) buffer.transfer(0)
  }
}

/** Yields the chunks of a body of any length; throws a BodyRefused beyond `maxBytes`. */
export function passOn(
  request: Request,
  length: number | undefined,
  maxBytes: number,
  count: (bytes: number) => void,
): BodyStream {
  async function* chunks(): AsyncGenerator<Uint8Array> {
    let bytes = 0
    for await (const chunk of request.body ?? []) {
      bytes += chunk.byteLength
      if (bytes > maxBytes) throw new BodyRefused(tooLarge(maxBytes))
      count(chunk.byteLength)
      yield chunk
    }
  }
  return { chunks: chunks(), length }
}
