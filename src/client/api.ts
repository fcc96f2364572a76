// What an app sees of `postern/client`: types only, and no import, because this file is shipped as the
// types of the export (tools/build-client.ts).

/** What went wrong, in our own words. Never contains a token, a code, or a word of the server. */
export interface Problem {
  readonly code:
    | 'unreachable'
    | 'timeout'
    | 'unhealthy'
    | 'redirected'
    | 'invalid_answer'
    | 'rate_limited'
    /** Neither the token nor the enrolment is accepted: somebody has to enrol this device again. */
    | 'enrollment_refused'
    /** The storage failed. Nothing was asked of the gate, or its answer is only in memory. */
    | 'storage_failed'
    /** Another process is renewing the token, and takes longer than it may. */
    | 'busy'
    | 'stopped'
  readonly message: string
  /** The gate's status, if it answered. */
  readonly status?: number
  readonly retryAfterSeconds?: number
}

export type Result<T> =
  { readonly ok: true; readonly value: T } | { readonly ok: false; readonly problem: Problem }

export type Status =
  /** The gate is healthy and the token is valid. */
  | { readonly state: 'ready'; readonly expiresAt: Date }
  /** The token is valid, but the gate is unhealthy or did not renew it. */
  | { readonly state: 'degraded'; readonly expiresAt: Date; readonly problem: Problem }
  /** There is no valid token: the app decides on a fallback. */
  | { readonly state: 'unavailable'; readonly problem: Problem }
  | { readonly state: 'stopped' }

/** What a child process or an SDK needs in its environment. Remove ANTHROPIC_API_KEY from it. */
export interface Environment {
  readonly ANTHROPIC_BASE_URL: string
  readonly ANTHROPIC_AUTH_TOKEN: string
}

/**
 * Where the device's id and its token are kept, by name (lower-case letters, digits, dashes). A
 * promise that rejects means that the storage failed; the gate is then not asked.
 */
export interface Storage {
  get(name: string): Promise<string | undefined>
  set(name: string, value: string): Promise<void>
  delete(name: string): Promise<void>
  /**
   * Runs `work` while no other process on the same storage does, and rejects with an error whose
   * `code` is 'BUSY' if that takes too long. Without it, only one process may use the storage.
   */
  exclusively?<T>(work: () => Promise<T>): Promise<T>
}

/** A one-time enrolment code or a user's JWT; undefined if the gate enrols anybody. */
export type Enrollment = string | undefined

export interface ConnectOptions {
  /** https, or http on loopback; a path is kept. */
  readonly baseUrl: string
  /** Sent as `Authorization: Bearer` to /bootstrap only; a function is called each time. */
  readonly enrollment?: Enrollment | (() => Enrollment | Promise<Enrollment>)
  readonly appVersion?: string | undefined
  /** The device's name in the operator's list, beside its random id; 1 to 100 characters. */
  readonly deviceName?: string | undefined
  /** Default: files that only this user can read, in the platform's data folder. */
  readonly storage?: Storage | undefined
  readonly onStatus?: ((status: Status) => void) | undefined
  /** Default one hour; at most half of a token's lifetime. */
  readonly refreshWhenLeftMs?: number | undefined
  /**
   * Default true: ask the gate once a minute whether it still accepts the token, enrol again if it
   * does not, and renew a token that is about to expire.
   */
  readonly background?: boolean | undefined
}

export interface Client {
  /** As of the last check; `environment()` checks now. */
  readonly status: Status
  /**
   * Calls the listener for each change from now on; the returned function ends that. Errors of a
   * listener are ignored.
   */
  onStatus(listener: (status: Status) => void): () => void
  /** GET /healthz. */
  health(): Promise<Result<undefined>>
  /**
   * The current token, renewed first if it is about to expire. The gate is asked whether it still
   * accepts it, at most once a minute. No health check precedes it.
   */
  token(): Promise<Result<string>>
  /** After a health check, and with a token that the gate accepts. */
  environment(): Promise<Result<Environment>>
  /** A token newer than the current one: after a 401 from the gate, or a night's sleep. */
  refreshNow(): Promise<Result<string>>
  /** The random id by which the gate's operator knows, and revokes, this device. */
  deviceId(): Promise<Result<string>>
  /** Deletes the token kept here, and stops. The gate is not told; `postern revoke` does that. */
  forget(): Promise<Result<undefined>>
  /** Ends the background work; a running refresh is still completed. */
  stop(): void
}
