// What the operator sees and does, and what a device may see of itself. Two credentials, never
// mixed: the operator's own key, compared in constant time, and device tokens, which open nothing
// here but their own usage. No cookie is looked at, so that no page can ride on one.

import { createHash, timingSafeEqual } from 'node:crypto'
import { Elysia } from 'elysia'
import type { Admitted } from '../../admit/admitted.ts'
import { type AdmitDevice, deviceToken } from '../../admit/device.ts'
import { parseStrictObject } from '../../token/strict-json.ts'
import type { Breaker } from '../../budget/breaker.ts'
import type { Charges } from '../../budget/charge.ts'
import type { Secret } from '../../secret.ts'
import { readBounded } from '../../dispatch/body.ts'
import type { DeviceEnrollment } from '../../enroll/enrollment.ts'
import type { Register } from '../../enroll/register.ts'
import { type Decision, granted, refused, statusOf } from '../../refusal.ts'
import type { Reports, UsageFilter } from '../../ledger/reports.ts'
import type { Answers } from '../answers.ts'
import type { Arrival } from '../arrival.ts'
import { arrivals } from '../arrivals.ts'
import { ROUTES } from '../routes.ts'

export interface AdminParts {
  readonly answers: Answers
  /** Absent where the operator has set no key: what is the operator's alone is then 404. */
  /** As it is now: it may be exchanged. */
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

export function adminRoutes(parts: AdminParts) {
  const { answers, adminToken, admitDevice, enrollment, reports, register, breakers, charges } =
    parts
  const isOperator = operatorCheck(adminToken)

  const who = async ({ exchange, target, route }: Arrival, request: Request) => {
    const operatorOnly = route?.access === 'operator'
    if (operatorOnly && !adminToken()) return refused('not_found')
    const sent = {
      authorization: request.headers.get('authorization'),
      apiKey: request.headers.get('x-api-key'),
      query: target.search.slice(1),
    }
    const token = deviceToken(sent)
    if (!token.ok) return token
    if (isOperator(token.value)) return granted({ operator: true } as const)
    if (!admitDevice) return refused('invalid_token', { reason: 'is not the operator' })
    const device = await admitDevice(sent, exchange.at)
    if (!device.ok) return device
    exchange.identity = device.value.identity
    if (operatorOnly) return refused('admin_required')
    return granted({ operator: false, device: device.value } as const)
  }

  return (
    new Elysia({ name: 'admin' })
      .use(arrivals)
      // Local: on this instance alone, whose routes are all below.
      .resolve(async ({ arrival, request, status }) => {
        const { exchange } = arrival
        const asking: Decision<Who> = await who(arrival, request)
        if (!asking.ok) return status(statusOf(asking), answers.refuse(exchange, asking))
        return { who: asking.value }
      })
      .get(ROUTES.stats.path, async ({ arrival: { exchange, target }, who }) => {
        const filter = filterOf(target.search, who)
        if (!filter.ok) return answers.refuse(exchange, filter)
        const stats = await reports.stats(filter.value)
        return stats.ok ? answers.json(exchange, 200, stats.value) : answers.refuse(exchange, stats)
      })
      .get(ROUTES.usage.path, async ({ arrival: { exchange, target }, who }) => {
        const filter = filterOf(target.search, who)
        if (!filter.ok) return answers.refuse(exchange, filter)
        const query = new URLSearchParams(target.search)
        const before = query.get('before')
        // In this order: what is counted is then among the rows, too.
        const stats = await reports.stats(filter.value)
        if (!stats.ok) return answers.refuse(exchange, stats)
        const page = await reports.requests(filter.value, {
          limit: Number(query.get('limit') ?? Number.NaN),
          ...(before === null ? {} : { before }),
        })
        if (!page.ok) return answers.refuse(exchange, page)
        const { rows: metrics, next } = page.value
        return answers.json(exchange, 200, { stats: stats.value, metrics, next })
      })
      .get(ROUTES.reservations.path, ({ arrival: { exchange } }) => {
        const reservations = charges.reservations(exchange.at).map((each) => ({
          of: each.of,
          name: each.name,
          period: each.period,
          reserved_micro_usd: each.reservedMicroUsd,
        }))
        return answers.json(exchange, 200, { reservations })
      })
      .get(ROUTES.circuit.path, ({ arrival: { exchange } }) => {
        const states = Object.entries(breakers).map(([name, each]) => [
          name,
          each.state(exchange.at),
        ])
        const [first] = states
        // Apps that know one upstream read its state at the top.
        const body = states.length === 1 ? first?.[1] : Object.fromEntries(states)
        return answers.json(exchange, 200, body ?? {})
      })
      .post(ROUTES.circuitReset.path, ({ arrival: { exchange } }) => {
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
      })
      .get(ROUTES.devices.path, ({ arrival: { exchange, target } }) => {
        const before = Number(new URLSearchParams(target.search).get('before') ?? Number.NaN)
        const found = register.devices({
          limit: MAX_DEVICES,
          ...(Number.isSafeInteger(before) && { before }),
        })
        if (!found.ok) return answers.refuse(exchange, found)
        const devices = found.value
        const next = devices.length === MAX_DEVICES ? devices.at(-1)?.seq : undefined
        return answers.json(exchange, 200, { devices, next })
      })
      .post(
        ROUTES.revoke.path,
        async ({ arrival: { exchange }, request }) => {
          const body = await readBounded(request, MAX_REVOKE_BODY_BYTES, parts.bodyTimeoutMs())
          if (!body.ok) return answers.refuse(exchange, body)
          const name = parseStrictObject(Buffer.from(body.value).toString('utf8'))?.['name']
          if (typeof name !== 'string' || name === '' || !enrollment) {
            return answers.refuse(exchange, refused('bad_request', { reason: 'name is missing' }))
          }
          try {
            const done = await enrollment.revoke(name, 'operator', exchange.at)
            return answers.json(exchange, done.unfinished ? 202 : 200, done)
          } catch {
            return answers.refuse(exchange, refused('enrollment_unavailable'))
          }
        },
        { parse: 'none' },
      )
  )
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
function filterOf(search: string, who: Who): Decision<UsageFilter> {
  const query = new URLSearchParams(search)
  const text = (name: string): Record<string, string> => {
    const value = query.get(name) ?? ''
    return value === '' ? {} : { [name]: value }
  }
  const days: Record<string, number> = {}
  for (const name of ['since', 'until']) {
    const given = query.get(name)
    if (given === null) continue
    const ms = Date.parse(given)
    if (Number.isNaN(ms)) return refused('bad_request', { reason: `${name} is no date` })
    days[`${name}Ms`] = ms
  }
  const common = { ...text('model'), ...days }
  return granted(
    who.operator
      ? { ...common, ...text('device'), ...text('org') }
      : { ...common, device: who.device.identity },
  )
}
