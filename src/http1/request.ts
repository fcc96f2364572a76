// A request as it is written to an upstream (RFC 9112 §3, §7.1): its head, and the framing of a body
// whose length is not known.

import type { Destination } from './destination.ts'

export interface UpstreamRequest {
  /** Not HEAD: its answer's length is of a body that does not come. */
  readonly method: 'GET' | 'POST' | 'DELETE'
  readonly to: Destination
  readonly headers: Readonly<Record<string, string>>
  /** Held whole, or passed on as it comes; `length` where it is known beforehand. */
  readonly body: Uint8Array | BodyStream | undefined
  /** Nobody needs the body once it has been sent: its memory is given back there and then. */
  readonly sentOnce?: boolean
}

export interface BodyStream {
  readonly chunks: AsyncIterable<Uint8Array>
  readonly length: number | undefined
}

/** RFC 9110 §5.5: what could end a line, and with it begin another header, is not sent. */
const UNSENDABLE = /[^\t\x20-\x7e\x80-\xff]/

/** Undefined where a header's value cannot be sent. */
export function headOf({ method, to, headers, body }: UpstreamRequest): string | undefined {
  let head = `${method} ${to.opening}`
  let values = ''
  for (const name in headers) {
    const value = headers[name] ?? ''
    values += value
    head += `${name}: ${value}\r\n`
  }
  if (UNSENDABLE.test(values)) return undefined
  if (body === undefined) return `${head}\r\n`
  const length = body instanceof Uint8Array ? body.byteLength : body.length
  return length === undefined
    ? `${head}transfer-encoding: chunked\r\n\r\n`
    : `${head}content-length: ${length}\r\n\r\n`
}

const CRLF = Buffer.from('\r\n')
export const LAST_CHUNK = Buffer.from('0\r\n\r\n')

export function chunked(chunk: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`${chunk.byteLength.toString(16)}\r\n`), chunk, CRLF])
}
