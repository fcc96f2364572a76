// Another attempt in the place of one that gave no answer. By then nothing of an answer has passed, and
// where a request may go again, its plan says (dispatch/plan.ts).

import type { Charge } from '../budget/charge.ts'
import type { Verdict } from '../budget/pass.ts'
import type { Outgoing } from '../dispatch/dispatch.ts'
import type { AnswerHeaders } from '../http1/fields.ts'
import type { FallbackCause } from '../names.ts'

/** An attempt without an answer that has to pass. */
export interface EndedAttempt {
  readonly cause: FallbackCause
  /** For the circuit breaker: was it the upstream's fault? */
  readonly verdict: Verdict
  /** For the log. */
  readonly reason: string
  /** Of the upstream's answer. */
  readonly status: number | undefined
  readonly headers: AnswerHeaders
}

/** What goes out next, and the charge that was taken for it. */
export interface NextAttempt {
  readonly outgoing: Outgoing
  readonly charge: Charge
}

/** The attempt that ends, as far as the next one has to know it. */
export interface Ending {
  /** The request has ended: nothing may be sent for it any more. */
  isOver(): boolean
  /** Called before the next charge is taken: reports to the circuit, and frees what is not billed. */
  giveBack(verdict: Verdict): void
}

export interface Again {
  /** Undefined: the answer of the attempt that has ended passes, or its refusal. */
  next(ended: EndedAttempt, ending: Ending): Promise<NextAttempt | undefined>
  /** When the first of the upstreams that were asked may be asked again, set on our own answer. */
  tellSoonest(to: Headers): void
}
