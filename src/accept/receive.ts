// What happens to every request before Elysia routes it: idle timeouts, the bound on pipelining, CORS, and
// the refusal of requests that no router may see.

import { refused } from '../refusal.ts'
import type { Answers } from './answers.ts'
import type { Arrival } from './arrival.ts'
import type { Cors } from './cors.ts'
import type { CountAddress } from './count-address.ts'
import type { IdleSeconds } from './keep-alive.ts'
import { pipelining } from './pipelining.ts'
import type { Probe } from './probes.ts'
import type { FindRoute } from './route-table.ts'
import { isPlain, strayed } from './stray.ts'

export interface ReceivingParts {
  readonly answers: Answers
  readonly cors: Cors
  readonly countAddress: CountAddress
  readonly idleSeconds: IdleSeconds
  readonly find: FindRoute
  /** The routes that work without a Host. */
  readonly probes: ReadonlyMap<string, Probe> | undefined
}

/** The response to a request that must not be routed; undefined for all others. */
export type Receive = (arrival: Arrival, request: Request) => Response | undefined

export function receiving(parts: ReceivingParts): Receive {
  const { answers, cors, countAddress, idleSeconds, find, probes } = parts
  const isLast = pipelining()

  /** The response to OPTIONS of a known path; undefined for a preflight that is not allowed. */
  const options = ({ exchange, target, server }: Arrival, request: Request) => {
    const methods = find(target.path)?.methods ?? []
    const preflight = cors.preflight(request, exchange, methods)
    if (preflight) {
      const counted = countAddress(exchange, request, server)
      return counted.ok ? answers.reply(exchange, preflight) : answers.refuse(exchange, counted)
    }
    if (request.headers.has('access-control-request-method')) return undefined
    // RFC 9110 §9.3.7.
    exchange.headers.set('allow', ['OPTIONS', ...methods].join(', '))
    cors.permit(request, exchange)
    return answers.reply(exchange, new Response(null, { status: 204, headers: exchange.headers }))
  }

  /** Elysia cannot route a request without a Host. */
  const withoutHost = ({ exchange, target }: Arrival): Response => {
    const probe = probes?.get(target.path)
    return probe ? probe(exchange) : answers.refuse(exchange, refused('bad_host'))
  }

  return (arrival, request) => {
    const { exchange, server } = arrival
    arrival.idleSeconds = idleSeconds(request, server)
    server?.timeout(request, arrival.idleSeconds)
    if (isLast(request, server)) exchange.headers.set('connection', 'close')
    // Bun parses chunks even if nobody reads them, so a stranger could send them forever.
    else if (request.headers.has('transfer-encoding')) {
      arrival.closing = true
      exchange.headers.set('connection', 'close')
    }
    if (isPlain(arrival, exchange.method)) {
      cors.permit(request, exchange)
      return undefined
    }
    const refusal = strayed(arrival, request, find)
    if (exchange.method === 'OPTIONS' && refusal?.code === 'method_not_allowed') {
      const answer = options(arrival, request)
      if (answer) return answer
    }
    cors.permit(request, exchange)
    if (refusal) return answers.refuse(exchange, refusal)
    return arrival.hostless ? withoutHost(arrival) : undefined
  }
}
