// The guard of public routes: the rate limit of each address.

import type { Answers } from './answers.ts'
import type { Arrival } from './arrival.ts'
import { early } from './arrivals.ts'
import type { CountAddress } from './count-address.ts'

interface CountedContext {
  readonly arrival: Arrival
  readonly request: Request
}

/** A hook for `derive`, so that it runs before any query or body is read. */
export function counted(answers: Answers, countAddress: CountAddress) {
  return ({ arrival, request }: CountedContext) => {
    const decision = countAddress(arrival.exchange, request, arrival.server)
    if (decision.ok) return {}
    return early(answers.refuse(arrival.exchange, decision))
  }
}
