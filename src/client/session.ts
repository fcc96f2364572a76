// One app's connection to one gate: what `connect` returns, before any request. It holds the status,
// runs one renewal at a time, and checks again in the background; nothing in a timer ever throws. A
// token can be dead early (revoked, or its gate lost its secret or its file), which only the gate
// knows, so it asks the gate.

import type { Client, ConnectOptions, Problem, Result } from './api.ts'
import { problem } from './ask.ts'
import { parseBaseUrl } from './base-url.ts'
import { deviceId } from './device-id.ts'
import { gate as gateAt, type GateRefusalCode } from './gate.ts'
import { type Grant, isGood, renewsAtMs } from './grant.ts'
import { kept as keptIn } from './kept.ts'
import { renewal, type Renewed } from './renewal.ts'
import { nextCheckMs, retryMs } from './schedule.ts'
import { statusBoard } from './status.ts'
import { fileStorage } from './storage.ts'
import { TEMPO, type Tempo } from './tempo.ts'

/** A revoked family may have left one more dead token in the storage. */
const MAX_DEAD_TOKENS = 2
/** The share of the interval between two checks that must have passed, given their jitter. */
const CHECK_SHARE = 0.9

/** What a person is told; the text after it says why there is no new enrolment. */
const DEAD: Readonly<Partial<Record<GateRefusalCode, string>>> & {
  readonly invalid_token: string
} = {
  token_revoked: 'this device was revoked at the gate',
  token_expired: 'the token of this device has expired at the gate',
  invalid_token: 'the gate does not know the token of this device any more',
}

export interface ClientSession extends Client {
  /** Checks at once, and then from time to time unless `background` is false. */
  start(): Promise<void>
}

