// Reads what a request's headers say about its body, before anything is reserved for it. Pure.

import { type Decision, granted, type Refusal, refused } from '../refusal.ts'

/** EHBP: the body is sealed for an enclave. */
export const ENCAPSULATED_KEY = 'ehbp-encapsulated-key'
/** The caller has verified this enclave. */
export const ENCLAVE_URL = 'x-tinfoil-enclave-url'

/** Said by its caller, whether or not the upstream that was chosen reads it. */
export const isForOneEnclave = (headers: Headers): boolean =>
  headers.has(ENCAPSULATED_KEY) || headers.has(ENCLAVE_URL)

export interface Inspected {
  readonly sealed: boolean
  /** The host of an allowed enclave; undefined for the configured upstream. */
  readonly enclaveHost: string | undefined
  readonly length: number | undefined
  readonly maxBytes: number
}

/** The declared length, or undefined. Repeated headers arrive as `5, 5` (RFC 9112 §6.3). */
export function declaredLength(headers: Headers, maxBytes: number): Decision<number | undefined> {
  const text = headers.get('content-length')
  if (text === null) return granted(undefined)
  if (!/^\d{1,15}$/.test(text)) return refused('bad_request', { reason: 'content-length' })
  const length = Number(text)
  return length > maxBytes ? tooLarge(maxBytes) : granted(length)
}

export function tooLarge(maxBytes: number, what = 'request body'): Refusal {
  return refused('request_too_large', { message: `${what} exceeds ${maxBytes} bytes` })
}

/** For an upstream without seals and enclaves. */
export function inspectPlain(
  headers: Headers,
  hasBody: boolean,
  maxBytes: number,
): Decision<Inspected> {
  const length = declaredLength(headers, hasBody ? maxBytes : Infinity)
  if (!length.ok) return length
  return granted({ sealed: false, enclaveHost: undefined, length: length.value, maxBytes })
}
