// Tells the operator that an upstream refuses the gate's key: one log line a minute for each upstream,
// however many requests fail.

import type { Logger } from '../log.ts'
import type { Upstream } from './upstream.ts'

type Named = Pick<Upstream, 'name' | 'kind'>

export type KeyRefused = (upstream: Named, status: number, now: number) => void

const REPEAT_AFTER_MS = 60_000

/** `settingOf`: the setting that gave an upstream its key, as the operator knows it. */
export function keyRefusals(log: Logger, settingOf: (upstream: Named) => string): KeyRefused {
  const told = new Map<string, { readonly at: number; requests: number }>()
  return (of, status, now) => {
    const { name: upstream } = of
    const before = told.get(upstream)
    if (before && now - before.at < REPEAT_AFTER_MS) {
      before.requests += 1
      return
    }
    told.set(upstream, { at: now, requests: 0 })
    const fields = { upstream, status, requests: (before?.requests ?? 0) + 1 }
    log.error(fields, `${status === 401 ? REFUSED : FORBIDDEN} ${todo(settingOf(of), status)}`)
  }
}

const REFUSED = 'the upstream refuses the key of this gate:'
const FORBIDDEN = 'the upstream forbids this gate its answer:'

function todo(setting: string, status: number): string {
  return status === 401
    ? `put a key that is valid into ${setting}, and restart unless it is in a file; postern check tries it`
    : `look up what the key in ${setting} may do, and from which networks and regions; postern check tries it`
}
