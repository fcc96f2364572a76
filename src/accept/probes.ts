// The answers to health checks. They do not depend on a route: load balancers also send HTTP/1.0 without a
// Host, which cannot be routed.

import type { KeySource } from '../admit/jwks.ts'
import type { Exchange } from '../exchange.ts'
import type { Ledger } from '../ledger/port.ts'
import type { Answers } from './answers.ts'

/** Probes come every second and get no line in the log. */
export const PROBES = { health: '/health', healthz: '/healthz', readyz: '/readyz' } as const

const SILENT = new Set<string>(Object.values(PROBES))

export function isSilent(path: string): boolean {
  return SILENT.has(path)
}

export interface ProbeParts {
  readonly answers: Answers
  /** The names of the configured upstreams, for `/health`. */
  readonly backend: string
  /** If the gate admits users. */
  readonly keys: Pick<KeySource, 'ready'> | undefined
  readonly ledger: Ledger
  readonly draining: () => boolean
  /** Why there is no database, or why the gate recently switched to another file. */
  readonly fileTrouble: () => string | undefined
}

export type Probe = (exchange: Exchange) => Response

export type Probes = Readonly<Record<'health' | 'healthz' | 'readyz', Probe>>

export function probes(parts: ProbeParts): Probes {
  const { answers, backend, keys, ledger, draining, fileTrouble } = parts
  const notReady = (exchange: Exchange): string | undefined => {
    if (draining()) return 'draining'
    return keys && !keys.ready(exchange.at.monotonicMs) ? 'keys_unavailable' : undefined
  }
  return {
    health: (exchange) => answers.json(exchange, 200, { status: 'ok', backend }),
    healthz: (exchange) => answers.json(exchange, 200, { status: 'ok' }),
    readyz(exchange) {
      const reason = notReady(exchange)
      const health = ledger.health()
      // A failing ledger does not stop inference, so the gate stays ready; but the answer says so.
      const database = fileTrouble()
      const said = health.ok ? database && { database } : { ledger: health.reason }
      return reason === undefined
        ? answers.json(exchange, 200, { status: 'ready', ...said })
        : answers.json(exchange, 503, { status: 'not_ready', reason, ...said })
    },
  }
}

/** By path, for requests without a Host. */
export function probeAt({ health, healthz, readyz }: Probes): ReadonlyMap<string, Probe> {
  return new Map([
    [PROBES.health, health],
    [PROBES.healthz, healthz],
    [PROBES.readyz, readyz],
  ])
}
