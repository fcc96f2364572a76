// How a request is written to an upstream (RFC 9112 §3, §7.1): its head, and chunked framing for a body
// of unknown length.

import type { Destination } from './destination.ts'

export interface UpstreamRequest {
  /** Not HEAD: its response announces a body that does not follow. */
  readonly method: 'GET' | 'POST' | 'DELETE'
  readonly to: Destination
  readonly headers: Readonly<Record<string, string>>
  /** Held in memory, or streamed; `length` if it is known beforehand. */
  readonly body: Uint8Array | BodyStream | undefined
  /** It asks for another protocol: 101 is its answer, and what follows on the connection the body. */
  readonly upgrades?: boolean
  /** The body is not needed after it has been sent, so its memory is freed at once. */
  readonly sentOnce?: boolean
}

export interface BodyStream {
  readonly chunks: AsyncIterable<Uint8Array>
  readonly length: number | undefined
}

/** RFC 9110 §5.5: a character that could end the line, and so inject a header, is not sent. */
const UNSENDABLE = /[^\t\x20-\x7e\x80-\xff]/

/** Undefined if a header value cannot be sent. */
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
