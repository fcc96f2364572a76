// Reads a request's seal (EHBP) and its enclave from the headers. Pure.

import { type Decision, granted, refused } from '../../refusal.ts'
import { declaredLength, ENCAPSULATED_KEY, ENCLAVE_URL, type Inspected } from '../inspected.ts'
import { allowedHost } from './enclave.ts'

export interface SealRules {
  readonly requireEhbp: boolean
  readonly enclaveHosts: readonly string[]
  readonly maxBodyBytes: number
}

/** EHBP 0.3.1: an X25519 public key in hexadecimal. */
const KEY = /^[0-9a-f]{64}$/i

/** `hasBody`: in EHBP, requests without a body are never sealed, so no seal is required. */
export function inspectSealed(
  headers: Headers,
  hasBody: boolean,
  { requireEhbp, enclaveHosts, maxBodyBytes: maxBytes }: SealRules,
): Decision<Inspected> {
  const key = headers.get(ENCAPSULATED_KEY)
  if (key === null && hasBody && requireEhbp) return refused('encryption_required')
  if (key !== null && !KEY.test(key)) return refused('invalid_encapsulated_key')

  const chosen = headers.get(ENCLAVE_URL)
  const enclaveHost = chosen === null ? undefined : allowedHost(chosen, enclaveHosts)
  if (chosen !== null && enclaveHost === undefined) return refused('enclave_not_allowed')

  const length = declaredLength(headers, hasBody ? maxBytes : Infinity)
  if (!length.ok) return length
  return granted({ sealed: key !== null, enclaveHost, length: length.value, maxBytes })
}
