// What the operator sees and does, and what a device may see of itself. Two credentials, never
// mixed: the operator's own key, compared in constant time, and device tokens, which open nothing
// here but their own usage. No cookie is looked at, so that no page can ride on one.

import { createHash, timingSafeEqual } from 'node:crypto'
import { Elysia, type Static, t } from 'elysia'
import type { Admitted } from '../../admit/admitted.ts'
import { type AdmitDevice, deviceToken } from '../../admit/device.ts'
import type { Breaker } from '../../budget/breaker.ts'
import type { Charges } from '../../budget/charge.ts'
import type { Secret } from '../../secret.ts'
import type { DeviceEnrollment } from '../../enroll/enrollment.ts'
import type { Register } from '../../enroll/register.ts'
import { type Decision, granted, refused } from '../../refusal.ts'
import type { Reports, UsageFilter } from '../../ledger/reports.ts'
import type { Answers } from '../answers.ts'
import type { Arrival } from '../arrival.ts'
import { early, routesFor } from '../arrivals.ts'
import { bearerOfHeader, sentCredentials } from '../bearer.ts'
import { OTHERS_TOO, type Told } from '../invalid.ts'
import { jsonBody } from '../small-body.ts'

export interface AdminParts {
  readonly answers: Answers
  /**
   * As it is now: it may be exchanged. Undefined where the operator has set none; what is the
   * operator's alone is then 404.
   */
  readonly adminToken: () => Secret | undefined
  readonly admitDevice: AdmitDevice | undefined
  readonly enrollment: DeviceEnrollment | undefined
  readonly reports: Reports
  readonly register: Register
  readonly breakers: Readonly<Record<string, Breaker>>
  readonly charges: Pick<Charges, 'reservations'>
  readonly bodyTimeoutMs: () => number
}

type Who = { readonly operator: true } | { readonly operator: false; readonly device: Admitted }

const MAX_REVOKE_BODY_BYTES = 1024
const MAX_DEVICES = 100

const TEXT = t.Optional(t.String())

/** Dates, too, are judged by filterOf: what is no date at all is told apart from a day without time. */
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
const DEVICES_QUERY = t.Object({ before: TEXT }, OTHERS_TOO)
const NAME: Told = { description: 'the name of a device, a family or a token' }
const REVOKE_BODY = t.Object({ name: t.String({ minLength: 1, ...NAME }) }, OTHERS_TOO)

export function adminRoutes(parts: AdminParts) {
  return new Elysia().use(ownRoutes(parts)).use(operatorRoutes(parts))
}

/** What a device sees of itself, and the operator of all. */
function ownRoutes(parts: AdminParts) {
  const { answers, reports } = parts
  const who = askers(parts)

  return routesFor('own', 'anthropic').group('/admin', (own) =>
    own
      .use(bearerOfHeader)
      // Before any query is looked at. Local: on this group alone, whose routes are all below.
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
          // In this order: what is counted is then among the rows, too.
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
        { query: USAGE_QUERY, detail: { summary: 'Stats and the last requests, paged.' } },
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
        { query: FILTER_QUERY, detail: { summary: 'Stats.' } },
      ),
  )
}

