// Where a request goes when an upstream gives no answer, as a document lists it.

import { t } from 'elysia'
import { FALLBACK_CAUSES, FALLBACK_GROUPS } from '../../names.ts'
import { NAME_HINT } from '../kinds.ts'
import { CLOSED, NAME, number, numbers, own, some, upTo } from './leaf.ts'

export const Fallback = t.Object(
  {
    routes: some('routes', FALLBACK_GROUPS, 'Groups of routes; required.'),
    from: t.Optional(
      t.Array(t.Unsafe<string>(NAME), {
        minItems: 1,
        description: 'Names of upstreams, in the order in which they are tried; required.',
        own: 'from',
        hint: NAME_HINT,
      }),
    ),
    first: own(
      'first',
      'Which of from is asked first: the one that comes first in upstreams, or the one with the fewest requests under way; default listed.',
      { type: 'string', enum: ['listed', 'fewest'] },
      'give listed or fewest',
    ),
    on: some(
      'on',
      FALLBACK_CAUSES,
      'What ends an attempt: no connection, an open circuit, a refusal for load (429, 529, 503 with a pause), any other failure, a connection that ends without an answer; default unreachable, open, overloaded.',
    ),
    attempts: number('attempts', upTo(2, 4), 'How often a request is sent, at most; default 2.'),
    within_seconds: number(
      'withinSeconds',
      upTo(1, 600),
      'No attempt begins later after the request has arrived; default 20.',
    ),
    again_if_billed: t.Optional(
      t.Boolean({
        description:
          'Whether a request that an upstream may bill is sent again; 5xx and unanswered need it; default false.',
        own: 'againIfBilled',
      }),
    ),
    weights: numbers(
      'weights',
      upTo(1, 1000),
      'One for each of from: the others are tried in an order drawn by these; default the order of from.',
    ),
  },
  CLOSED,
)
