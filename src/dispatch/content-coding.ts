// The content codings (RFC 9110 §8.4) that a request's headers name, and whether the gate can decode them.

import { type Decision, granted, type Refusal, refused } from '../refusal.ts'

export type Coding = 'gzip' | 'deflate' | 'br' | 'zstd'

/** For the `Accept-Encoding` header of a 415 (RFC 9110 §15.5.16). */
export const CODINGS: readonly Coding[] = ['gzip', 'deflate', 'br', 'zstd']

/** No client needs more, and each costs a pass over the body. */
const MAX_CODINGS = 2
const MAX_HEADER_LENGTH = 128

/** In the order in which they were applied; empty if the body is not coded. */
export function codingsOf(contentEncoding: string | null): Decision<readonly Coding[]> {
  if (contentEncoding === null) return granted([])
  if (contentEncoding.length > MAX_HEADER_LENGTH) return unsupported(contentEncoding)
  const codings: Coding[] = []
  for (const each of contentEncoding.split(',')) {
    const name = each.trim().toLowerCase()
    if (name === '' || name === 'identity') continue
    const coding = CODINGS.find((known) => known === name || `x-${known}` === name)
    if (!coding) return unsupported(name)
    codings.push(coding)
  }
  return codings.length > MAX_CODINGS ? unsupported(contentEncoding) : granted(codings)
}

/** For small bodies that the gate reads itself: no coding is accepted. */
export function uncoded(contentEncoding: string | null): Decision<undefined> {
  const codings = codingsOf(contentEncoding)
  if (codings.ok && codings.value.length === 0) return granted(undefined)
  return unsupported(contentEncoding ?? '', 'identity')
}

function unsupported(given: string, accepted = CODINGS.join(', ')): Refusal {
  const name = given.slice(0, 40).replace(/[^\x21-\x7e ]/g, '?')
  const instead = accepted === 'identity' ? 'send it without one' : `use ${accepted}, or none`
  return refused('unsupported_encoding', {
    message: `a body with Content-Encoding "${name}" is not read here; ${instead}`,
    acceptEncoding: accepted,
  })
}
