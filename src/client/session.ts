// One app's connection to one gate: what `connect` gives, before anything was asked. It holds the
// status, lets one renewal run at a time, and looks again in the background; nothing that happens
// in a timer is ever thrown. A token can be dead before its time (revoked, or its gate has lost its
// secret or its file): only the gate knows, and so it is asked.

import type { Client, ConnectOptions, Problem, Result, Status } from './api.ts'
import { problem } from './ask.ts'
import { parseBaseUrl } from './base-url.ts'
import { deviceId } from './device-id.ts'
import { gate as gateAt, type GateRefusalCode } from './gate.ts'
import { type Grant, isGood, renewsAtMs } from './grant.ts'
import { kept as keptIn } from './kept.ts'
import { renewal, type Renewed } from './renewal.ts'
import { nextCheckMs, retryMs } from './schedule.ts'
import { fileStorage } from './storage.ts'
import { TEMPO, type Tempo } from './tempo.ts'

/** A family that was revoked may have left one more dead token in the storage. */
const MAX_DEAD_TOKENS = 2
/** Of the time between two looks, with their jitter. */
const LOOK_SHARE = 0.9

/** What a person may be told; what follows it says why there is no new enrolment. */
const DEAD: Readonly<Partial<Record<GateRefusalCode, string>>> & {
  readonly invalid_token: string
} = {
  token_revoked: 'this device was revoked at the gate',
  token_expired: 'the token of this device has expired at the gate',
  invalid_token: 'the gate does not know the token of this device any more',
}

export interface ClientSession extends Client {
  /** A look at once, and then, unless `background` is false, from time to time. */
  start(): Promise<void>
}

