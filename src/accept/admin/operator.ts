// The operator's routes.

import { t } from 'elysia'
import { refused } from '../../refusal.ts'
import { early, routesFor } from '../arrivals.ts'
import { bearerOfHeader } from '../bearer.ts'
import { OTHERS_TOO, type Told } from '../invalid.ts'
import { jsonBody } from '../small-body.ts'
import type { AdminParts } from './parts.ts'
import { adminCallers } from './who.ts'

const MAX_REVOKE_BODY_BYTES = 1024
const MAX_DEVICES = 100

const DEVICES_QUERY = t.Object({ before: t.Optional(t.String()) }, OTHERS_TOO)
const NAME: Told = { description: 'the name of a device, a family or a token' }
const REVOKE_BODY = t.Object({ name: t.String({ minLength: 1, ...NAME }) }, OTHERS_TOO)

export function operatorRoutes(parts: AdminParts) {
  const { answers, adminToken, enrollment, register, breakers, charges, bodyTimeoutMs } = parts
  const who = adminCallers(parts)
  const bounds = { maxBytes: MAX_REVOKE_BODY_BYTES, timeoutMs: bodyTimeoutMs }

  return routesFor('operator', 'anthropic').group('/admin', (operator) =>
    operator
      .use(bearerOfHeader)
      // `derive` runs before any query or body is read. Local: it guards the routes of this group.
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
        { detail: { summary: 'Lists what running requests reserve under caps.' } },
      )
      .get(
        '/circuit-breaker',
        ({ arrival: { exchange } }) => {
          const states = Object.entries(breakers()).map(([name, each]) => [
            name,
            each.state(exchange.at),
          ])
          const [first] = states
          // With one upstream its state is the body itself, as existing apps expect.
          const body = states.length === 1 ? first?.[1] : Object.fromEntries(states)
          return answers.json(exchange, 200, body ?? {})
        },
        { detail: { summary: 'Returns the state of each circuit.' } },
      )
      .post(
        '/circuit-breaker/reset',
        async ({ arrival: { exchange } }) => {
          // The record comes first: an action that cannot be recorded is not done.
          const noted = await register.note({
            at: exchange.at.epochSeconds,
            actor: 'operator',
            action: 'reset circuit breakers',
            subject: '*',
          })
          if (!noted.ok) return answers.refuse(exchange, noted)
          for (const each of Object.values(breakers())) each.reset()
          return answers.json(exchange, 200, { message: 'circuit breakers reset' })
        },
        { parse: 'none', detail: { summary: 'Closes all circuits.' } },
      )
      .get(
        '/devices',
        async ({ arrival: { exchange }, query }) => {
          const before = Number(query.before ?? Number.NaN)
          const found = await register.devices({
            limit: MAX_DEVICES,
            ...(Number.isSafeInteger(before) && { before }),
          })
          if (!found.ok) return answers.refuse(exchange, found)
          const devices = found.value
          const next = devices.length === MAX_DEVICES ? devices.at(-1)?.seq : undefined
          return answers.json(exchange, 200, { devices, next })
        },
        { query: DEVICES_QUERY, detail: { summary: 'Lists enrolments.' } },
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
        { body: REVOKE_BODY, detail: { summary: 'Revokes a device, a family or a token.' } },
      ),
  )
}
