// What Elysia's schemas found wrong, as a refusal. It names the member and what it must be, both of
// them the schema's own words, and never what was sent: that may be a secret in the wrong place.

import type { ValidationError } from 'elysia'
import { type Refusal, type RefusalCode, refused } from '../refusal.ts'

/** What a schema says beside its type; `description` is what the member must be. */
export interface Told {
  readonly description?: string
  /** Where it is another than `bad_request`. */
  readonly refusal?: RefusalCode
}

/** Of an object: members that its schema does not name are not looked at. */
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