/** Throws if `baseUrl` is one that no token may be sent to: a mistake in the app's settings. */
export function session(options: ConnectOptions, tempo: Tempo = TEMPO): ClientSession {
  const base = parseBaseUrl(options.baseUrl)
  // The URL is not repeated: it could contain a password.
  if (base === undefined) throw new TypeError('baseUrl must be https, or http on loopback')
  const storage = options.storage ?? fileStorage()
  const refreshWhenLeftMs = options.refreshWhenLeftMs ?? tempo.refreshWhenLeftMs
  const { enrollment, appVersion, deviceName } = options
  const gate = gateAt(base, tempo.now)
  const kept = keptIn(storage, base)
  /**
   * Only in memory, and the stored token stays: the 401 may have come from a proxy before the gate.
   */
  let rejected: string | undefined
  const onRejected = (token: string): void => {
    rejected = token
  }
  const renewOnce = renewal({
    gate,
    kept,
    storage,
    enrollment,
    appVersion,
    deviceName,
    refreshWhenLeftMs,
    tempo,
    onRejected,
  })

  const board = statusBoard(options.onStatus)
  let stopped = false
  let cancelCheck = (): void => {}
  let failures = 0
  let retryAtMs = 0
  let last: Grant | undefined
  /** The token that the gate was last asked about, and when. */
  let confirmed: { readonly token: string; readonly atMs: number } | undefined
  /** Why the gate no longer accepts the token, until there is another. */
  let dead: GateRefusalCode | undefined
  /** Until then a gate that does not know the request is not asked again. */
  let unaskedUntilMs = Number.NEGATIVE_INFINITY
  let checkedAtMs = Number.NEGATIVE_INFINITY

  function settle(grant: Grant | undefined, because: Problem | undefined): void {
    if (stopped) return
    const usable = grant && isUsable(grant) ? grant : undefined
    if (usable) last = usable
    failures = because ? failures + 1 : 0
    retryAtMs = because ? tempo.now() + retryMs(failures, because, usable, tempo) : 0
    if (!usable)
      return board.become({ state: 'unavailable', problem: because ?? problem('unreachable') })
    const expiresAt = new Date(usable.expiresAtMs)
    board.become(
      because ? { state: 'degraded', expiresAt, problem: because } : { state: 'ready', expiresAt },
    )
  }

  function isUsable(grant: Grant): boolean {
    return grant.token !== rejected && isGood(grant, tempo.now())
  }

  /** The stored grant, or the last known one if the storage fails. */
  async function present(): Promise<Grant | undefined> {
    try {
      return await kept.read()
    } catch {
      return last
    }
  }

  let queue: Promise<unknown> = Promise.resolve()
  const flights = new Map<string | undefined, Promise<Result<Renewed>>>()

  /** Concurrent callers that want the same share one renewal; renewals run one after the other. */
  function renew(newerThan: string | undefined): Promise<Result<Renewed>> {
    const under = flights.get(newerThan)
    if (under) return under
    const flight = queue.then(async () => {
      const outcome = withReason(await renewOnce(newerThan), dead)
      flights.delete(newerThan)
      if (outcome.ok) dead = undefined
      if (outcome.ok && outcome.value.fresh) {
        confirmed = { token: outcome.value.grant.token, atMs: tempo.now() }
      }
      if (outcome.ok) settle(outcome.value.grant, outcome.value.problem)
      else settle(await present(), outcome.problem)
      return outcome
    })
    flights.set(newerThan, flight)
    queue = flight
    return flight
  }

  /** Asks the gate about a token that looks valid, and gets another if it is dead. */
  async function confirm(seen: Grant, atOnce: boolean): Promise<Result<Grant>> {
    let grant = seen
    for (let tries = 0; tries < MAX_DEAD_TOKENS; tries += 1) {
      const nowMs = tempo.now()
      const known = confirmed?.token === grant.token ? Math.abs(nowMs - confirmed.atMs) : Infinity
      if (nowMs < unaskedUntilMs || (!atOnce && known < tempo.confirmEveryMs)) break
      const standing = await gate.standing(grant.token, tempo.standingTimeoutMs)
      confirmed = { token: grant.token, atMs: tempo.now() }
      if (standing.kind === 'unasked') unaskedUntilMs = tempo.now() + tempo.checkEveryMs
      // A failed request is no verdict: an outage must not end a valid token.
      if (standing.kind === 'failed') settle(grant, standing.problem)
      if (standing.kind !== 'dead') break
      rejected = grant.token
      dead = standing.code
      const outcome = await renew(grant.token)
      if (!outcome.ok) return outcome
      grant = outcome.value.grant
      if (outcome.value.fresh) break
    }
    return { ok: true, value: grant }
  }

  async function currentGrant(atOnce = false): Promise<Result<Grant>> {
    if (stopped) return { ok: false, problem: problem('stopped') }
    const grant = await present()
    const usable = grant && isUsable(grant) ? grant : undefined
    if (usable) {
      const due = renewsAtMs(usable, refreshWhenLeftMs) <= tempo.now()
      // While the token is valid, not every call asks a gate that is down.
      if (!due) return confirm(usable, atOnce)
      if (tempo.now() < retryAtMs) return { ok: true, value: usable }
    }
    const outcome = await renew(grant && grant.token === rejected ? rejected : undefined)
    if (outcome.ok) return { ok: true, value: outcome.value.grant }
    // An outage of the gate is no reason to stop before the token expires.
    return usable && isUsable(usable) ? { ok: true, value: usable } : outcome
  }

  async function check(): Promise<Result<Grant>> {
    checkedAtMs = tempo.now()
    const health = await gate.health(tempo.healthTimeoutMs)
    if (!health.ok) {
      settle(await present(), health.problem)
      return health
    }
    // The gate is back, if it was away: a caller need not wait for the next attempt.
    retryAtMs = 0
    const before = failures
    const grant = await currentGrant(true)
    if (grant.ok && failures === before) settle(grant.value, undefined)
    return grant
  }

  /** Between two checks, while all is well: only asks whether the token is still accepted. */
  async function quickCheck(): Promise<void> {
    const grant = await present()
    const due = !grant || !isUsable(grant) || renewsAtMs(grant, refreshWhenLeftMs) <= tempo.now()
    const sinceMs = tempo.now() - checkedAtMs
    const isTime = sinceMs < 0 || sinceMs >= CHECK_SHARE * tempo.checkEveryMs
    if (due || failures > 0 || isTime) await check()
    else {
      const standing = await confirm(grant, true)
      if (standing.ok && failures === 0) settle(standing.value, undefined)
    }
  }

  function schedule(): void {
    cancelCheck()
    if (stopped || options.background === false) return
    const nowMs = tempo.now()
    const confirmMs = nowMs < unaskedUntilMs ? Infinity : tempo.confirmEveryMs
    const delayMs =
      failures === 0 && last
        ? Math.min(
            nextCheckMs(last, nowMs, refreshWhenLeftMs, tempo),
            confirmMs * (0.8 + 0.2 * tempo.random()),
          )
        : Math.max(retryAtMs - nowMs, tempo.backoffMs / 5)
    cancelCheck = tempo.later(delayMs, () => {
      quickCheck()
        .catch(() => {})
        .finally(schedule)
    })
  }

  function stop(): void {
    cancelCheck()
    board.become({ state: 'stopped' })
    stopped = true
  }

  return {
    get status() {
      return board.status
    },
    onStatus: board.listen,
    async health() {
      return gate.health(tempo.healthTimeoutMs)
    },
    async token() {
      const grant = await currentGrant()
      return grant.ok ? { ok: true, value: grant.value.token } : grant
    },
    async environment() {
      if (stopped) return { ok: false, problem: problem('stopped') }
      const grant = await check()
      if (!grant.ok) return grant
      const { proxyBaseUrl, token } = grant.value
      const value = { ANTHROPIC_BASE_URL: proxyBaseUrl, ANTHROPIC_AUTH_TOKEN: token }
      return { ok: true, value }
    },
    async refreshNow() {
      if (stopped) return { ok: false, problem: problem('stopped') }
      const outcome = await renew((await present())?.token)
      schedule()
      return outcome.ok ? { ok: true, value: outcome.value.grant.token } : outcome
    },
    async deviceId() {
      try {
        const work = () => deviceId(storage)
        const value = await (storage.exclusively ? storage.exclusively(work) : work())
        return { ok: true, value }
      } catch {
        return { ok: false, problem: problem('storage_failed') }
      }
    },
    async forget() {
      try {
        const work = () => kept.forget()
        await (storage.exclusively ? storage.exclusively(work) : work())
      } catch {
        return { ok: false, problem: problem('storage_failed') }
      }
      last = undefined
      stop()
      return { ok: true, value: undefined }
    },
    async start() {
      await check()
      schedule()
    },
    stop,
  }
}

function withReason(outcome: Result<Renewed>, dead: GateRefusalCode | undefined): Result<Renewed> {
  if (outcome.ok || dead === undefined || outcome.problem.code !== 'enrollment_refused') {
    return outcome
  }
  const message = `${DEAD[dead] ?? DEAD.invalid_token}; ${outcome.problem.message}`
  return { ok: false, problem: { ...outcome.problem, message } }
}
