// What is noted of objects that upstreams keep, while the responses about them pass.

import type { Exchange } from '../exchange.ts'
import type { RelayOptions } from '../relay/relay.ts'
import type { Owner, Owners } from '../stored/owners.ts'
import { batchCounts } from '../stored/results.ts'

/** `keepers`: the names of the upstreams that keep objects, as they are now. */
export function notingKept(
  stored: Owners,
  keepers: () => ReadonlySet<string>,
): Pick<RelayOptions, 'noteKept' | 'isFirstRead'> {
  const counts = batchCounts(stored)
  const ownerIn = ({ identity, upstream }: Exchange): Owner | undefined =>
    identity === undefined || upstream === undefined ? undefined : { identity, upstream }
  return {
    noteKept(id, exchange, { as, isCharged }) {
      const owner = ownerIn(exchange)
      if (!owner || !keepers().has(owner.upstream)) return
      const epochMs = exchange.at.epochSeconds * 1000
      stored.note(id, owner, epochMs, as !== undefined)
      if (as === 'results') counts.written(id, owner, epochMs)
      if (as !== undefined && isCharged) counts.charged(id, owner, epochMs)
    },
    isFirstRead(results, exchange) {
      const owner = ownerIn(exchange)
      return !owner || counts.isFirst(results, owner, exchange.at.epochSeconds * 1000)
    },
  }
}
