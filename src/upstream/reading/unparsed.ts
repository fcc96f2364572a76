// The messages about a body that a decision depends on and that two parsers could read differently.

import { type Refusal, refused } from '../../refusal.ts'
import type { Unparsed } from './outline.ts'

const AMBIGUOUS = 'a body that this gate has to read may not read differently to two parsers'
const SAID: Readonly<Record<Unparsed, string>> = {
  empty: 'the body is empty',
  byte_order_mark: `the body begins with a byte order mark; ${AMBIGUOUS}`,
  not_utf8: 'the body is not UTF-8',
  not_json: 'the body is not JSON',
  not_object: 'the body is not a JSON object',
  too_deep: 'the body is nested more than 512 deep',
  too_many_members: 'the body has too many members for this gate to read',
  ambiguous_member: `a member of the body is there twice, or its name is spelled oddly; ${AMBIGUOUS}`,
}

export const ambiguousBody = (reason: Unparsed): Refusal =>
  refused('ambiguous_body', { reason, message: SAID[reason] })
