// The schema of an issuer.

import { t } from 'elysia'
import { ALGORITHMS, AUDIENCE_CLAIMS } from '../issuers.ts'
import { CLOSED, leaf, section, some } from './leaf.ts'

/** As in src/admit/claim-path.ts: names joined by dots, or one name with a scheme; `\\.` is a dot. */
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
        description: 'Its name in the log and in policies; required if there are several.',
        own: 'name',
        hint: 'give letters a to z, digits, and _ . - between them',
      }),
    ),
    issuer: leaf('issuer'),
    jwks_url: leaf('jwksUrl', 'Its key set; default the one in its discovery document.'),
    audiences: leaf('audiences', 'Tokens must name one of these.'),
    audience_claims: some(
      'audienceClaims',
      AUDIENCE_CLAIMS,
      'The claims that may hold it, the first that a token has; default aud.',
    ),
    algorithms: some('algorithms', ALGORITHMS, 'Default those of the key set.'),
    scope: section(
      {
        name: t.Optional(
          t.String({
            pattern: '^[!#-\\[\\]-~]{1,256}$',
            description: 'The scope that tokens must have; default inference.',
            own: 'scope.name',
            hint: 'give one word',
          }),
        ),
        claims: t.Optional(
          t.Array(t.String(CLAIM), {
            minItems: 1,
            description: 'The claims that hold it; default scope, scp and permissions.',
            own: 'scope.claims',
            hint: claimHint,
          }),
        ),
        text_only: t.Optional(
          t.Boolean({ description: 'A list of scopes is refused.', own: 'scope.textOnly' }),
        ),
        optional: t.Optional(
          t.Boolean({ description: 'Require no scope.', own: 'scope.optional' }),
        ),
      },
      'The scope that a token must have.',
    ),
    subject_claim: claim('subjectClaim', 'The claim that identifies the user; default sub.'),
    groups_claim: claim('groupsClaim', 'The claim with their groups; default none.'),
    organisation_claim: claim(
      'organisationClaim',
      'The claim with their organisation; default none.',
    ),
    required_claims: t.Optional(
      t.Array(t.String({ maxLength: 512, pattern: '^[^=]+=[^\\s=][\\s\\S]*$' }), {
        minItems: 1,
        description:
          'Further claims that tokens must have; one of several values of a claim is enough.',
        own: 'requiredClaims',
        hint: 'give NAME=VALUE, as in repository_owner=acme',
      }),
    ),
    refresh_seconds: leaf('jwksRefreshSeconds'),
    max_stale_seconds: leaf('jwksMaxStaleSeconds'),
  },
  CLOSED,
)
