// The settings in force, read by each request, connection and timer when it needs them.

import type { Prices } from '../budget/prices.ts'
import type { Settings } from '../config/read.ts'
import type { Timeouts } from '../http1/transport.ts'
import type { Configuration } from './reload-change.ts'

export interface Live {
  readonly settings: () => Settings
  /** One object for the gate's lifetime; a reload changes its values. */
  readonly timeouts: Timeouts
  readonly bodyTimeoutMs: () => number
  readonly idleMs: () => number
  readonly prices: Prices
  take(next: Configuration): void
}

export function live(first: Configuration): Live {
  let { settings, named } = first
  const timeouts = timeoutsOf(settings)
  return {
    settings: () => settings,
    timeouts,
    bodyTimeoutMs: () => timeouts.bodyMs,
    idleMs: () => settings.idleTimeoutSeconds * 1000,
    prices: {
      get date() {
        return named.prices.date
      },
      priceOf: (model) => named.prices.priceOf(model),
    },
    take(next) {
      ;({ settings, named } = next)
      Object.assign(timeouts, timeoutsOf(settings))
    },
  }
}

const timeoutsOf = (settings: Settings): Timeouts => ({
  connectMs: settings.connectTimeoutSeconds * 1000,
  headersMs: settings.headersTimeoutSeconds * 1000,
  bodyMs: settings.bodyTimeoutSeconds * 1000,
})
