// Checks `--policy`: with a document, it must name one of its policies.

import type { Mistake } from '../config/kinds.ts'
import { listed } from '../config/policies.ts'
import { isPolicyName } from '../enroll/entitlements.ts'

/** The mistake in a policy's name; only a document lists the policies. */
export function policyMistake(
  policy: string,
  policies: readonly string[] | undefined,
): Pick<Mistake, 'message' | 'hint'> | undefined {
  if (!isPolicyName(policy)) {
    const hint = 'give letters, digits, dots, dashes; 64 at most'
    return { message: 'is not a policy name', hint }
  }
  if (policies?.includes(policy) ?? true) return undefined
  return {
    message: 'names a policy that the document does not have',
    hint: listed(policy, policies ?? []),
  }
}
