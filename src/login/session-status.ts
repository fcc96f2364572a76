// How a session stands, and what a sign-in hands out: the words that the parts of a sign-in share.

export interface SessionStatus {
  /** When the access token ends; undefined where the server did not say. */
  readonly expiresAtMs: number | undefined
  readonly scope: string | undefined
  /** Whether a refresh token is held. */
  readonly renewable: boolean
}

export interface SignedIn {
  /** What programs send as `x-api-key` or Bearer, and what the cookie holds. New at each sign-in. */
  readonly key: string
  readonly status: SessionStatus
}
