// Reads the small bodies of our own routes, after the guards. Elysia's parsers run before every guard and
// bound neither size nor time.

import { Elysia } from 'elysia'
import { readBounded } from '../dispatch/body.ts'
import type { Decision } from '../refusal.ts'
import { parseStrictObject } from '../token/strict-json.ts'
import type { Answers } from './answers.ts'
import type { Arrival } from './arrival.ts'
import { arrivals, early } from './arrivals.ts'

export interface BodyBounds {
  readonly maxBytes: number
  /** Read on each use: a reload may change it. */
  readonly timeoutMs: () => number
}

export async function readSmallBody(
  { exchange }: Arrival,
  request: Request,
  { maxBytes, timeoutMs }: BodyBounds,
): Promise<Decision<Uint8Array>> {
  const body = await readBounded(request, maxBytes, timeoutMs())
  if (body.ok) exchange.bytesIn = body.value.byteLength
  return body
}

/** For `onParse`: replaces Elysia's parsers. `parse: 'none'` would turn the check of the schema off, too. */
export const readLater = () => null

/**
 * A plugin for the routes declared after it. `body` is an object without repeated members, which the
 * route's schema checks; undefined if the text is not one. It has to be a plugin: a hook added to the
 * group itself would also run for earlier routes without hooks of their own, which share its list.
 */
export function jsonBody(answers: Answers, bounds: BodyBounds) {
  return new Elysia()
    .use(arrivals)
    .onParse({ as: 'scoped' }, readLater)
    .derive({ as: 'scoped' }, async ({ arrival, request }) => {
      const body = await readSmallBody(arrival, request, bounds)
      if (!body.ok) return early(answers.refuse(arrival.exchange, body))
      return { body: parseStrictObject(Buffer.from(body.value).toString('utf8')) }
    })
}
