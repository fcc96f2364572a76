// Pending sign-ins, kept in memory alone, so that a restart asks the person to start again. Each
// belongs to the browser or terminal that began it, by the id in its attempt cookie; it can be used
// once, within ten minutes. A newer sign-in never evicts an older one.

import { hash, randomBytes } from 'node:crypto'
import type { Secret } from '../secret.ts'
import type { Instant } from '../turn/instant.ts'
import { type Decision, granted, refused } from '../refusal.ts'
import type { SignInProof } from './authorization.ts'
import { checkAttempt, newAttempt } from './keys.ts'
import type { SignedIn } from './session-status.ts'

export interface Attempts {
  begin(now: Instant): Decision<OpenedAttempt & { readonly ticket: string | undefined }>
  /**
   * For the browser that received the ticket: it may finish the sign-in, but not collect its
   * outcome.
   */
  open(ticket: string, now: Instant): Decision<OpenedAttempt>
  /** Once: whatever the outcome, nobody gets this proof again. */
  take(attempt: string | undefined, now: Instant): Decision<TakenAttempt>
  /** The outcome of a sign-in finished elsewhere, once; undefined while it is pending. */
  collect(attempt: string, now: Instant): Decision<SignedIn | undefined>
  /** Known ids: one for each sign-in, and one more if its ticket was used. */
  readonly size: number
}

export interface OpenedAttempt {
  readonly proof: SignInProof
  /** The signed value of the cookie. */
  readonly attempt: string
}

export interface TakenAttempt {
  readonly proof: SignInProof
  /** Keeps the outcome for the client that began, if that is another one. */
  settle(outcome: Decision<SignedIn>): void
}

export interface AttemptsOptions {
  /** Read whenever they are needed. */
  readonly secrets: readonly Secret[]
  /**
   * Whether to issue tickets. They are useless if the code is pasted, because it is pasted where
   * the sign-in began.
   */
  readonly tickets: boolean
}

export const ATTEMPT_SECONDS = 600
/**
 * About 1 KB each. When it is full, a new sign-in is refused until an old one ends: a stranger who
 * fills it keeps the person waiting, but cannot evict a pending sign-in. The rate limit of /auth/*
 * keeps one address far below this number in ten minutes.
 */
export const MAX_ATTEMPTS = 1000
/** The size of the verifier (43 to 128 characters, RFC 7636 §4.1) and of the state. */
const PROOF_BYTES = 64
const TICKET_BYTES = 32
const TICKET = /^[A-Za-z0-9_-]{43}$/

interface PendingAttempt {
  readonly proof: SignInProof
  /** By the monotonic clock. */
  readonly expiresAtMs: number
  readonly beganId: string
  openedId: string | undefined
  /** The ticket's SHA-256; undefined once it has been used. */
  ticketSha256: string | undefined
  state: 'pending' | 'taken' | Decision<SignedIn>
}

export function attempts(options: AttemptsOptions): Attempts {
  const { tickets } = options
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
    const id = signed === undefined ? undefined : checkAttempt(options.secrets, signed)
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
      const { attempt: signed, id } = newAttempt(options.secrets)
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
      const { attempt: signed, id } = newAttempt(options.secrets)
      attempt.openedId = id
      byId.set(id, attempt)
      return granted({ proof: attempt.proof, attempt: signed })
    },
    take(signed, now) {
      const found = find(signed, now)
      if (found?.attempt.state !== 'pending') return refused('login_failed', { reason: 'attempt' })
      const { attempt, began } = found
      attempt.state = 'taken'
      // The client that began gets the outcome as the answer; there is nobody else to keep it for.
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