/** Throws where `baseUrl` is one that no token may be sent to: a mistake in the app's settings. */
export function session(options: ConnectOptions, tempo: Tempo = TEMPO): ClientSession {
  const base = parseBaseUrl(options.baseUrl)
  // The URL is not repeated: it could hold a password.
  if (base === undefined) throw new TypeError('baseUrl must be https, or http on loopback')
  const storage = options.storage ?? fileStorage()
  const refreshWhenLeftMs = options.refreshWhenLeftMs ?? tempo.refreshWhenLeftMs
  const { enrollment, appVersion, deviceName } = options
  const gate = gateAt(base, tempo.now)
  const kept = keptIn(storage, base)
  /** Only in memory, never deleted: what says 401 may have been something before the gate. */
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

  const listeners = new Set<(status: Status) => void>()
  if (options.onStatus) listeners.add(options.onStatus)
  let status: Status = { state: 'unavailable', problem: problem('unreachable') }
  let stopped = false
  let cancelCheck = (): void => {}
  let failures = 0
  let retryAtMs = 0
  let last: Grant | undefined
  /** Nothing before the first look, whatever comes of that. */
  let told = ''
  /** The token that the gate was last asked about, and when. */
  let confirmed: { readonly token: string; readonly atMs: number } | undefined
  /** What the gate said of the token that it takes no more, until there is another. */
  let dead: GateRefusalCode | undefined
  /** Until then a gate that does not know the question is not asked again. */
  let unaskedUntilMs = Number.NEGATIVE_INFINITY
  let lookedAtMs = Number.NEGATIVE_INFINITY

  function become(next: Status): void {
    const changed = describe(next) !== told
    status = next
    if (!changed) return
    told = describe(next)
    for (const listener of listeners) {
      try {
        listener(next)
      } catch {
        // An app's mistake in a listener must not end the renewal that tells it.
      }
    }
  }

  function settle(grant: Grant | undefined, because: Problem | undefined): void {
    if (stopped) return
    const usable = grant && isUsable(grant) ? grant : undefined
    if (usable) last = usable
    failures = because ? failures + 1 : 0
    retryAtMs = because ? tempo.now() + retryMs(failures, because, usable, tempo) : 0
    if (!usable) return become({ state: 'unavailable', problem: because ?? problem('unreachable') })
    const expiresAt = new Date(usable.expiresAtMs)
    become(
      because ? { state: 'degraded', expiresAt, problem: because } : { state: 'ready', expiresAt },
    )
  }

  function isUsable(grant: Grant): boolean {
    return grant.token !== rejected && isGood(grant, tempo.now())
  }

  /** The storage's, or the last known where the storage fails. */
  async function present(): Promise<Grant | undefined> {
    try {
      return await kept.read()
    } catch {
      return last
    }
  }

  let queue: Promise<unknown> = Promise.resolve()
  const flights = new Map<string | undefined, Promise<Result<Renewed>>>()

  /** Who asks for the same is given the same flight; flights follow one another. */
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

  /** The gate's word on a token that looks good, and another token where it is dead. */
  async function confirm(seen: Grant, atOnce: boolean): Promise<Result<Grant>> {
    let grant = seen
    for (let tries = 0; tries < MAX_DEAD_TOKENS; tries += 1) {
      const nowMs = tempo.now()
      const known = confirmed?.token === grant.token ? Math.abs(nowMs - confirmed.atMs) : Infinity
      if (nowMs < unaskedUntilMs || (!atOnce && known < tempo.confirmEveryMs)) break
      const standing = await gate.standing(grant.token, tempo.standingTimeoutMs)
      confirmed = { token: grant.token, atMs: tempo.now() }
      if (standing.kind === 'unasked') unaskedUntilMs = tempo.now() + tempo.checkEveryMs
      // What cannot be told is no: an outage must not end what is good.
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

  async function current(atOnce = false): Promise<Result<Grant>> {
    if (stopped) return { ok: false, problem: problem('stopped') }
    const grant = await present()
    const usable = grant && isUsable(grant) ? grant : undefined
    if (usable) {
      const due = renewsAtMs(usable, refreshWhenLeftMs) <= tempo.now()
      // A gate that is down is not asked again by each call while the token is good.
      if (!due) return confirm(usable, atOnce)
      if (tempo.now() < retryAtMs) return { ok: true, value: usable }
    }
    const outcome = await renew(grant && grant.token === rejected ? rejected : undefined)
    if (outcome.ok) return { ok: true, value: outcome.value.grant }
    // An outage of the gate's is no reason to stop before the token does.
    return usable && isUsable(usable) ? { ok: true, value: usable } : outcome
  }

  async function look(): Promise<Result<Grant>> {
    lookedAtMs = tempo.now()
    const health = await gate.health(tempo.healthTimeoutMs)
    if (!health.ok) {
      settle(await present(), health.problem)
      return health
    }
    // It is back, if it was away: whoever looks need not wait for the next try.
    retryAtMs = 0
    const before = failures
    const grant = await current(true)
    if (grant.ok && failures === before) settle(grant.value, undefined)
    return grant
  }

  /** Between two looks: whether the token is still taken, and no more, while all is well. */
  async function glance(): Promise<void> {
    const grant = await present()
    const due = !grant || !isUsable(grant) || renewsAtMs(grant, refreshWhenLeftMs) <= tempo.now()
    const sinceMs = tempo.now() - lookedAtMs
    const isTime = sinceMs < 0 || sinceMs >= LOOK_SHARE * tempo.checkEveryMs
    if (due || failures > 0 || isTime) await look()
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
      glance()
        .catch(() => {})
        .finally(schedule)
    })
  }

  function stop(): void {
    cancelCheck()
    become({ state: 'stopped' })
    stopped = true
  }

  return {
    get status() {
      return status
    },
    onStatus(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    async health() {
      return gate.health(tempo.healthTimeoutMs)
    },
    async token() {
      const grant = await current()
      return grant.ok ? { ok: true, value: grant.value.token } : grant
    },
    async environment() {
      if (stopped) return { ok: false, problem: problem('stopped') }
      const grant = await look()
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
      await look()
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

function describe(status: Status): string {
  const { state } = status
  const code = 'problem' in status ? status.problem.code : ''
  const until = 'expiresAt' in status ? status.expiresAt.getTime() : ''
  return `${state} ${code} ${until}`
}
