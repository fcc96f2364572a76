// The guard of routes that anybody may ask: each address may ask only so often.

import type { Answers } from './answers.ts'
import type { Arrival } from './arrival.ts'
import { early } from './arrivals.ts'
import type { CountAddress } from './count-address.ts'

interface CountedContext {
  readonly arrival: Arrival
  readonly request: Request
}

/** For `derive`, which runs before any query or body is looked at. */
export function counted(answers: Answers, countAddress: CountAddress) {
  return ({ arrival, request }: CountedContext) => {
    const decision = countAddress(arrival.exchange, request, arrival.server)
    if (decision.ok) return {}
    return early(answers.refuse(arrival.exchange, decision))
  }
}
