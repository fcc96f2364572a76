// The schemas of policies and of the rules that assign them.

import { CALLER_KINDS, NAMED_GROUPS, ROUTE_GROUPS } from '../../names.ts'
import { t } from 'elysia'
import { NAME_HINT } from '../kinds.ts'
import { CLOSED, MODELS, NAME, number, own, section, some, upTo, USD, WORD } from './leaf.ts'

const limitsOf = (whose: string, before = '') => ({
  requests_per_minute: number(
    `${before}requestsPerMinute`,
    upTo(0, 1_000_000),
    `Requests a minute of ${whose}; 0 means no limit.`,
  ),
  burst: number(`${before}burst`, upTo(1, 1_000_000), 'How many of them may come at once.'),
  concurrency: number(
    `${before}concurrency`,
    upTo(1, 1_000_000),
    `Requests under way of ${whose}.`,
  ),
  usd_per_day: number(`${before}usdPerDay`, USD, `US dollars a day of ${whose}, in UTC.`),
  usd_per_month: number(`${before}usdPerMonth`, USD, `US dollars a month of ${whose}, in UTC.`),
})

export const Policy = t.Object(
  {
    name: own('name', 'Its name in rules and keys.', NAME, NAME_HINT),
    models: MODELS,
    upstreams: t.Optional(
      t.Array(t.Unsafe<string>(NAME), {
        minItems: 1,
        description: 'Names of upstreams; default all.',
        own: 'upstreams',
        hint: NAME_HINT,
      }),
    ),
    routes: some(
      'routes',
      ROUTE_GROUPS,
      `Groups of routes; default all but ${NAMED_GROUPS.join(', ')}.`,
    ),
    max_body_bytes: number('maxBodyBytes', upTo(1, 1_073_741_824), 'Largest request body.'),
    plaintext: t.Optional(
      t.Boolean({
        description: 'Whether bodies may be plaintext; default true.',
        own: 'plaintext',
      }),
    ),
    require_stream_usage: t.Optional(
      t.Boolean({
        description:
          'Whether streams of chat and completions must ask for their usage by `stream_options.include_usage`; default as in limits.',
        own: 'streamUsage',
      }),
    ),
    tell_upstream: t.Optional(
      t.Boolean({
        description:
          'Whether answers name the upstream that they come from, in `postern-upstream`; default false.',
        own: 'tellsUpstream',
      }),
    ),
    fallback: t.Optional(
      t.Boolean({
        description:
          'Whether requests may go to another upstream as the section fallback says; default true.',
        own: 'fallback',
      }),
    ),
    keep_conversations: t.Optional(
      t.Boolean({
        description:
          'Whether all requests of a conversation go to one upstream where the section fallback spreads them, for its prompt cache; default false.',
        own: 'keepsConversations',
      }),
    ),
    ...limitsOf('one caller'),
    organisation: section(
      limitsOf('all callers of one organisation together', 'organisation.'),
      'In addition to the limits of each caller.',
    ),
  },
  CLOSED,
)

export const Rule = t.Object(
  {
    policy: own('policy', 'The name of the policy that it assigns.', NAME, NAME_HINT),
    kind: own(
      'kind',
      'The kind of the caller.',
      { type: 'string', enum: CALLER_KINDS },
      `give one of ${CALLER_KINDS.join(', ')}`,
    ),
    issuer: own('issuer', "The name of a user's issuer.", NAME, NAME_HINT),
    group: own('group', 'A group of a user, by groups_claim.', WORD, 'give its name'),
    organisation: own(
      'organisation',
      'The organisation of a device or key, or of a user by organisation_claim.',
      WORD,
      'give its name',
    ),
    key: own('key', 'The name of a key.', WORD, 'give its name'),
  },
  CLOSED,
)
