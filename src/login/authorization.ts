// What is said to the authorization server, as a public client (RFC 8252 §8.4) with PKCE: the address
// of its page, the exchange of a code, a refresh. oauth4webapi speaks the protocol; here are the
// bounds around it. No error carries a token, a code, an address, or a word that the server said.

import { hash } from 'node:crypto'
import * as oauth from 'oauth4webapi'
import { isLoopback } from '../config/kinds.ts'
import { boundedFetch, type Failure, failed, failureOf } from './token-endpoint.ts'

export interface AuthorizationOptions {
  readonly clientId: string
  /** Character for character as it is registered (RFC 6749 §3.1.2.3). */
  readonly redirectUri: string
  readonly authorizeUrl: URL
  readonly tokenUrl: URL
  /** Compared character for character with `iss` (RFC 9207 §2.4). */
  readonly issuer: string
  /** Space-separated; '' asks for none by name. */
  readonly scope: string
  readonly timeoutMs?: number
}

/** What a sign-in keeps to itself until its code is exchanged. */
export interface Proof {
  readonly state: string
  /** PKCE's `code_verifier` (RFC 7636 §4.1). */
  readonly verifier: string
}

export interface Issued {
  readonly accessToken: string
  readonly refreshToken: string | undefined
  readonly lifetimeSeconds: number | undefined
  /** Undefined where the server did not name it: then it is what was asked (RFC 6749 §5.1). */
  readonly scope: string | undefined
}

export type Answer = { readonly ok: true; readonly value: Issued } | Failure

/** Never rejects. */
export interface Authorization {
  authUrl(proof: Proof): URL
  /** `answer`: the parameters that came with the redirect, or `code` and `state` as pasted. */
  exchange(answer: URLSearchParams, proof: Proof): Promise<Answer>
  refresh(refreshToken: string): Promise<Answer>
}

/** Generous, since an answer that nobody waits for takes a rotated refresh token with it. */
const TIMEOUT_MS = 30_000
/** Longer would not fit into the headers that it travels in. */
const MAX_TOKEN_LENGTH = 8192
const MAX_SCOPE_LENGTH = 4096
/** A token that claims more is refreshed once a year. */
const MAX_LIFETIME_SECONDS = 31_536_000

/** RFC 6749 §A.12 and §A.17, without the space that no header could carry. */
const TOKEN = /^[\x21-\x7e]+$/
/** RFC 6749 §A.4. */
const SCOPE = /^[\x20\x21\x23-\x5b\x5d-\x7e]+$/

export function authorization(options: AuthorizationOptions): Authorization {
  const { clientId, redirectUri, authorizeUrl, tokenUrl, issuer, scope } = options
  for (const url of [authorizeUrl, tokenUrl]) {
    if (!isSecure(url)) throw new TypeError('an OAuth endpoint must be https, or http on loopback')
  }
  const server = { issuer, token_endpoint: tokenUrl.href }
  const client = { client_id: clientId }
  const request = (): oauth.TokenEndpointRequestOptions => ({
    [oauth.allowInsecureRequests]: tokenUrl.protocol === 'http:',
    [oauth.customFetch]: boundedFetch,
    headers: { 'user-agent': 'postern' },
    signal: AbortSignal.timeout(options.timeoutMs ?? TIMEOUT_MS),
  })

  return {
    authUrl({ state, verifier }) {
      const url = new URL(authorizeUrl)
      const parameters = {
        response_type: 'code',
        client_id: clientId,
        redirect_uri: redirectUri,
        ...(scope === '' ? {} : { scope }),
        state,
        code_challenge: hash('sha256', verifier, 'base64url'),
        code_challenge_method: 'S256',
      }
      for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value)
      return url
    },
    async exchange(answer, { state, verifier }) {
      const foreign = foreignIn(answer, { state, iss: issuer })
      if (foreign !== undefined) return failed('refused', foreign)
      let accepted: URLSearchParams
      try {
        accepted = oauth.validateAuthResponse(server, client, answer, state)
      } catch (error) {
        return failed('refused', whyRefused(error))
      }
      return ask(async () => {
        const none = oauth.None()
        const response = await oauth.authorizationCodeGrantRequest(
          server,
          client,
          none,
          accepted,
          redirectUri,
          verifier,
          request(),
        )
        return oauth.processAuthorizationCodeResponse(server, client, response)
      })
    },
    refresh: (refreshToken) =>
      ask(async () => {
        const none = oauth.None()
        const response = await oauth.refreshTokenGrantRequest(
          server,
          client,
          none,
          refreshToken,
          request(),
        )
        return oauth.processRefreshTokenResponse(server, client, response)
      }),
  }
}

function isSecure(url: URL): boolean {
  return url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url.hostname))
}

async function ask(work: () => Promise<oauth.TokenEndpointResponse>): Promise<Answer> {
  try {
    return issued(await work())
  } catch (error) {
    return failureOf(error)
  }
}

function issued(answer: oauth.TokenEndpointResponse): Answer {
  // The library takes DPoP as well, but nobody here could prove the key.
  if (answer.token_type !== 'bearer') return failed('refused', 'token type')
  const { access_token: accessToken, refresh_token: refreshToken, expires_in: lifetime } = answer
  for (const token of [accessToken, refreshToken]) {
    if (token !== undefined && !(token.length <= MAX_TOKEN_LENGTH && TOKEN.test(token))) {
      return failed('refused', 'token')
    }
  }
  const { scope } = answer
  return {
    ok: true,
    value: {
      accessToken,
      refreshToken,
      lifetimeSeconds:
        lifetime === undefined ? undefined : Math.min(lifetime, MAX_LIFETIME_SECONDS),
      scope:
        scope !== undefined && scope.length <= MAX_SCOPE_LENGTH && SCOPE.test(scope)
          ? scope
          : undefined,
    },
  }
}

/**
 * Before the library does the same, so that the log can name it; and an empty `iss`, which the
 * library takes for none, is a wrong one.
 */
function foreignIn(
  answer: URLSearchParams,
  expected: { readonly state: string; readonly iss: string },
): 'state' | 'iss' | undefined {
  if (answer.getAll('state').join('\n') !== expected.state) return 'state'
  return answer.has('iss') && answer.getAll('iss').join('\n') !== expected.iss ? 'iss' : undefined
}

function whyRefused(error: unknown): 'denied' | 'error' | 'answer' {
  if (!(error instanceof oauth.AuthorizationResponseError)) return 'answer'
  return error.error === 'access_denied' ? 'denied' : 'error'
}
