// Renews a token without ever revoking its own family. A gate retires a token 10 s after it was
// refreshed, and treats a retired token that is used to refresh as stolen. So this works under the
// storage's lock, from what the storage holds then, and writes a mark before each request. If the gate
// says that the next token was already issued (an answer was lost, or the storage was copied), it does
// not refresh: the present token serves requests until it expires. A gate that does not say leaves a
// doubt: then a refresh whose answer was lost is repeated within the grace period or not at all,
// unless there is nothing left to lose.

import type { ConnectOptions, Problem, Result, Storage } from './api.ts'
import { problem } from './ask.ts'
import { deviceId } from './device-id.ts'
import type { GateAsked, RemoteGate, GateRefusalCode } from './gate.ts'
import { type Grant, isBearerToken, isGood, refreshable, renewsAtMs } from './grant.ts'
import type { KeptEnrolment } from './kept.ts'
import { isCode } from './lock.ts'
import { pause, type Tempo } from './tempo.ts'

export interface Renewed {
  readonly grant: Grant
  /** Whether it came from the gate just now, and not from another process through the storage. */
  readonly fresh: boolean
  /** Set if the token is valid but only in memory, because the storage failed. */
  readonly problem?: Problem
}

export interface RenewalParts {
  readonly gate: RemoteGate
  readonly kept: KeptEnrolment
  readonly storage: Storage
  readonly enrollment: ConnectOptions['enrollment']
  readonly appVersion: string | undefined
  readonly deviceName: string | undefined
  readonly refreshWhenLeftMs: number
  readonly tempo: Tempo
  /** Called with a token that /refresh did not accept: revoked, or expired. */
  readonly onRejected: (token: string) => void
}

/** `newerThan`: this token is not acceptable, however long it lives. Nothing throws. */
export type Renew = (newerThan: string | undefined) => Promise<Result<Renewed>>

export function renewal(parts: RenewalParts): Renew {
  const { storage } = parts
  return async (newerThan) => {
    const work = () => renew(parts, newerThan)
    try {
      return await (storage.exclusively ? storage.exclusively(work) : work())
    } catch (error) {
      return failed(problem(isCode(error, 'BUSY') ? 'busy' : 'storage_failed'))
    }
  }
}

/** Rejects if the storage fails. */
async function renew(parts: RenewalParts, newerThan: string | undefined): Promise<Result<Renewed>> {
  const { gate, kept, tempo } = parts
  const before = await kept.read()
  if (before && suffices(before, newerThan, parts)) return renewed(before)
  const health = await gate.health(tempo.healthTimeoutMs)
  if (!health.ok) return health
  // Read again: if the storage has no lock, or lost it, another process may have been faster, and
  // refreshing the token that it has just replaced could cost the family.
  const present = await kept.read()
  if (present && present.token !== before?.token && suffices(present, newerThan, parts)) {
    return renewed(present)
  }
  if (!present) return bootstrap(parts)

  const asked = refreshable(present, tempo.now(), tempo.resendWithinMs)
  const replaced = asked === 'resend' ? undefined : await wasReplaced(present, parts)
  if (replaced === true) {
    return (await byAnother(present, parts)) ?? another(await bootstrap(parts))
  }
  if (replaced === false) return refreshOr(() => bootstrap(parts), unmarked(present), parts)
  if (asked !== 'doubtful') return refreshOr(() => bootstrap(parts), present, parts)
  // If the gate received the refresh, nobody got the family's next token: enrol as another family.
  const other = await bootstrap(parts)
  if (other.ok || other.problem.code !== 'enrollment_refused') return other
  // The one-time code is used up. If the gate received the refresh, the family is lost already; if
  // not, refreshing is safe.
  const leftMs = present.expiresAtMs - tempo.now()
  const nothingToLose = newerThan !== undefined || leftMs < tempo.lastResortMs
  return nothingToLose ? refreshOr(async () => other, present, parts) : other
}

/** Undefined if the gate does not say. */
async function wasReplaced(
  present: Grant,
  { gate, tempo }: RenewalParts,
): Promise<boolean | undefined> {
  const standing = await gate.standing(present.token, tempo.standingTimeoutMs)
  return standing.kind === 'good' ? standing.replaced : undefined
}

/** The token that another process got, once it has written it, if the storage has no lock. */
async function byAnother(
  present: Grant,
  { kept, storage, tempo }: RenewalParts,
): Promise<Result<Renewed> | undefined> {
  const written = async (): Promise<Result<Renewed> | undefined> => {
    const now = await kept.read()
    const isNewer = now && now.token !== present.token && isGood(now, tempo.now())
    return isNewer ? renewed(now) : undefined
  }
  const found = await written()
  if (found || storage.exclusively) return found
  await pause(tempo.resendPauseMs)
  return written()
}

