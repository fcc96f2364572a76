// What every request carries through the app, set before anything else looks at it.

import { Elysia } from 'elysia'
import type { Arrival } from './arrival.ts'

export const arrivals = new Elysia({ name: 'arrivals' }).decorate(
  'arrival',
  undefined as never as Arrival,
)
