// What applies before every route: the client's address and its rate limit, CORS, and the idle time of
// connections. It is created from settings, and again at a reload.

import { type AddressKey, addressKey, proxyCheck } from '../accept/address.ts'
import { type Cors, cors } from '../accept/cors.ts'
import { type CountAddress, publicCounter } from '../accept/count-address.ts'
import { type IdleSeconds, idleSeconds } from '../accept/keep-alive.ts'
import type { Counters } from '../state/port.ts'
import type { Configuration } from './reload-change.ts'
import { type Before, type Prepare, remade } from './remade.ts'

export interface FrontParts {
  readonly countedBy: AddressKey
  readonly countAddress: CountAddress
  /**
   * A limit of its own, so that the page's assets and a polling terminal do not use up that of other
   * routes.
   */
  readonly countSignIn: CountAddress
  readonly cors: Cors
  readonly idleSeconds: IdleSeconds
  readonly prepares: readonly Prepare[]
}

/** One visit of the page is four requests, and a sign-in a few more. */
const SIGN_IN_BURST = 30

export function frontParts(first: Configuration, counters: Counters): FrontParts {
  const address = remade(first, ({ settings }) => addressKey(settings.trustedProxies ?? []))
  const countedBy: AddressKey = (peer, forwardedFor, forwarded) =>
    address.now()(peer, forwardedFor, forwarded)
  /** Keeps its counts unless the limits have changed. */
  const counter = (least: number) =>
    remade(first, ({ settings }, before?: Before<CountAddress>): CountAddress => {
      const { publicRateLimitRpm: perMinute, rateLimitBurst: burst } = settings
      const was = before?.configuration.settings
      return before && was?.publicRateLimitRpm === perMinute && was.rateLimitBurst === burst
        ? before.made
        : publicCounter(counters, perMinute, Math.max(burst, least), countedBy)
    })
  const addresses = counter(0)
  const signIns = counter(SIGN_IN_BURST)
  const origins = remade(first, ({ settings }) => cors(settings.corsOrigins ?? []))
  const idle = remade(first, ({ settings: { keepAliveSeconds, trustedProxies } }) =>
    idleSeconds(keepAliveSeconds, trustedProxies && proxyCheck(trustedProxies)),
  )
  return {
    countedBy,
    countAddress: (exchange, request, server) => addresses.now()(exchange, request, server),
    countSignIn: (exchange, request, server) => signIns.now()(exchange, request, server),
    cors: {
      permit: (request, exchange) => origins.now().permit(request, exchange),
      welcomes: (request) => origins.now().welcomes(request),
      preflight: (request, exchange, methods) =>
        origins.now().preflight(request, exchange, methods),
    },
    idleSeconds: (request, server) => idle.now()(request, server),
    prepares: [address, addresses, signIns, origins, idle].map(({ prepare }) => prepare),
  }
}
