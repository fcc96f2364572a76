// The defaults for new keys; the options of `postern key` override them.

import type { Given } from './given.ts'
import type { Mistake } from './kinds.ts'
import { listed, type PoliciesGiven } from './policies.ts'
import { type Key, settingOf, type Values } from './table.ts'

export interface KeyDefaults {
  readonly policy: string | undefined
  /** Infinity: never expires. */
  readonly lifetimeSeconds: number
  /** Infinity: no maximum. */
  readonly maxLifetimeSeconds: number
  readonly overlapSeconds: number
}

export type KeyValues = Pick<
  Values,
  'keyPolicy' | 'keyExpires' | 'keyMaxLifetime' | 'keyRotationOverlap'
>

/** The default lifetime never exceeds the maximum. */
export function keyDefaults(values: KeyValues): KeyDefaults {
  const { keyPolicy, keyExpires = 0, keyMaxLifetime = Infinity, keyRotationOverlap = 0 } = values
  return {
    policy: keyPolicy,
    lifetimeSeconds: Math.min(keyExpires, keyMaxLifetime),
    maxLifetimeSeconds: keyMaxLifetime,
    overlapSeconds: keyRotationOverlap,
  }
}

export function keyPolicyMistakes(
  { keyPolicy }: KeyValues,
  given: ReadonlyMap<Key, Given>,
  { policies }: Pick<PoliciesGiven, 'policies'>,
): Mistake[] {
  const names = policies.flatMap(({ own }) => own.name ?? [])
  if (keyPolicy === undefined || names.includes(keyPolicy)) return []
  const setting = given.get('keyPolicy')?.from ?? settingOf('keyPolicy').env
  return [{ setting, message: 'names a policy that is not there', hint: listed(keyPolicy, names) }]
}
