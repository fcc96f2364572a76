// One issuer, as a document lists it.

import { t } from 'elysia'
import { ALGORITHMS, AUDIENCE_CLAIMS } from '../issuers.ts'
import { CLOSED, leaf, section, some } from './leaf.ts'

/** As src/admit reads one: names with dots between them, or one with a scheme; `\\.` is a dot. */
export const CLAIM = {
  maxLength: 256,
  pattern:
    '^(?:[A-Za-z][A-Za-z0-9+.-]*://[\\s\\S]*|(?:[^.\\\\]|\\\\[.\\\\])+(?:\\.(?:[^.\\\\]|\\\\[.\\\\])+)*)$',
}
const claimHint = 'give the name of a claim, or a path as in realm_access.roles'
const claim = (own: string, description: string) =>
  t.Optional(t.String({ ...CLAIM, description, own, hint: claimHint }))
export const Issuer = t.Object(
  {
    name: t.Optional(
      t.String({
        pattern: '^[a-z0-9][a-z0-9_.-]{0,62}$',
        description: 'What the log and policies call it; needed where there are several.',
        own: 'name',
        hint: 'give letters a to z, digits, and _ . - between them',
      }),
    ),
    issuer: leaf('issuer'),
    jwks_url: leaf('jwksUrl', 'Its key set; without it, where its discovery document says.'),
    audiences: leaf('audiences', 'Tokens must name one of these.'),
    audience_claims: some(
      'audienceClaims',
      AUDIENCE_CLAIMS,
      'In which claim they name it, the first that a token has; without it, aud.',
    ),
    algorithms: some('algorithms', ALGORITHMS, 'Without it, those that the key set has.'),
    scope: section(
      {
        name: t.Optional(
          t.String({
            pattern: '^[!#-\\[\\]-~]{1,256}$',
            description: 'The scope that tokens must have; without it, inference.',
            own: 'scope.name',
            hint: 'give one word',
          }),
        ),
        claims: t.Optional(
          t.Array(t.String(CLAIM), {
            minItems: 1,
            description: 'Where it stands; without it, scope, scp and permissions.',
            own: 'scope.claims',
            hint: claimHint,
          }),
        ),
        text_only: t.Optional(
          t.Boolean({ description: 'A list of scopes is refused.', own: 'scope.textOnly' }),
        ),
        optional: t.Optional(
          t.Boolean({ description: 'No scope is asked for.', own: 'scope.optional' }),
        ),
      },
      'Which scope a token must have.',
    ),
    subject_claim: claim('subjectClaim', 'Who somebody is; without it, sub.'),
    groups_claim: claim('groupsClaim', 'In which groups they are; without it, in none.'),
    organisation_claim: claim('organisationClaim', 'Of which organisation; without it, of none.'),
    required_claims: t.Optional(
      t.Array(t.String({ maxLength: 512, pattern: '^[^=]+=[^\\s=][\\s\\S]*$' }), {
        minItems: 1,
        description: 'What else tokens must say; of several values of one claim, one is enough.',
        own: 'requiredClaims',
        hint: 'give NAME=VALUE, as in repository_owner=acme',
      }),
    ),
    refresh_seconds: leaf('jwksRefreshSeconds'),
    max_stale_seconds: leaf('jwksMaxStaleSeconds'),
  },
  CLOSED,
)
