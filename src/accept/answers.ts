// Responses of our own; each is settled when it is made. Relayed responses are made in relay/.

import type { Exchange } from '../exchange.ts'
import { type Refusal, refusalResponse, statusOf } from '../refusal.ts'
import { NOTHING_OWED } from '../settle/bill.ts'
import type { Settle } from '../settle/settle.ts'

export interface Answers {
  refuse(exchange: Exchange, refusal: Refusal): Response
  reply(exchange: Exchange, response: Response): Response
  /** JSON for a relayed route that the gate answers itself. */
  free(exchange: Exchange, body: Uint8Array): Response
  json(exchange: Exchange, status: 200 | 202 | 503, body: unknown): Response
  /** The client left before we answered. */
  left(exchange: Exchange, refusal: Refusal): Response
}

export function answers(settle: Settle): Answers {
  const reply: Answers['reply'] = (exchange, response) => {
    exchange.status = response.status
    settle(exchange, 'complete')
    return response
  }
  return {
    reply,
    free(exchange, body) {
      exchange.status = 200
      exchange.bytesOut = body.byteLength
      exchange.headers.set('content-type', 'application/json')
      settle(exchange, 'complete', NOTHING_OWED)
      return new Response(body, { status: 200, headers: exchange.headers })
    },
    refuse(exchange, refusal) {
      exchange.status = statusOf(refusal)
      exchange.code = refusal.code
      if (refusal.reason !== undefined) exchange.reason = refusal.reason
      settle(exchange, 'refused')
      return refusalResponse(refusal, exchange)
    },
    json(exchange, status, body) {
      const { headers } = exchange
      headers.set('cache-control', 'no-store')
      return reply(exchange, Response.json(body, { status, headers }))
    },
    left(exchange, refusal) {
      settle(exchange, 'client_gone')
      return refusalResponse(refusal, exchange)
    },
  }
}
