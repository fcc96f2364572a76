// What a request asks for, read from its headers before anything is reserved for it: is it sealed,
// to which enclave does it go, and how large does it say it is? Pure.

import { type Decision, granted, refused } from '../refusal.ts'
import { allowedHost } from '../upstream/tinfoil/enclave.ts'
import { ENCAPSULATED_KEY } from '../upstream/tinfoil/tinfoil.ts'
import { declaredLength } from './body.ts'

export interface InspectRules {
  readonly requireEhbp: boolean
  readonly enclaveHosts: readonly string[]
  readonly maxRequestBodyBytes: number
}

export interface Inspected {
  readonly sealed: boolean
  /** The host of an allowed enclave; undefined where the configured upstream is meant. */
  readonly enclaveHost: string | undefined
  readonly length: number | undefined
  readonly maxBytes: number
}

const ENCLAVE_URL = 'x-tinfoil-enclave-url'
/** EHBP 0.3.1: an X25519 public key in hexadecimal. */
const KEY = /^[0-9a-f]{64}$/i

/** For an upstream that knows neither seals nor enclaves. */
export function inspectPlain(
  headers: Headers,
  hasBody: boolean,
  maxBytes: number,
): Decision<Inspected> {
  const length = declaredLength(headers, hasBody ? maxBytes : Infinity)
  if (!length.ok) return length
  return granted({ sealed: false, enclaveHost: undefined, length: length.value, maxBytes })
}

/** `hasBody`: bodyless requests travel in clear by EHBP's design, so none is demanded of them. */
export function inspect(
  headers: Headers,
  hasBody: boolean,
  rules: InspectRules,
): Decision<Inspected> {
  const key = headers.get(ENCAPSULATED_KEY)
  if (key === null && hasBody && rules.requireEhbp) return refused('encryption_required')
  if (key !== null && !KEY.test(key)) return refused('invalid_encapsulated_key')

  const chosen = headers.get(ENCLAVE_URL)
  const enclaveHost = chosen === null ? undefined : allowedHost(chosen, rules.enclaveHosts)
  if (chosen !== null && enclaveHost === undefined) return refused('enclave_not_allowed')

  const maxBytes = rules.maxRequestBodyBytes
  const length = declaredLength(headers, hasBody ? maxBytes : Infinity)
  if (!length.ok) return length
  return granted({ sealed: key !== null, enclaveHost, length: length.value, maxBytes })
}
