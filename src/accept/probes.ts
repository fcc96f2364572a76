// What health checks ask, apart from the routes: load balancers also ask it in HTTP/1.0 and without a
// Host, where nothing can be routed.

import type { KeySource } from '../admit/jwks.ts'
import type { Exchange } from '../exchange.ts'
import type { Ledger } from '../ledger/port.ts'
import type { Answers } from './answers.ts'

/** Answered without a line in the log: probes come every second. */
export const PROBES = { health: '/health', healthz: '/healthz', readyz: '/readyz' } as const

const SILENT = new Set<string>(Object.values(PROBES))

export function isSilent(path: string): boolean {
  return SILENT.has(path)
}

export interface ProbeParts {
  readonly answers: Answers
  /** The upstreams that are configured, as `/health` names them. */
  readonly backend: string
  /** Where users' tokens are taken. */
  readonly keys: Pick<KeySource, 'ready'> | undefined
  readonly ledger: Ledger
  readonly draining: () => boolean
  /** Why there is no database, or why another one was gone over to a short while ago. */
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
      // A ledger that fails stops no inference, and so takes no gate out of rotation; but it is said.
      const database = fileTrouble()
      const said = health.ok ? database && { database } : { ledger: health.reason }
      return reason === undefined
        ? answers.json(exchange, 200, { status: 'ready', ...said })
        : answers.json(exchange, 503, { status: 'not_ready', reason, ...said })
    },
  }
}

/** By path, as a request without a Host names it. */
export function probeAt({ health, healthz, readyz }: Probes): ReadonlyMap<string, Probe> {
  return new Map([
    [PROBES.health, health],
    [PROBES.healthz, healthz],
    [PROBES.readyz, readyz],
  ])
}
