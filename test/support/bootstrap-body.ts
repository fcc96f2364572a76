// What /bootstrap makes of a body's text, without a gate around it.

import { getSchemaValidator, type Static } from 'elysia'
import { BOOTSTRAP_BODY, bootstrapRequest } from '../../src/accept/bootstrap-body.ts'
import { invalid } from '../../src/accept/invalid.ts'
import type { BootstrapRequest } from '../../src/enroll/bootstrap.ts'
import type { EnrollDecision } from '../../src/enroll/refusals.ts'
import { parseStrictObject } from '../../src/token/strict-json.ts'

/** As Elysia compiles it. */
const validator = getSchemaValidator(BOOTSTRAP_BODY)

const isBody = (body: unknown): body is Static<typeof BOOTSTRAP_BODY> => validator.Check(body)

export function readBootstrap(text: string): EnrollDecision<BootstrapRequest> {
  const body: unknown = parseStrictObject(text)
  if (isBody(body)) return { ok: true, value: bootstrapRequest(body) }
  const refusal = invalid({ type: 'body', valueError: validator.Errors(body).First() })
  return refusal as EnrollDecision<never>
}
