// The schema of an upstream, for each kind.

import { t } from 'elysia'
import { UPSTREAM_KINDS, type UpstreamKind } from '../../names.ts'
import { NAME_HINT } from '../kinds.ts'
import { type Key, settingOf } from '../table.ts'
import { MEMBERS } from '../upstreams.ts'
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

/** The members that have a setting: api_key for apiKey. */
const membersOf = (kind: UpstreamKind): Parameters<typeof t.Object>[0] =>
  Object.assign(
    {},
    ...Object.entries<Key>(MEMBERS[kind]).map(([member, key]) => {
      const name = member.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
      return settingOf(key).secret ? secret(name, key) : { [name]: leaf(key) }
    }),
  )

const ofKind = (kind: UpstreamKind) =>
  t.Object({ kind: t.Literal(kind), ...listed, ...membersOf(kind) }, CLOSED)

/** Its members are the settings of a sign-in. */
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

export const Upstream = t.Union(
  UPSTREAM_KINDS.map((kind) => (kind === 'anthropic-oauth' ? AnthropicOauth : ofKind(kind))),
)