function another(outcome: Result<Renewed>): Result<Renewed> {
  if (outcome.ok || outcome.problem.code !== 'enrollment_refused') return outcome
  const message = `${REPLACED}; ${outcome.problem.message}`
  return failed({ ...outcome.problem, message })
}

const REPLACED =
  'the gate has already issued the next token of this device, and it is not stored here'

function unmarked(grant: Grant): Grant {
  const { refreshSentAtMs: _, ...clean } = grant
  return clean
}

function suffices(grant: Grant, newerThan: string | undefined, parts: RenewalParts): boolean {
  const nowMs = parts.tempo.now()
  // It is not yet due, or another process was faster.
  return grant.token !== newerThan && renewsAtMs(grant, parts.refreshWhenLeftMs) > nowMs
}

async function refreshOr(
  otherwise: () => Promise<Result<Renewed>>,
  present: Grant,
  parts: RenewalParts,
): Promise<Result<Renewed>> {
  const asked = await refresh(present, parts)
  if (asked.kind === 'granted') return take(asked.grant, parts)
  if (asked.kind === 'failed') return failed(asked.problem)
  // If the storage has no lock, or lost it, another process may have been faster.
  const now = await parts.kept.read()
  if (now && now.token !== present.token && isGood(now, parts.tempo.now())) return renewed(now)
  parts.onRejected(present.token)
  return otherwise()
}

/** Repeats a refresh whose answer was lost, while the gate's grace period lasts. */
async function refresh(present: Grant, { gate, kept, tempo }: RenewalParts): Promise<GateAsked> {
  const { refreshSentAtMs, ...clean } = present
  const resent = refreshable(present, tempo.now(), tempo.resendWithinMs) === 'resend'
  const sentAtMs = (resent ? refreshSentAtMs : undefined) ?? tempo.now()
  const marked = { ...clean, refreshSentAtMs: sentAtMs }
  if (!resent) await kept.write(marked)
  let heard = refreshSentAtMs !== undefined
  for (let pauseMs = tempo.resendPauseMs; ; pauseMs *= 2) {
    const asked = await gate.refresh(present.token, tempo.refreshTimeoutMs)
    if (asked.kind !== 'failed') return asked
    heard ||= asked.heard
    if (!heard) {
      await kept.write(clean)
      return asked
    }
    const nextAtMs = tempo.now() + pauseMs
    if (!asked.heard || nextAtMs > sentAtMs + tempo.resendWithinMs) return asked
    await pause(pauseMs)
    // The machine may have slept meanwhile.
    if (refreshable(marked, tempo.now(), tempo.resendWithinMs) !== 'resend') return asked
  }
}

async function bootstrap(parts: RenewalParts): Promise<Result<Renewed>> {
  const { gate, storage, appVersion, deviceName, tempo } = parts
  // First: if the id cannot be stored, the token could not be either, and a one-time code would be
  // wasted.
  const body = {
    device_id: await deviceId(storage),
    ...(deviceName === undefined ? {} : { device_name: deviceName }),
    ...(appVersion === undefined ? {} : { app_version: appVersion }),
  }
  let enrollment: unknown
  try {
    const given = parts.enrollment
    enrollment = typeof given === 'function' ? await given() : given
  } catch {
    return failed(problem('enrollment_refused'))
  }
  if (enrollment !== undefined && !isBearerToken(enrollment)) {
    return failed(problem('enrollment_refused'))
  }
  const asked = await gate.bootstrap(body, enrollment, tempo.bootstrapTimeoutMs)
  if (asked.kind === 'granted') return take(asked.grant, parts)
  if (asked.kind === 'failed') return failed(asked.problem)
  const message = REFUSALS[asked.code ?? (enrollment === undefined ? NONE_SENT : NOT_ACCEPTED)]
  return failed(
    problem('enrollment_refused', { status: asked.status, ...(message && { message }) }),
  )
}

const NONE_SENT = 'enrollment_required'
const NOT_ACCEPTED = 'enrollment_refused'
/** Messages about which a person can do something. */
const REFUSALS: Readonly<Partial<Record<GateRefusalCode, string>>> = {
  enrollment_closed: 'the gate enrols no devices',
  [NONE_SENT]: 'the gate asks for an enrolment code, or the token of a user, and none was given',
  [NOT_ACCEPTED]: 'the gate did not accept the enrolment: its code is unknown, used or expired',
}

async function take(grant: Grant, { kept }: RenewalParts): Promise<Result<Renewed>> {
  const taken = await kept.take(grant)
  return {
    ok: true,
    value: { grant, fresh: true, ...(!taken && { problem: problem('storage_failed') }) },
  }
}

function renewed(grant: Grant): Result<Renewed> {
  return { ok: true, value: { grant, fresh: false } }
}

function failed(because: Problem): Result<never> {
  return { ok: false, problem: because }
}
