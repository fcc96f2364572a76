// The plans of the settings: which upstreams stand in for which, by group of routes.

import type { FallbackEntry } from '../config/fallback.ts'
import type { FallbackPlan, FallbackPlans } from '../dispatch/plan.ts'
import type { FallbackCause } from '../names.ts'

const USUAL_CAUSES: readonly FallbackCause[] = ['unreachable', 'open', 'overloaded']
const USUAL_ATTEMPTS = 2
const USUAL_SECONDS = 20

/** Undefined where the settings have none: then no request pays for it. */
export function plansOf(entries: readonly FallbackEntry[]): FallbackPlans | undefined {
  if (entries.length === 0) return undefined
  const plans = new Map<string, FallbackPlan>()
  for (const entry of entries) {
    const plan = planOf(entry)
    for (const group of entry.routes) {
      for (const name of entry.from) plans.set(`${group} ${name}`, plan)
    }
  }
  return {
    planOf: (group, upstream) => plans.get(`${group} ${upstream}`),
    spreads: entries.some(({ first }) => first === 'fewest'),
  }
}

function planOf(entry: FallbackEntry): FallbackPlan {
  const { from, on = USUAL_CAUSES, attempts = USUAL_ATTEMPTS, weights } = entry
  return {
    from,
    on: new Set(on),
    attempts,
    withinMs: (entry.withinSeconds ?? USUAL_SECONDS) * 1000,
    // Nobody bills a moderation.
    againIfBilled: entry.againIfBilled ?? entry.routes.every((group) => group === 'moderations'),
    first: entry.first ?? 'listed',
    weights,
  }
}
