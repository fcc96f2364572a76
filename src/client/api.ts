// What an app sees of `postern/client`: types alone, and no import, because this very file is what
// is shipped as the types of the export (tools/build-client.ts).

/** What went wrong, in words of our own. It never holds a token, a code, or what a server said. */
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
    /** The storage failed. Nothing was asked of the gate, or its answer lives in memory alone. */
    | 'storage_failed'
    /** Another process is at it, and has been for longer than it may take. */
    | 'busy'
    | 'stopped'
  readonly message: string
  /** What the gate answered with, where it answered. */
  readonly status?: number
  readonly retryAfterSeconds?: number
}

export type Result<T> =
  { readonly ok: true; readonly value: T } | { readonly ok: false; readonly problem: Problem }

export type Status =
  /** The gate is healthy and the token is good. */
  | { readonly state: 'ready'; readonly expiresAt: Date }
  /** The token is good, but the gate is not well, or would not renew it. */
  | { readonly state: 'degraded'; readonly expiresAt: Date; readonly problem: Problem }
  /** There is no good token: the app's own fall-back decides. */
  | { readonly state: 'unavailable'; readonly problem: Problem }
  | { readonly state: 'stopped' }

/** What a child process or an SDK needs in its environment. Take ANTHROPIC_API_KEY out of it. */
export interface Environment {
  readonly ANTHROPIC_BASE_URL: string
  readonly ANTHROPIC_AUTH_TOKEN: string
}

/**
 * Where the device's id and its token are kept, by name (lower-case letters, digits, dashes). A
 * promise that rejects means that the storage failed; nothing is then asked of the gate.
 */
export interface Storage {
  get(name: string): Promise<string | undefined>
  set(name: string, value: string): Promise<void>
  delete(name: string): Promise<void>
  /**
   * Runs `work` while no other process on the same storage runs one, and rejects with an error
   * whose `code` is 'BUSY' if that takes too long. Without it, one process may use the storage.
   */
  exclusively?<T>(work: () => Promise<T>): Promise<T>
}

/** A one-time enrolment code or a user's JWT; undefined where the gate enrols anybody. */
export type Enrollment = string | undefined

export interface ConnectOptions {
  /** https, or http on loopback; a path in it is kept. */
  readonly baseUrl: string
  /** Sent as `Authorization: Bearer` to /bootstrap alone; a function is asked each time. */
  readonly enrollment?: Enrollment | (() => Enrollment | Promise<Enrollment>)
  readonly appVersion?: string | undefined
  /** What the gate's operator sees this device listed as, beside its random id; 1 to 100 characters. */
  readonly deviceName?: string | undefined
  /** Default: files of this user alone in the platform's data folder. */
  readonly storage?: Storage | undefined
  readonly onStatus?: ((status: Status) => void) | undefined
  /** Default one hour; never more than half of what a token lives. */
  readonly refreshWhenLeftMs?: number | undefined
  /**
   * Default true: ask the gate once a minute whether it still takes the token, enrol again where it
   * does not, and renew what is about to expire.
   */
  readonly background?: boolean | undefined
}

export interface Client {
  /** As of the last look; `environment()` looks. */
  readonly status: Status
  /** Tells of each change from now on; the answer ends it. What a listener throws is swallowed. */
  onStatus(listener: (status: Status) => void): () => void
  /** GET /healthz. */
  health(): Promise<Result<undefined>>
  /**
   * The present token, renewed first where it is about to expire; the gate is asked whether it still
   * takes it, once a minute at the most. No health check before it.
   */
  token(): Promise<Result<string>>
  /** After a health check, and with a token that the gate takes. */
  environment(): Promise<Result<Environment>>
  /** A token that is newer than the present one: after a 401 from the gate, or a night's sleep. */
  refreshNow(): Promise<Result<string>>
  /** The random id by which the gate's operator knows, and revokes, this device. */
  deviceId(): Promise<Result<string>>
  /** Deletes the token that is kept here, and stops. The gate is not told: `postern revoke` is. */
  forget(): Promise<Result<undefined>>
  /** Ends the background work; a refresh under way is still brought home. */
  stop(): void
}
