// The small bodies that our own routes take. They are read when the guards have let the request pass:
// Elysia's parsers run before every guard, without a bound in bytes or in time.

import { Elysia } from 'elysia'
import { readBounded } from '../dispatch/body.ts'
import type { Decision } from '../refusal.ts'
import { parseStrictObject } from '../token/strict-json.ts'
import type { Answers } from './answers.ts'
import type { Arrival } from './arrival.ts'
import { arrivals, early } from './arrivals.ts'

export interface BodyBounds {
  readonly maxBytes: number
  /** As it is now: it may be exchanged. */
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

/** For `onParse`, in the place of Elysia's parsers. Under `parse: 'none'` it would check no schema either. */
export const readLater = () => null

/**
 * A plugin for the routes that are declared after it: `body` is an object without repeated members, for
 * the route's schema to judge; undefined where there is none. As a hook of the group itself it would
 * read the bodies of the routes before it, too: Elysia adds such a hook to the list that they share.
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
