// Probes upstreams that accept requests and answer none: when a breaker doubts an upstream, this asks
// it for its models, without a credential. Any answer, even a 401, shows that the upstream is alive
// and only the model is slow. An upstream that does not answer this either is taken for dead.

import type { Breaker } from '../budget/breaker.ts'
import type { Timeouts, Transport } from '../http1/transport.ts'
import type { Upstream } from '../upstream/upstream.ts'

export interface WatchedUpstream {
  readonly upstream: Upstream
  readonly breaker: Breaker
}

export interface StallsOptions {
  readonly transport: Transport
  /** As they are now: a reload may change them. */
  readonly watched: () => readonly WatchedUpstream[]
  /** Of a probe. */
  readonly timeouts: () => Timeouts
}

const EVERY_MS = 1000

export function watchStalls({ transport, watched, timeouts }: StallsOptions): {
  stop(): void
} {
  const ask = async ({ upstream, breaker }: WatchedUpstream, host: string): Promise<void> => {
    const askedAt = performance.now()
    const models = { method: 'GET', path: '/v1/models', search: '', sealed: false }
    const to = await upstream.destination(
      host === '' ? models : { ...models, enclaveHost: host },
      askedAt,
    )
    if (!to.ok) return
    const headers = { accept: 'application/json' }
    const flight = transport.send(
      { method: 'GET', to: to.value, headers, body: undefined },
      timeouts(),
    )
    const head = await flight.head
    flight.cancel()
    breaker.checked(host, head.ok, askedAt, performance.now())
  }

  const timer = setInterval(() => {
    const now = performance.now()
    for (const each of watched()) {
      for (const host of each.breaker.doubtful(now)) void ask(each, host)
    }
  }, EVERY_MS)
  timer.unref()
  return { stop: () => clearInterval(timer) }
}
