// Usage: a device sees its own, the operator sees all. A device's token opens nothing else under /admin/.

import { type Static, t } from 'elysia'
import type { UsageFilter } from '../../ledger/reports.ts'
import { type Decision, granted, refused } from '../../refusal.ts'
import { early, routesFor } from '../arrivals.ts'
import { bearerOfHeader } from '../bearer.ts'
import { OTHERS_TOO } from '../invalid.ts'
import type { AdminParts } from './parts.ts'
import { type AdminCaller, adminCallers } from './who.ts'

const TEXT = t.Optional(t.String())

/** `filterOf` checks the dates: a schema would accept fewer forms than Date.parse. */
const FILTER = {
  model: TEXT,
  device: TEXT,
  org: TEXT,
  since: TEXT,
  until: TEXT,
}
const FILTER_QUERY = t.Object(FILTER, OTHERS_TOO)
const USAGE_QUERY = t.Object(
  {
    ...FILTER,
    limit: TEXT,
    before: TEXT,
  },
  OTHERS_TOO,
)

export function usageRoutes(parts: AdminParts) {
  const { answers, reports } = parts
  const who = adminCallers(parts)

  return routesFor('own', 'anthropic').group('/admin', (own) =>
    own
      .use(bearerOfHeader)
      // `derive` runs before any query is read. Local: it guards the routes of this group.
      .derive(async ({ arrival, bearer, request }) => {
        const asking = await who(arrival, request, bearer)
        if (!asking.ok) return early(answers.refuse(arrival.exchange, asking))
        return { who: asking.value }
      })
      .get(
        '/usage',
        async ({ arrival: { exchange }, query, who }) => {
          const filter = filterOf(query, who)
          if (!filter.ok) return answers.refuse(exchange, filter)
          // In this order, so that the rows include everything that the stats count.
          const stats = await reports.stats(filter.value)
          if (!stats.ok) return answers.refuse(exchange, stats)
          const { before, limit } = query
          const page = await reports.requests(filter.value, {
            limit: Number(limit ?? Number.NaN),
            ...(before !== undefined && { before }),
          })
          if (!page.ok) return answers.refuse(exchange, page)
          const { rows: metrics, next } = page.value
          return answers.json(exchange, 200, { stats: stats.value, metrics, next })
        },
        {
          query: USAGE_QUERY,
          detail: { summary: 'Returns sums and, in pages, the last requests.' },
        },
      )
      .get(
        '/stats',
        async ({ arrival: { exchange }, query, who }) => {
          const filter = filterOf(query, who)
          if (!filter.ok) return answers.refuse(exchange, filter)
          const stats = await reports.stats(filter.value)
          return stats.ok
            ? answers.json(exchange, 200, stats.value)
            : answers.refuse(exchange, stats)
        },
        { query: FILTER_QUERY, detail: { summary: 'Returns sums.' } },
      ),
  )
}

/** A device always gets its own usage. An invalid date is refused: ignoring it would mean all days. */
function filterOf(query: Static<typeof FILTER_QUERY>, who: AdminCaller): Decision<UsageFilter> {
  const days: Record<string, number> = {}
  for (const name of ['since', 'until'] as const) {
    const given = query[name]
    if (given === undefined) continue
    const ms = Date.parse(given)
    if (Number.isNaN(ms)) {
      const message = `${name} must be a date`
      return refused('bad_request', { reason: `${name} is not a date`, message })
    }
    days[`${name}Ms`] = ms
  }
  const { model, device, org } = query
  const common = { ...(model && { model }), ...days }
  return granted(
    who.operator
      ? { ...common, ...(device && { device }), ...(org && { org }) }
      : { ...common, device: who.device.identity },
  )
}
