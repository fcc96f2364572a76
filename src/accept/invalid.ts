// A validation error as a refusal. It names the member and says what it must be, both in the schema's
// words, and never repeats what was sent: that may be a secret in the wrong place.

import type { ValidationError } from 'elysia'
import { type Refusal, type RefusalCode, refused } from '../refusal.ts'

/** Annotations of a schema; `description` completes "NAME must be". */
export interface Told {
  readonly description?: string
  /** If it is not `bad_request`. */
  readonly refusal?: RefusalCode
}

/** For an object: members that its schema does not name are ignored. */
export const OTHERS_TOO = { additionalProperties: true }

export function invalid({
  type,
  valueError,
}: {
  readonly type: string
  readonly valueError?: ValidationError['valueError'] | undefined
}): Refusal {
  const { schema, path = '' } = (valueError ?? {}) as { schema?: Told; path?: string }
  const { refusal = 'bad_request', description } = schema ?? {}
  const name = path.slice(1)
  if (description === undefined || name === '') {
    return refused(refusal, { reason: `${type} is not of its schema` })
  }
  const message = refusal === 'bad_request' ? { message: `${name} must be ${description}` } : {}
  return refused(refusal, { reason: `${name} is malformed`, ...message })
}
