// Probes upstreams without anybody's request, by asking for their models without a credential. An upstream
// that accepts requests and answers none is asked when its breaker doubts it: any answer, even a 401, shows
// that it is alive and only the model is slow; one that does not answer this either is taken for dead. An
// upstream that nobody could connect to is asked before a request would be let through again.

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
  const ask = async (upstream: Upstream, host: string, now: number) => {
    const models = { method: 'GET', path: '/v1/models', search: '', sealed: false }
    const to = await upstream.destination(
      host === '' ? models : { ...models, enclaveHost: host },
      now,
    )
    if (!to.ok) return undefined
    const headers = { accept: 'application/json' }
    const flight = transport.send(
      { method: 'GET', to: to.value, headers, body: undefined },
      timeouts(),
    )
    const head = await flight.head
    flight.cancel()
    return head
  }
  const check = async ({ upstream, breaker }: WatchedUpstream, host: string): Promise<void> => {
    const askedAt = performance.now()
    const head = await ask(upstream, host, askedAt)
    if (head) breaker.checked(host, head.ok, askedAt, performance.now())
  }
  const reach = async ({ upstream, breaker }: WatchedUpstream, host: string): Promise<void> => {
    const askedAt = performance.now()
    const head = await ask(upstream, host, askedAt)
    if (!head) return
    const isReached = head.ok || (head.kind !== 'unreachable' && head.kind !== 'connect_timeout')
    breaker.reached(host, isReached, askedAt, performance.now())
  }

  const timer = setInterval(() => {
    const now = performance.now()
    for (const each of watched()) {
      for (const host of each.breaker.doubtful(now)) void check(each, host)
      for (const host of each.breaker.due(now)) void reach(each, host)
    }
  }, EVERY_MS)
  timer.unref()
  return { stop: () => clearInterval(timer) }
}
