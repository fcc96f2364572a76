// For `postern check`: finds keys and devices whose policy the settings do not have, so that a gate
// refuses them, and keys that live longer than a new key may.

import type { DeviceRecords } from '../enroll/records.ts'
import type { KeyRecords } from '../keys/records.ts'
import { standingOf } from '../keys/row.ts'
import { durationText } from '../turn/duration.ts'
import { visible } from '../terminal.ts'

export interface CredentialRules {
  /** The names of the policies in the settings. */
  readonly policies: readonly string[]
  readonly maxLifetimeSeconds: number
}

export interface CredentialRecords {
  readonly devices: DeviceRecords
  readonly keys: KeyRecords
}

/** At most this many are named. */
const MAX_NAMED = 10

/** One line for each problem. */
export async function credentialTrouble(
  { devices, keys }: CredentialRecords,
  { policies, maxLifetimeSeconds }: CredentialRules,
  nowSeconds: number,
): Promise<string[]> {
  const lost: string[] = []
  const long: string[] = []
  for await (const page of keys.pages()) {
    for (const key of page) {
      if (standingOf(key, nowSeconds) !== 'good') continue
      const { name, policy, createdAt, expiresAt } = key
      if (policy !== null && !policies.includes(policy)) lost.push(`${name} (${policy})`)
      if ((expiresAt ?? Infinity) - createdAt > maxLifetimeSeconds) long.push(name)
    }
  }
  const named = await devices.policies(nowSeconds)
  const refused = named.filter(({ policy }) => !policies.includes(policy))
  return [
    ...(lost.length === 0 ? [] : [`keys: refused, their policy is not there: ${firstOf(lost)}`]),
    ...(long.length === 0
      ? []
      : [`keys: live longer than ${durationText(maxLifetimeSeconds)}: ${firstOf(long)}`]),
    ...refused.map(
      ({ policy, count }) =>
        `devices: ${count} refused, their policy is not there: ${visible(policy)}`,
    ),
  ]
}

function firstOf(names: readonly string[]): string {
  const shown = names.slice(0, MAX_NAMED).map(visible).join(', ')
  const more = names.length - MAX_NAMED
  return more > 0 ? `${shown} and ${more} more` : shown
}
