// A request as it is written to an upstream (RFC 9112 §3, §7.1): its head, and the framing of a body
// whose length is not known.

import type { Call } from './transport.ts'

/** RFC 9110 §5.5: what could end a line, and with it begin another header, is not sent. */
const UNSENDABLE = /[^\t\x20-\x7e\x80-\xff]/

/** Undefined where a header's value cannot be sent. */
export function headOf({ method, to, headers, body }: Call): string | undefined {
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
