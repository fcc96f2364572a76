// The schema of an upstream, for each kind.

import { t } from 'elysia'
import type { UpstreamKind } from '../../names.ts'
import { NAME_HINT } from '../kinds.ts'
import { CLOSED, leaf, MODELS, NAME, own, secret } from './leaf.ts'

const common = {
  name: own(
    'name',
    'Its name in the log, the ledger and policies; required if there are several of its kind.',
    NAME,
    NAME_HINT,
  ),
  models: MODELS,
}

/** A model list that depends on the caller's account cannot choose an upstream. */
const listed = {
  ...common,
  ask_models: t.Optional(
    t.Boolean({
      description: 'Whether it is chosen by the models that it lists itself; default false.',
      own: 'askModels',
    }),
  ),
}

const Tinfoil = t.Object(
  {
    kind: t.Literal('tinfoil'),
    ...listed,
    ...secret('api_key', 'tinfoilApiKey'),
    base_url: leaf('tinfoilBaseUrl'),
    attestation_url: leaf('tinfoilAttestationUrl'),
    enclave_hosts: leaf('tinfoilEnclaveHosts'),
    require_ehbp: leaf('requireEhbp'),
    callers: leaf('tinfoilCallers'),
  },
  CLOSED,
)

const Anthropic = t.Object(
  {
    kind: t.Literal('anthropic'),
    ...listed,
    ...secret('api_key', 'anthropicApiKey'),
    base_url: leaf('anthropicBaseUrl'),
    key_header: leaf('anthropicKeyHeader'),
    headers: leaf('anthropicHeaders'),
    routes: leaf('anthropicRoutes'),
    callers: leaf('anthropicCallers'),
  },
  CLOSED,
)

const OpenAi = t.Object(
  {
    kind: t.Literal('openai'),
    ...listed,
    base_url: leaf('openaiUpstreamUrl'),
    ...secret('api_key', 'openaiUpstreamKey'),
    key_header: leaf('openaiUpstreamKeyHeader'),
    headers: leaf('openaiUpstreamHeaders'),
    routes: leaf('openaiUpstreamRoutes'),
    callers: leaf('openaiUpstreamCallers'),
  },
  CLOSED,
)

const AnthropicOauth = t.Object(
  {
    kind: t.Literal('anthropic-oauth'),
    ...common,
    base_url: leaf('apiBaseUrl'),
    client_id: leaf('clientId'),
    ...secret('client_secret', 'clientSecret'),
    client_auth: leaf(
      'clientAuth',
      'How client_secret is sent; default whichever the provider accepts.',
    ),
    redirect_uri: leaf('redirectUri'),
    authorize_url: leaf('oauthBaseUrl'),
    token_url: leaf('oauthTokenUrl'),
    issuer: leaf('oauthIssuer', 'The required `iss`; default the origin of authorize_url.'),
    scopes: leaf('oauthScopes'),
    ...secret('session_secrets', 'sessionSecret'),
  },
  CLOSED,
)

/** A kind that is missing here is a compile error. */
const BY_KIND = {
  tinfoil: Tinfoil,
  anthropic: Anthropic,
  'anthropic-oauth': AnthropicOauth,
  openai: OpenAi,
} satisfies Readonly<Record<UpstreamKind, object>>

export const Upstream = t.Union(Object.values(BY_KIND))
