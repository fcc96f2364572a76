// Talks to the authorization server, with PKCE, as a public client (RFC 8252 §8.4) or with the secret
// that some providers demand: the URL of its page, the exchange of a code, a refresh. oauth4webapi
// speaks the protocol; this file sets the bounds around it. No error carries a token, a code, an
// address, or a word of the server.

import { hash } from 'node:crypto'
import * as oauth from 'oauth4webapi'
import type { Secret } from '../secret.ts'
import type { Ask } from '../http1/ask.ts'
import { type TokenAnswer, failed } from './token-answer.ts'
import { answerOf, boundedFetch, failureOf } from './token-endpoint.ts'

/** `scope` and the client's proof are read whenever they are needed. */
export interface AuthorizationOptions {
  readonly ask: Ask
  readonly clientId: string
  /** Exactly as registered (RFC 6749 §3.1.2.3). */
  readonly redirectUri: string
  readonly authorizeUrl: URL
  readonly tokenUrl: URL
  /** Compared exactly with `iss` (RFC 9207 §2.4). */
  readonly issuer: string
  /** Space-separated; '' requests none by name. */
  readonly scope: string
  /** Set if the provider demands one. */
  readonly clientSecret?: Secret | undefined
  /** How the client authenticates (RFC 6749 §2.3.1); by default, whatever the server accepts. */
  readonly clientAuth?: ClientAuthMethod | undefined
  readonly timeoutMs?: number
}

export type ClientAuthMethod = 'basic' | 'post' | 'none'

/** What a sign-in keeps secret until its code is exchanged. */
export interface SignInProof {
  readonly state: string
  /** PKCE's `code_verifier` (RFC 7636 §4.1). */
  readonly verifier: string
}

/** Never rejects. */
export interface Authorization {
  authUrl(proof: SignInProof): URL
  /** `answer`: the parameters of the redirect, or the pasted `code` and `state`. */
  exchange(answer: URLSearchParams, proof: SignInProof): Promise<TokenAnswer>
  refresh(refreshToken: string): Promise<TokenAnswer>
}

/** Generous, because an abandoned response takes a rotated refresh token with it. */
const TIMEOUT_MS = 30_000
export function authorization(options: AuthorizationOptions): Authorization {
  const { clientId, redirectUri, authorizeUrl, tokenUrl, issuer } = options
  const server = { issuer, token_endpoint: tokenUrl.href }
  const client = { client_id: clientId }
  let proof = clientProof(options)
  let methods = authenticationMethods(proof)
  const request = (): oauth.TokenEndpointRequestOptions => ({
    [oauth.allowInsecureRequests]: tokenUrl.protocol === 'http:',
    [oauth.customFetch]: boundedFetch(options.ask, options.timeoutMs ?? TIMEOUT_MS),
  })

  return {
    authUrl({ state, verifier }) {
      const url = new URL(authorizeUrl)
      const parameters = {
        response_type: 'code',
        client_id: clientId,
        redirect_uri: redirectUri,
        ...(options.scope === '' ? {} : { scope: options.scope }),
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
      return ask((proving) =>
        oauth.authorizationCodeGrantRequest(
          server,
          client,
          proving,
          accepted,
          redirectUri,
          verifier,
          request(),
        ),
      )
    },
    refresh: (refreshToken) =>
      ask((proving) =>
        oauth.refreshTokenGrantRequest(server, client, proving, refreshToken, request()),
      ),
  }

  /** Tries the next method if the server rejects this one: that does not use up the grant. */
  async function ask(send: (proving: oauth.ClientAuth) => Promise<Response>): Promise<TokenAnswer> {
    if (!isSameProof(proof, options)) {
      proof = clientProof(options)
      methods = authenticationMethods(proof)
    }
    for (let tried = 1; ; tried += 1) {
      const [method, ...others] = methods
      const answer = await answered(() => send(method))
      if (answer.ok || !NOT_PROVEN.has(answer.reason) || tried > others.length) return answer
      // Unless another request has found it out meanwhile.
      if (methods[0] === method) methods.push(...methods.splice(0, 1))
    }
  }
}

type ClientProof = Pick<AuthorizationOptions, 'clientSecret' | 'clientAuth'>

const clientProof = ({ clientSecret, clientAuth }: ClientProof): ClientProof => ({
  clientSecret,
  clientAuth,
})

const isSameProof = (a: ClientProof, b: ClientProof): boolean =>
  a.clientSecret === b.clientSecret && a.clientAuth === b.clientAuth

/** RFC 6749 §5.2; some servers say it by the status alone. */
const NOT_PROVEN = new Set(['invalid_client', 'status 401'])

/** The first is used first. */
function authenticationMethods({
  clientSecret,
  clientAuth,
}: ClientProof): [oauth.ClientAuth, ...oauth.ClientAuth[]] {
  if (!clientSecret || clientAuth === 'none') return [oauth.None()]
  const secret = clientSecret.reveal()
  const basic = oauth.ClientSecretBasic(secret)
  const post = oauth.ClientSecretPost(secret)
  if (clientAuth === 'basic') return [basic]
  return clientAuth === 'post' ? [post] : [basic, post]
}

async function answered(send: () => Promise<Response>): Promise<TokenAnswer> {
  try {
    return await answerOf(await send())
  } catch (error) {
    return failureOf(error)
  }
}

/**
 * Checked before the library does the same, so that the log can name the reason. An empty `iss`,
 * which the library takes for none, is wrong.
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
