// Admits API keys (`pk_…`) from memory alone: synchronously, and in the same few steps for every unknown
// key.

import { isWellFormed } from '../keys/format.ts'
import type { Keyring } from '../keys/keyring.ts'
import { type KeyRow, standingOf } from '../keys/row.ts'
import type { PolicyOf } from '../policy/select.ts'
import { type Decision, granted, refused } from '../refusal.ts'
import type { Instant } from '../turn/instant.ts'
import { type Admitted, permitted } from './admitted.ts'

export type AdmitKey = (key: string, now: Instant) => Decision<Admitted>

/** Without `retry: false`, Claude Code asks for minutes and shows nothing. */
const MALFORMED = refused('invalid_token', {
  reason: 'key is malformed',
  retry: false,
  message: 'the API key is mistyped or cut short: its checksum does not match',
})
const UNKNOWN = refused('invalid_token', {
  reason: 'key is unknown',
  retry: false,
  message: 'no such API key',
})
const NOT_GOOD = {
  expired: refused('key_expired'),
  revoked: refused('key_revoked'),
  replaced: refused('key_revoked', {
    reason: 'the overlap of its rotation is over',
    message: 'the API key was replaced by a newer one; use that',
  }),
}

export function keyAdmission(keys: Pick<Keyring, 'find' | 'seen'>, policyOf: PolicyOf): AdmitKey {
  /** A row is one object until it changes. */
  const made = new WeakMap<KeyRow, Decision<Admitted>>()
  const decide = ({ name, identity, ...row }: KeyRow): Decision<Admitted> => {
    const org = row.org ?? undefined
    const policy = policyOf({ kind: 'key', key: name, org, policy: row.policy ?? undefined })
    // The log has no other word of who was refused.
    if (!policy) return refused('policy_unknown', { reason: `key ${identity}` })
    return granted(permitted('key', identity, policy, { org }))
  }
  return (key, now) => {
    if (!isWellFormed(key)) return MALFORMED
    const found = keys.find(key)
    if (!found) return UNKNOWN
    const standing = standingOf(found.row, now.epochSeconds)
    if (standing !== 'good') return NOT_GOOD[standing]
    keys.seen(found, now)
    const known = made.get(found.row)
    if (known) return known
    const decision = decide(found.row)
    made.set(found.row, decision)
    return decision
  }
}
