// A session's status, and the result of a sign-in: types that the parts of a sign-in share.

export interface SessionStatus {
  /** When the access token expires; undefined if the server did not say. */
  readonly expiresAtMs: number | undefined
  readonly scope: string | undefined
  /** Whether a refresh token is held. */
  readonly renewable: boolean
}

export interface SignedIn {
  /**
   * The key that programs send as `x-api-key` or Bearer, and the cookie's value. New at each
   * sign-in.
   */
  readonly key: string
  readonly status: SessionStatus
}
