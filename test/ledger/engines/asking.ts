import type { Decision } from '../../../src/refusal.ts'

export const DAY = 86_400_000

export function valueOf<T>(decision: Decision<T>): T {
  if (!decision.ok) throw new Error(decision.code)
  return decision.value
}
