// The running gate: its parts put together, its listener, and how it stops.

import { addressKey } from './accept/address.ts'
import { gate } from './accept/app.ts'
import { admission } from './admit/admit.ts'
import { identifier } from './admit/identity.ts'
import { jwksSource } from './admit/jwks.ts'
import { budget, rateLimiter } from './budget/budget.ts'
import type { Settings } from './config/read.ts'
import { dispatching } from './dispatch/dispatch.ts'
import type { Logger } from './log.ts'
import { relaying } from './relay/relay.ts'
import { settlement } from './settle/settle.ts'
import type { Sources } from './sources.ts'
import { documents } from './upstream/documents.ts'
import { tinfoil } from './upstream/tinfoil.ts'
import { transport } from './upstream/transport.ts'

export interface Gate {
  readonly url: URL
  /** Resolves when the last request has ended or was broken; never before the drain is over. */
  drain(): Promise<void>
}

/** Throws where the address cannot be bound. */
export function serve(
  settings: Settings,
  { jwksUrl, rules, tinfoil: at }: Sources,
  log: Logger,
): Gate {
  const wire = transport()
  const timeouts = {
    connectMs: settings.connectTimeoutSeconds * 1000,
    headersMs: settings.headersTimeoutSeconds * 1000,
  }
  const bodyTimeoutMs = timeouts.headersMs
  const { requireEhbp, tinfoilEnclaveHosts: enclaveHosts, maxRequestBodyBytes } = settings
  const keys = jwksSource({
    url: jwksUrl,
    refreshMs: settings.jwksRefreshSeconds * 1000,
    maxStaleMs: settings.jwksMaxStaleSeconds * 1000,
    log,
  })
  const settle = settlement(log)
  const relay = relaying({
    transport: wire,
    timeouts,
    idleMs: settings.idleTimeoutSeconds * 1000,
    settle,
  })
  let draining = false

  const app = gate({
    admit: admission(keys, rules, identifier(settings.identityHashKey)),
    keys,
    budget: budget(settings),
    publicLimit: rateLimiter(settings.publicRateLimitRpm, settings.rateLimitBurst),
    addressKey: addressKey(settings.trustedProxies ?? []),
    rules: { requireEhbp, enclaveHosts, maxRequestBodyBytes, bodyTimeoutMs },
    dispatch: dispatching(tinfoil(at), { maxRequestBodyBytes, bodyTimeoutMs }),
    relay,
    documents: documents({ transport: wire, timeouts, ...at }),
    settle,
    log,
    draining: () => draining,
  })
  app.listen({ hostname: settings.host, port: settings.port })
  const { server } = app
  if (!server) throw new Error('not listening')
  keys.start()

  return {
    url: new URL(server.url),
    async drain() {
      draining = true
      await Bun.sleep(settings.drainDelaySeconds * 1000)
      const stopped = server.stop()
      await Promise.race([stopped, Bun.sleep(settings.drainTimeoutSeconds * 1000)])
      if (relay.running > 0) {
        log.warn({ streams: relay.running }, 'drain time is over, breaking what still runs')
        relay.breakAll()
        await Promise.race([stopped, Bun.sleep(BREAK_MS)])
      }
      keys.stop()
      wire.close()
    },
  }
}

/** For what broken streams still hold to reach the kernel; the exit then closes them in order. */
const BREAK_MS = 250
