// One app's connection to one gate: what `connect` gives, before anything was asked. It holds the
// status, lets one renewal run at a time, and looks again in the background; nothing that happens
// in a timer is ever thrown.

import type { Client, ConnectOptions, Problem, Result, Status } from './api.ts'
import { problem } from './ask.ts'
import { parseBaseUrl } from './base-url.ts'
import { deviceId } from './device-id.ts'
import { gate as gateAt } from './gate.ts'
import { type Grant, isGood, renewsAtMs } from './grant.ts'
import { kept as keptIn } from './kept.ts'
import { renewal, type Renewed } from './renewal.ts'
import { nextCheckMs, retryMs } from './schedule.ts'
import { fileStorage } from './storage.ts'
import { TEMPO, type Tempo } from './tempo.ts'

export interface Session extends Client {
  /** A look at once, and then, unless `background` is false, from time to time. */
  start(): Promise<void>
}

/** Throws where `baseUrl` is one that no token may be sent to: a mistake in the app's settings. */
export function session(options: ConnectOptions, tempo: Tempo = TEMPO): Session {
  const base = parseBaseUrl(options.baseUrl)
  // The URL is not repeated: it could hold a password.
  if (base === undefined) throw new TypeError('baseUrl must be https, or http on loopback')
  const storage = options.storage ?? fileStorage()
  const refreshWhenLeftMs = options.refreshWhenLeftMs ?? tempo.refreshWhenLeftMs
  const { enrollment, appVersion } = options
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

  function become(next: Status): void {
    const changed = describe(next) !== describe(status)
    status = next
    if (!changed) return
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
      const outcome = await renewOnce(newerThan)
      flights.delete(newerThan)
      if (outcome.ok) settle(outcome.value.grant, outcome.value.problem)
      else settle(await present(), outcome.problem)
      return outcome
    })
    flights.set(newerThan, flight)
    queue = flight
    return flight
  }

  async function current(): Promise<Result<Grant>> {
    if (stopped) return { ok: false, problem: problem('stopped') }
    const grant = await present()
    const usable = grant && isUsable(grant) ? grant : undefined
    if (usable) {
      const due = renewsAtMs(usable, refreshWhenLeftMs) <= tempo.now()
      // A gate that is down is not asked again by each call while the token is good.
      if (!due || tempo.now() < retryAtMs) return { ok: true, value: usable }
    }
    const outcome = await renew(grant && grant.token === rejected ? rejected : undefined)
    if (outcome.ok) return { ok: true, value: outcome.value.grant }
    // An outage of the gate's is no reason to stop before the token does.
    return usable && isUsable(usable) ? { ok: true, value: usable } : outcome
  }

  async function look(): Promise<Result<Grant>> {
    const health = await gate.health(tempo.healthTimeoutMs)
    if (!health.ok) {
      settle(await present(), health.problem)
      return health
    }
    // It is back, if it was away: whoever looks need not wait for the next try.
    retryAtMs = 0
    const before = failures
    const grant = await current()
    if (grant.ok && failures === before) settle(grant.value, undefined)
    return grant
  }

  function schedule(): void {
    cancelCheck()
    if (stopped || options.background === false) return
    const nowMs = tempo.now()
    const delayMs =
      failures === 0 && last
        ? nextCheckMs(last, nowMs, refreshWhenLeftMs, tempo)
        : Math.max(retryAtMs - nowMs, tempo.backoffMs / 5)
    cancelCheck = tempo.later(delayMs, () => {
      look()
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

function describe(status: Status): string {
  const { state } = status
  const code = 'problem' in status ? status.problem.code : ''
  const until = 'expiresAt' in status ? status.expiresAt.getTime() : ''
  return `${state} ${code} ${until}`
}
