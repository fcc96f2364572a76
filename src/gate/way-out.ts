// How this gate connects to others. A reload keeps what has not changed: open connections go on, and
// certificates, which take megabytes outside the heap, are not parsed again.

import { type Egress, egress, trusting } from '../http1/egress.ts'
import { type Configuration, isSame } from './reload-change.ts'
import { type Remade, remade } from './remade.ts'

export function wayOut(first: Configuration): Remade<Egress> {
  return remade(first, ({ settings, named }, before): Egress => {
    const { settings: was, named: had } = before?.configuration ?? {}
    const isTrustSame = isSame(named.certificates, had?.certificates)
    const trust = before && isTrustSame ? before.made.trust : trusting(named.certificates)
    const way = [settings.upstreamProxy, settings.noProxy]
    const isWaySame = isSame(way, [was?.upstreamProxy, was?.noProxy])
    return before && isTrustSame && isWaySame ? before.made : egress(settings, trust)
  })
}
