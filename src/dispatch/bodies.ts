// Decides whether a request's body is held whole (if it is small, or a decision depends on its content) or
// streamed.

import type { Admitted } from '../admit/admitted.ts'
import type { Reserved } from '../budget/budget.ts'
import type { Exchange } from '../exchange.ts'
import type { UpstreamRequest } from '../http1/request.ts'
import { type Decision, granted, refused } from '../refusal.ts'
import type { Inspected } from '../upstream/inspected.ts'
import { MAX_HELD_BYTES, passOn, readWhole } from './body.ts'
import { type Coding, codingsOf } from './content-coding.ts'
import { decodeWhole } from './decoded-body.ts'
import { heldBytes } from './held-bytes.ts'
import { isPlainJson } from './plain-json.ts'

export interface Permitted {
  readonly admitted: Admitted
  readonly reserved: Reserved
}

export interface Sender {
  readonly request: Request
  readonly method: string
  /** Whether a decision depends on the content. */
  readonly limited: boolean
}

export interface Bodies {
  read(
    permitted: Permitted,
    sender: Sender,
    inspected: Inspected,
    exchange: Exchange,
  ): Decision<UpstreamRequest['body']> | Promise<Decision<UpstreamRequest['body']>>
  /** Applies `read` to the body, decoded only for it. */
  decoded<T>(
    permitted: Permitted,
    body: UpstreamRequest['body'],
    codings: readonly Coding[],
    maxBytes: number,
    read: (plain: Uint8Array) => Decision<T>,
  ): Promise<Decision<T>>
}

/** `timeoutMs`: how long a held body may stall, or a small one may take to arrive. */
export function bodies(timeoutMs: () => number): Bodies {
  const memory = heldBytes()
  return {
    read({ admitted, reserved }, { request, method, limited }, { length, maxBytes }, exchange) {
      if (method !== 'POST') return granted(undefined)
      // `request.body` would create a stream, which costs more than reading the whole body.
      if (length === undefined && request.body === null) return granted(new Uint8Array())
      const small = length !== undefined && length <= MAX_HELD_BYTES
      if (!small && !limited) {
        return granted(
          passOn(request, length, maxBytes, (bytes) => {
            exchange.bytesIn += bytes
          }),
        )
      }
      if (small) return readWhole(request, maxBytes, timeoutMs())
      const share = memory.share(admitted.identity)
      reserved.also(share.giveBack)
      const room = share.roomFor(length ?? 0)
      return room.ok ? readWhole(request, maxBytes, timeoutMs(), share.take) : room
    },
    async decoded({ admitted, reserved }, body, codings, maxBytes, read) {
      if (!(body instanceof Uint8Array)) return refused('internal_error', { reason: 'unread body' })
      if (codings.length === 0) return read(body)
      const share = memory.share(admitted.identity)
      reserved.also(share.giveBack)
      const plain = await decodeWhole(body, codings, maxBytes, share.take)
      const found = plain.ok ? read(plain.value) : plain
      share.giveBack()
      return found
    },
  }
}

/** Checks before reading whether a body on which something depends can be read. */
export function readableAs(headers: Headers): Decision<readonly Coding[]> {
  return isPlainJson(headers.get('content-type'))
    ? codingsOf(headers.get('content-encoding'))
    : refused('unsupported_body')
}
