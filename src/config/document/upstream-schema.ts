// One upstream of each kind, as a document lists it.

import { t } from 'elysia'
import type { UpstreamKind } from '../../names.ts'
import type { Key } from '../table.ts'
import { CLOSED, leaf, secret } from './leaf.ts'

export const Tinfoil = t.Object(
  {
    kind: t.Literal('tinfoil'),
    ...secret('api_key', 'tinfoilApiKey'),
    base_url: leaf('tinfoilBaseUrl'),
    attestation_url: leaf('tinfoilAttestationUrl'),
    enclave_hosts: leaf('tinfoilEnclaveHosts'),
    require_ehbp: leaf('requireEhbp'),
    callers: leaf('tinfoilCallers'),
  },
  CLOSED,
)

export const Anthropic = t.Object(
  {
    kind: t.Literal('anthropic'),
    ...secret('api_key', 'anthropicApiKey'),
    base_url: leaf('anthropicBaseUrl'),
    callers: leaf('anthropicCallers'),
  },
  CLOSED,
)

export const AnthropicOauth = t.Object(
  {
    kind: t.Literal('anthropic-oauth'),
    base_url: leaf('apiBaseUrl'),
    client_id: leaf('clientId'),
    ...secret('client_secret', 'clientSecret'),
    client_auth: leaf(
      'clientAuth',
      'How client_secret is shown; without it, what the provider takes.',
    ),
    redirect_uri: leaf('redirectUri'),
    authorize_url: leaf('oauthBaseUrl'),
    token_url: leaf('oauthTokenUrl'),
    issuer: leaf('oauthIssuer', 'What `iss` must be; without it, the origin of authorize_url.'),
    scopes: leaf('oauthScopes'),
    ...secret('session_secrets', 'sessionSecret'),
  },
  CLOSED,
)

/** The one setting that says that an upstream is there, by the kind that a document gives it. */
export const CHOOSES = {
  tinfoil: 'tinfoilApiKey',
  anthropic: 'anthropicApiKey',
  'anthropic-oauth': 'clientId',
} as const satisfies Readonly<Record<UpstreamKind, Key>>