function operatorRoutes(parts: AdminParts) {
  const { answers, adminToken, enrollment, register, breakers, charges, bodyTimeoutMs } = parts
  const who = askers(parts)
  const bounds = { maxBytes: MAX_REVOKE_BODY_BYTES, timeoutMs: bodyTimeoutMs }

  return routesFor('operator', 'anthropic').group('/admin', (operator) =>
    operator
      .use(bearerOfHeader)
      // Before any query or body is looked at. Local: on this group alone, whose routes are all below.
      .derive(async ({ arrival, bearer, request }) => {
        const { exchange } = arrival
        if (!adminToken()) return early(answers.refuse(exchange, refused('not_found')))
        const asking = await who(arrival, request, bearer)
        if (!asking.ok) return early(answers.refuse(exchange, asking))
        if (asking.value.operator) return {}
        return early(answers.refuse(exchange, refused('admin_required')))
      })
      .get(
        '/reservations',
        ({ arrival: { exchange } }) => {
          const reservations = charges.reservations(exchange.at).map((each) => ({
            of: each.of,
            name: each.name,
            period: each.period,
            reserved_micro_usd: each.reservedMicroUsd,
          }))
          return answers.json(exchange, 200, { reservations })
        },
        { detail: { summary: 'What requests under way hold of caps.' } },
      )
      .get(
        '/circuit-breaker',
        ({ arrival: { exchange } }) => {
          const states = Object.entries(breakers).map(([name, each]) => [
            name,
            each.state(exchange.at),
          ])
          const [first] = states
          // Apps that know one upstream read its state at the top.
          const body = states.length === 1 ? first?.[1] : Object.fromEntries(states)
          return answers.json(exchange, 200, body ?? {})
        },
        { detail: { summary: 'The state of each circuit.' } },
      )
      .post(
        '/circuit-breaker/reset',
        ({ arrival: { exchange } }) => {
          // First the record: what cannot be written down is not done.
          const noted = register.note({
            at: exchange.at.epochSeconds,
            actor: 'operator',
            action: 'reset circuit breakers',
            subject: '*',
          })
          if (!noted.ok) return answers.refuse(exchange, noted)
          for (const each of Object.values(breakers)) each.reset()
          return answers.json(exchange, 200, { message: 'circuit breakers reset' })
        },
        { parse: 'none', detail: { summary: 'Closes them.' } },
      )
      .get(
        '/devices',
        ({ arrival: { exchange }, query }) => {
          const before = Number(query.before ?? Number.NaN)
          const found = register.devices({
            limit: MAX_DEVICES,
            ...(Number.isSafeInteger(before) && { before }),
          })
          if (!found.ok) return answers.refuse(exchange, found)
          const devices = found.value
          const next = devices.length === MAX_DEVICES ? devices.at(-1)?.seq : undefined
          return answers.json(exchange, 200, { devices, next })
        },
        { query: DEVICES_QUERY, detail: { summary: 'The enrolments.' } },
      )
      .use(jsonBody(answers, bounds))
      .post(
        '/revoke',
        async ({ arrival: { exchange }, body: { name } }) => {
          if (!enrollment) {
            return answers.refuse(exchange, refused('bad_request', { reason: 'no enrolments' }))
          }
          try {
            const done = await enrollment.revoke(name, 'operator', exchange.at)
            return answers.json(exchange, done.unfinished ? 202 : 200, done)
          } catch {
            return answers.refuse(exchange, refused('enrollment_unavailable'))
          }
        },
        { body: REVOKE_BODY, detail: { summary: 'Ends a device, a family or a token.' } },
      ),
  )
}

/** Whose credential it is: the operator's own key, or a device's token. */
function askers({ adminToken, admitDevice }: AdminParts) {
  const isOperator = operatorCheck(adminToken)
  return async (
    arrival: Arrival,
    request: Request,
    bearer: string | undefined,
  ): Promise<Decision<Who>> => {
    const sent = sentCredentials(arrival, request, bearer)
    const token = deviceToken(sent)
    if (!token.ok) return token
    if (isOperator(token.value)) return granted({ operator: true })
    if (!admitDevice) return refused('invalid_token', { reason: 'is not the operator' })
    const device = await admitDevice(sent, arrival.exchange.at)
    if (!device.ok) return device
    arrival.exchange.identity = device.value.identity
    return granted({ operator: false, device: device.value })
  }
}

/** Hashes of equal length are compared, so that neither length nor prefix shows in the time. */
function operatorCheck(secret: () => Secret | undefined): (token: string) => boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
  let of: Secret | undefined
  let expected: Buffer | undefined
  return (token) => {
    const now = secret()
    if (now !== of) [of, expected] = [now, now && digest(now.reveal())]
    return expected !== undefined && timingSafeEqual(digest(token), expected)
  }
}

/** A device sees its own, whatever it asks for. A day that is none would be every day. */
function filterOf(query: Static<typeof FILTER_QUERY>, who: Who): Decision<UsageFilter> {
  const days: Record<string, number> = {}
  for (const name of ['since', 'until'] as const) {
    const given = query[name]
    if (given === undefined) continue
    const ms = Date.parse(given)
    if (Number.isNaN(ms)) {
      const message = `${name} must be a date`
      return refused('bad_request', { reason: `${name} is no date`, message })
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
