// Opens a WebSocket to an upstream, or gives what its caller is told instead: the upstream's own answer
// to a handshake that it refuses passes as it does on other routes, and never quotes our key.

import type { CircuitPermit } from '../budget/pass.ts'
import { type RefusedRequest, refusedBy } from './refused-handshake.ts'
import type { Destination } from '../http1/destination.ts'
import type { Flight, Timeouts, Transport } from '../http1/transport.ts'
import { failed } from '../relay/unanswered.ts'
import { type Refusal, refused } from '../refusal.ts'
import { type Echo, echoOf } from '../upstream/echo.ts'
import type { Upstream } from '../upstream/upstream.ts'
import { handshake } from '../websocket/handshake.ts'
import { UpstreamSocket } from './upstream-socket.ts'

export interface HandshakeRequest {
  readonly upstream: Upstream
  readonly to: Destination
  /** The client's, without credentials and without those of its own handshake. */
  readonly headers: Headers
  readonly protocol: string | undefined
  readonly maxBytes: number
  readonly pass: CircuitPermit
  /** Told of the flight as soon as there is one. */
  readonly onFlight: (flight: Flight) => void
}

export type Handshaken =
  | {
      readonly ok: true
      readonly socket: UpstreamSocket
      readonly protocol: string | undefined
      /** Of what was sent with it. */
      readonly echo: Echo
    }
  | ({ readonly ok: false } & RefusedRequest)

export type ShakeHands = (request: HandshakeRequest) => Promise<Handshaken>

export function handshaking(transport: Transport, timeouts: Timeouts): ShakeHands {
  return async ({ upstream, to, headers, protocol, maxBytes, pass, onFlight }) => {
    const asked = handshake(protocol)
    const sent = upstream.requestHeaders(headers)
    const call = {
      method: 'GET',
      to,
      headers: { ...sent, ...asked.headers },
      body: undefined,
      upgrades: true,
    } as const
    const flight = transport.send(call, timeouts)
    onFlight(flight)
    const head = await flight.head
    const now = performance.now()
    if (!head.ok) {
      const { refusal, end, verdict } = failed(head, undefined)
      pass.report(verdict, now)
      return { ok: false, refusal, end }
    }
    if (head.status !== 101) {
      const found = await refusedBy(upstream, head, echoOf(sent))
      pass.answered(Math.max(head.status, 200), performance.now(), found.isOverload)
      pass.report('neutral', performance.now())
      flight.cancel()
      return { ok: false, ...found }
    }
    const fault = asked.fault(head.headers)
    if (fault !== undefined) {
      pass.report('failure', now)
      flight.cancel()
      return { ok: false, refusal: notWebSocket(fault), end: 'upstream_error' }
    }
    // A session lasts too long to be what a circuit waits for.
    pass.answered(200, now)
    pass.report('success', now)
    return {
      ok: true,
      socket: new UpstreamSocket(flight, head.body, maxBytes),
      protocol: head.headers['sec-websocket-protocol'],
      echo: echoOf(sent),
    }
  }
}

const notWebSocket = (fault: string): Refusal =>
  refused('upstream_invalid', { reason: `handshake: ${fault}` })
