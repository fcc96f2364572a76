// What the operator has to do where an upstream refuses the key of this gate: one line of the log a
// minute for each upstream, however many requests meet it.

import type { UpstreamKind } from '../names.ts'
import type { Logger } from '../log.ts'
import type { Upstream } from './upstream.ts'

export type KeyRefused = (
  upstream: Pick<Upstream, 'name' | 'kind'>,
  status: number,
  now: number,
) => void

const REPEAT_AFTER_MS = 60_000

/** By whose setting the key came, where the upstream has the name of its kind. */
const SETTINGS: Readonly<Record<UpstreamKind, string>> = {
  tinfoil: 'TINFOIL_API_KEY',
  anthropic: 'ANTHROPIC_API_KEY',
  'anthropic-oauth': 'its key',
  openai: 'OPENAI_UPSTREAM_KEY',
}

/** In words of the settings. */
export const keyOf = ({ name, kind }: Pick<Upstream, 'name' | 'kind'>): string =>
  name === kind ? SETTINGS[kind] : `the api_key of upstream ${name}`

export function keyRefusals(log: Logger): KeyRefused {
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
    log.error(fields, `${status === 401 ? REFUSED : FORBIDDEN} ${todo(keyOf(of), status)}`)
  }
}

const REFUSED = 'the upstream refuses the key of this gate:'
const FORBIDDEN = 'the upstream forbids this gate its answer:'

function todo(setting: string, status: number): string {
  return status === 401
    ? `put a key that is valid into ${setting}, and restart unless it is in a file; postern check tries it`
    : `look up what the key in ${setting} may do, and from which networks and regions; postern check tries it`
}
