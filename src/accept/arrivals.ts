// What every request carries through the app, set before anything else looks at it.

import { Elysia } from 'elysia'
import type { Arrival } from './arrival.ts'

/** Null, for what is undefined Elysia leaves out: a place that every context has from the start. */
export const arrivals = new Elysia({ name: 'arrivals' }).decorate(
  'arrival',
  null as never as Arrival,
)
