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
import { boundaryIn, formFields } from '../upstream/reading/form.ts'
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
    as: Readable,
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
    async decoded({ admitted, reserved }, body, { codings, boundary }, maxBytes, readPlain) {
      if (!(body instanceof Uint8Array)) return refused('internal_error', { reason: 'unread body' })
      const read: typeof readPlain = (plain) => {
        if (boundary === undefined) return readPlain(plain)
        const fields = formFields(plain, boundary)
        return fields.ok ? readPlain(fields.value) : fields
      }
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

/** How a body is read. */
export interface Readable {
  readonly codings: readonly Coding[]
  /** Of a form. */
  readonly boundary?: string
}

export const UNREAD: Readable = { codings: [] }
const PLAIN = granted(UNREAD)

/** Where clients send forms. */
const FORMS =
  /^\/v1\/(?:images\/edits|audio\/(?:transcriptions|translations)|containers\/[^/]+\/files)$/

/** Before a body is read that something depends on: whether it can be. */
export function readableAs(headers: Headers, path: string): Decision<Readable> {
  const type = headers.get('content-type')
  const boundary = FORMS.test(path) ? boundaryIn(type) : undefined
  if (boundary === undefined && !isPlainJson(type)) return refused('unsupported_body')
  const codings = codingsOf(headers.get('content-encoding'))
  if (!codings.ok) return codings
  if (boundary !== undefined) return granted({ codings: codings.value, boundary })
  return codings.value.length === 0 ? PLAIN : granted({ codings: codings.value })
}
