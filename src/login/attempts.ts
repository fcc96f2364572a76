// Sign-ins that were begun and are not over: in memory alone, so that a restart asks the person to
// start again. Each is tied to whoever began it by the id in their attempt cookie, good once and for
// ten minutes. Nothing here is ever pushed out by a newer one.

import { hash, randomBytes } from 'node:crypto'
import type { Secret } from '../secret.ts'
import type { Instant } from '../turn/instant.ts'
import { type Decision, granted, refused } from '../refusal.ts'
import type { SignInProof } from './authorization.ts'
import { checkAttempt, newAttempt } from './keys.ts'
import type { SignedIn } from './session-status.ts'

export interface Attempts {
  begin(now: Instant): Decision<OpenedAttempt & { readonly ticket: string | undefined }>
  /** For the browser that a ticket was carried to: it may finish, but collects nothing. */
  open(ticket: string, now: Instant): Decision<OpenedAttempt>
  /** Once: whatever comes of it, nobody gets this proof again. */
  take(attempt: string | undefined, now: Instant): Decision<TakenAttempt>
  /** What came of it elsewhere, once; undefined while nothing has. */
  collect(attempt: string, now: Instant): Decision<SignedIn | undefined>
  /** Ids that are known: one of each sign-in, and one more where its ticket was used. */
  readonly size: number
}

export interface OpenedAttempt {
  readonly proof: SignInProof
  /** Signed, for the cookie. */
  readonly attempt: string
}

export interface TakenAttempt {
  readonly proof: SignInProof
  /** Keeps it for whoever began, where that is somebody else. */
  settle(outcome: Decision<SignedIn>): void
}

export interface AttemptsOptions {
  readonly secrets: readonly Secret[]
  /** Whether a ticket is of use: where the answer is pasted, it is pasted to who began. */
  readonly tickets: boolean
}

export const ATTEMPT_SECONDS = 600
/**
 * About 1 KB each. When it is full, a new sign-in is refused until an old one ends: a stranger who
 * fills it keeps the person waiting, but takes no sign-in that is under way from them. The limit of
 * /auth/* per address keeps one address far below this number in ten minutes.
 */
export const MAX_ATTEMPTS = 1000
/** Of the verifier (43 to 128 characters, RFC 7636 §4.1) and of the state. */
const PROOF_BYTES = 64
const TICKET_BYTES = 32
const TICKET = /^[A-Za-z0-9_-]{43}$/

interface PendingAttempt {
  readonly proof: SignInProof
  /** By the monotonic clock. */
  readonly expiresAtMs: number
  readonly beganId: string
  openedId: string | undefined
  /** SHA-256 of it; undefined once it has been used. */
  ticketSha256: string | undefined
  state: 'pending' | 'taken' | Decision<SignedIn>
}

export function attempts({ secrets, tickets }: AttemptsOptions): Attempts {
  /** In the order in which they began, which is the order in which they expire. */
  const all = new Set<PendingAttempt>()
  const byId = new Map<string, PendingAttempt>()
  const byTicket = new Map<string, PendingAttempt>()

  const drop = (attempt: PendingAttempt): void => {
    all.delete(attempt)
    byId.delete(attempt.beganId)
    if (attempt.openedId !== undefined) byId.delete(attempt.openedId)
    if (attempt.ticketSha256 !== undefined) byTicket.delete(attempt.ticketSha256)
  }
  const sweep = ({ monotonicMs }: Instant): void => {
    for (const attempt of all) {
      if (attempt.expiresAtMs > monotonicMs) return
      drop(attempt)
    }
  }
  const find = (signed: string | undefined, now: Instant): FoundAttempt | undefined => {
    sweep(now)
    const id = signed === undefined ? undefined : checkAttempt(secrets, signed)
    const attempt = id === undefined ? undefined : byId.get(id)
    return attempt && { attempt, began: attempt.beganId === id }
  }

  return {
    begin(now) {
      sweep(now)
      const [oldest] = all
      if (oldest && all.size >= MAX_ATTEMPTS) {
        const retryAfterSeconds = (oldest.expiresAtMs - now.monotonicMs) / 1000
        return refused('rate_limit_exceeded', { reason: 'attempts', retryAfterSeconds })
      }
      const { attempt: signed, id } = newAttempt(secrets)
      const ticket = tickets ? randomBytes(TICKET_BYTES).toString('base64url') : undefined
      const attempt: PendingAttempt = {
        proof: { state: randomText(PROOF_BYTES), verifier: randomText(PROOF_BYTES) },
        expiresAtMs: now.monotonicMs + ATTEMPT_SECONDS * 1000,
        beganId: id,
        openedId: undefined,
        ticketSha256: ticket === undefined ? undefined : digestOf(ticket),
        state: 'pending',
      }
      all.add(attempt)
      byId.set(id, attempt)
      if (attempt.ticketSha256 !== undefined) byTicket.set(attempt.ticketSha256, attempt)
      return granted({ proof: attempt.proof, attempt: signed, ticket })
    },
    open(ticket, now) {
      sweep(now)
      const attempt = TICKET.test(ticket) ? byTicket.get(digestOf(ticket)) : undefined
      if (!attempt) return refused('login_failed', { reason: 'ticket' })
      byTicket.delete(digestOf(ticket))
      attempt.ticketSha256 = undefined
      const { attempt: signed, id } = newAttempt(secrets)
      attempt.openedId = id
      byId.set(id, attempt)
      return granted({ proof: attempt.proof, attempt: signed })
    },
    take(signed, now) {
      const found = find(signed, now)
      if (found?.attempt.state !== 'pending') return refused('login_failed', { reason: 'attempt' })
      const { attempt, began } = found
      attempt.state = 'taken'
      // Who began gets the outcome as the answer; there is nobody else to keep it for.
      if (began) drop(attempt)
      return granted({
        proof: attempt.proof,
        settle(outcome) {
          attempt.state = outcome
        },
      })
    },
    collect(signed, now) {
      const found = find(signed, now)
      if (!found?.began) return refused('login_failed', { reason: 'attempt' })
      const { state } = found.attempt
      if (state === 'pending' || state === 'taken') return granted(undefined)
      drop(found.attempt)
      return state
    },
    get size() {
      return byId.size
    },
  }
}

interface FoundAttempt {
  readonly attempt: PendingAttempt
  readonly began: boolean
}

function randomText(bytes: number): string {
  return randomBytes(bytes).toString('base64url')
}

function digestOf(ticket: string): string {
  return hash('sha256', ticket, 'hex')
}
