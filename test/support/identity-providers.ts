// The tokens of well-known identity providers, in the shape that their public documentation shows
// (names and values are made up), and the settings under which a gate takes them.

import type { Algorithm } from '../../src/admit/algorithms.ts'
import type { IssuerSettings } from '../../src/admit/issuer-settings.ts'
import type { Json } from './mint.ts'

export interface ProviderToken {
  readonly header: Json
  /** Without its dates. */
  readonly claims: Json
}

export interface IdentityProvider {
  readonly alg: Algorithm
  /** Whether the keys of its set have an `alg`. */
  readonly keysHaveAlg: boolean
  readonly settings: Pick<IssuerSettings, 'issuer' | 'audiences'> & Partial<IssuerSettings>
  readonly token: ProviderToken
  /** As the settings have them: the subject, and the groups. */
  readonly subject: string
  readonly groups: readonly string[]
}

const TENANT = '11111111-2222-4333-8444-555555555555'
const USER = 'aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee'
const GROUP = '99999999-8888-4777-8666-555555555555'

export const PROVIDERS: Readonly<Record<string, IdentityProvider>> = {
  'Entra v1': {
    alg: 'RS256',
    keysHaveAlg: false,
    settings: {
      issuer: `https://sts.windows.net/${TENANT}/`,
      audiences: ['api://gate'],
      scope: { claims: ['scp'] },
      subjectClaim: 'oid',
      groupsClaim: 'groups',
    },
    token: {
      header: { typ: 'JWT', x5t: 'thumbprint' },
      claims: {
        aud: 'api://gate',
        iss: `https://sts.windows.net/${TENANT}/`,
        acr: '1',
        aio: 'opaque',
        amr: ['pwd', 'mfa'],
        appid: 'client',
        appidacr: '0',
        groups: [GROUP],
        ipaddr: '203.0.113.7',
        oid: USER,
        rh: 'opaque',
        scp: 'access_as_user inference',
        sub: 'pairwise',
        tid: TENANT,
        uti: 'opaque',
        ver: '1.0',
      },
    },
    subject: USER,
    groups: [GROUP],
  },
  'Entra v2': {
    alg: 'RS256',
    keysHaveAlg: false,
    settings: {
      issuer: `https://login.microsoftonline.com/${TENANT}/v2.0`,
      audiences: ['client-of-the-gate'],
      groupsClaim: 'roles',
    },
    token: {
      header: { typ: 'JWT' },
      claims: {
        aud: 'client-of-the-gate',
        iss: `https://login.microsoftonline.com/${TENANT}/v2.0`,
        azp: 'client',
        azpacr: '0',
        name: 'A Person',
        oid: USER,
        preferred_username: 'person@example.com',
        roles: ['Gate.User'],
        scp: 'inference',
        sub: 'pairwise',
        tid: TENANT,
        uti: 'opaque',
        ver: '2.0',
      },
    },
    subject: 'pairwise',
    groups: ['Gate.User'],
  },
  Auth0: {
    alg: 'RS256',
    keysHaveAlg: true,
    settings: {
      issuer: 'https://tenant.eu.auth0.com/',
      audiences: ['https://gate.example/'],
      scope: { name: 'use:inference' },
      groupsClaim: 'https://example.com/roles',
    },
    token: {
      header: { typ: 'JWT' },
      claims: {
        'https://example.com/roles': ['admin', 'staff'],
        iss: 'https://tenant.eu.auth0.com/',
        sub: 'auth0|0123456789abcdef01234567',
        aud: ['https://gate.example/', 'https://tenant.eu.auth0.com/userinfo'],
        azp: 'client',
        scope: 'openid profile email',
        permissions: ['use:inference'],
      },
    },
    subject: 'auth0|0123456789abcdef01234567',
    groups: ['admin', 'staff'],
  },
  Okta: {
    alg: 'RS256',
    keysHaveAlg: true,
    settings: {
      issuer: 'https://tenant.okta.com/oauth2/default',
      audiences: ['api://default'],
      subjectClaim: 'uid',
      groupsClaim: 'groups',
    },
    token: {
      header: {},
      claims: {
        ver: 1,
        jti: 'AT.opaque',
        iss: 'https://tenant.okta.com/oauth2/default',
        aud: 'api://default',
        cid: 'client',
        uid: '00u1',
        scp: ['openid', 'inference'],
        auth_time: 1,
        sub: 'person@example.com',
        groups: ['Everyone'],
      },
    },
    subject: '00u1',
    groups: ['Everyone'],
  },
  'Google (id token)': {
    alg: 'RS256',
    keysHaveAlg: true,
    settings: {
      issuer: 'https://accounts.google.com',
      requiredClaims: ['hd=example.com'],
      audiences: ['client.apps.googleusercontent.com'],
      scope: { optional: true },
    },
    token: {
      header: { typ: 'JWT' },
      claims: {
        iss: 'https://accounts.google.com',
        azp: 'client.apps.googleusercontent.com',
        aud: 'client.apps.googleusercontent.com',
        sub: '110169484474386276334',
        hd: 'example.com',
        email: 'person@example.com',
        email_verified: true,
        at_hash: 'opaque',
      },
    },
    subject: '110169484474386276334',
    groups: [],
  },
  'Cognito (access)': {
    alg: 'RS256',
    keysHaveAlg: true,
    settings: {
      issuer: 'https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Pool',
      audiences: ['client'],
      audienceClaims: ['client_id'],
      scope: { name: 'gate/inference' },
      groupsClaim: 'cognito:groups',
    },
    token: {
      header: {},
      claims: {
        sub: USER,
        'cognito:groups': ['ops'],
        iss: 'https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Pool',
        version: 2,
        client_id: 'client',
        origin_jti: USER,
        event_id: USER,
        token_use: 'access',
        scope: 'openid gate/inference',
        auth_time: 1,
        username: 'person',
      },
    },
    subject: USER,
    groups: ['ops'],
  },
  'Cognito (id)': {
    alg: 'RS256',
    keysHaveAlg: true,
    settings: {
      issuer: 'https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Pool',
      audiences: ['client'],
      audienceClaims: ['aud', 'client_id'],
      scope: { optional: true },
      groupsClaim: 'cognito:groups',
    },
    token: {
      header: {},
      claims: {
        at_hash: 'opaque',
        sub: USER,
        'cognito:groups': ['ops'],
        'cognito:username': 'person',
        email_verified: true,
        iss: 'https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Pool',
        origin_jti: USER,
        aud: 'client',
        event_id: USER,
        token_use: 'id',
        auth_time: 1,
      },
    },
    subject: USER,
    groups: ['ops'],
  },
  Keycloak: {
    alg: 'RS256',
    keysHaveAlg: true,
    settings: {
      issuer: 'https://id.example/realms/staff',
      audiences: ['gate-client'],
      audienceClaims: ['azp'],
      scope: { optional: true },
      groupsClaim: 'realm_access.roles',
    },
    token: {
      header: { typ: 'JWT' },
      claims: {
        jti: 'opaque',
        iss: 'https://id.example/realms/staff',
        aud: 'account',
        sub: USER,
        typ: 'Bearer',
        azp: 'gate-client',
        session_state: USER,
        acr: '1',
        'allowed-origins': ['https://app.example'],
        realm_access: { roles: ['offline_access', 'staff'] },
        resource_access: { account: { roles: ['manage-account'] } },
        scope: 'openid profile email',
        sid: USER,
        preferred_username: 'person',
      },
    },
    subject: USER,
    groups: ['offline_access', 'staff'],
  },
  Firebase: {
    alg: 'RS256',
    keysHaveAlg: true,
    settings: {
      issuer: 'https://securetoken.google.com/project',
      audiences: ['project'],
      scope: { optional: true },
      groupsClaim: 'firebase.sign_in_provider',
    },
    token: {
      header: { typ: 'JWT' },
      claims: {
        iss: 'https://securetoken.google.com/project',
        aud: 'project',
        auth_time: 1,
        user_id: 'uid0123456789',
        sub: 'uid0123456789',
        email: 'person@example.com',
        email_verified: true,
        firebase: { identities: { email: ['person@example.com'] }, sign_in_provider: 'password' },
      },
    },
    subject: 'uid0123456789',
    groups: ['password'],
  },
  Clerk: {
    alg: 'RS256',
    keysHaveAlg: true,
    settings: {
      issuer: 'https://clerk.example.com',
      audiences: ['https://app.example.com'],
      audienceClaims: ['azp'],
      scope: { optional: true },
      groupsClaim: 'o.rol',
    },
    token: {
      header: { cat: 'cl_opaque', typ: 'JWT' },
      claims: {
        azp: 'https://app.example.com',
        fva: [7, -1],
        iss: 'https://clerk.example.com',
        jti: 'opaque',
        o: { id: 'org_1', rol: 'admin', slg: 'acme' },
        sid: 'sess_1',
        sts: 'active',
        sub: 'user_1',
        v: 2,
      },
    },
    subject: 'user_1',
    groups: ['admin'],
  },
  Supabase: {
    alg: 'ES256',
    keysHaveAlg: true,
    settings: {
      issuer: 'https://ref.supabase.co/auth/v1',
      audiences: ['authenticated'],
      scope: { optional: true },
      groupsClaim: 'role',
    },
    token: {
      header: { typ: 'JWT' },
      claims: {
        iss: 'https://ref.supabase.co/auth/v1',
        sub: USER,
        aud: 'authenticated',
        email: 'person@example.com',
        phone: '',
        app_metadata: { provider: 'email', providers: ['email'] },
        user_metadata: { name: 'A Person' },
        role: 'authenticated',
        aal: 'aal1',
        amr: [{ method: 'password', timestamp: 1 }],
        session_id: USER,
        is_anonymous: false,
      },
    },
    subject: USER,
    groups: ['authenticated'],
  },
  'GitHub Actions': {
    alg: 'RS256',
    keysHaveAlg: true,
    settings: {
      issuer: 'https://token.actions.githubusercontent.com',
      requiredClaims: ['repository_owner=acme', 'repository_owner=acme-labs', 'ref_protected=true'],
      audiences: ['gate'],
      scope: { optional: true },
      subjectClaim: 'repository_id',
      groupsClaim: 'repository_owner',
    },
    token: {
      header: { typ: 'JWT', x5t: 'thumbprint' },
      claims: {
        jti: USER,
        sub: 'repo:acme/app:ref:refs/heads/main',
        aud: 'gate',
        ref: 'refs/heads/main',
        sha: '0123456789abcdef0123456789abcdef01234567',
        repository: 'acme/app',
        repository_owner: 'acme',
        repository_owner_id: '65',
        repository_id: '74',
        repository_visibility: 'private',
        run_id: '1',
        run_number: '10',
        run_attempt: '2',
        actor: 'person',
        actor_id: '12',
        workflow: 'ci',
        event_name: 'push',
        ref_type: 'branch',
        ref_protected: 'true',
        environment: 'prod',
        job_workflow_ref: 'acme/shared/.github/workflows/ci.yml@refs/heads/main',
        runner_environment: 'github-hosted',
        iss: 'https://token.actions.githubusercontent.com',
      },
    },
    subject: '74',
    groups: ['acme'],
  },
}
