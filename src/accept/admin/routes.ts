// What the operator sees and does, and what a device may see of itself. Two credentials, never mixed:
// device tokens open nothing here but their own usage.

import { Elysia } from 'elysia'
import { operatorRoutes } from './operator.ts'
import type { AdminParts } from './parts.ts'
import { usageRoutes } from './usage.ts'

export function adminRoutes(parts: AdminParts) {
  return new Elysia().use(usageRoutes(parts)).use(operatorRoutes(parts))
}
