// Finds devices by their own ids for a command: under the current identity key, or a former one.

import { readSetting } from '../../config/read.ts'
import type { ProcessEnvironment } from '../../config/given.ts'
import { identities, type Identities } from '../../token/identity.ts'

export function identitiesFrom(
  env: ProcessEnvironment,
): ({ readonly ok: true } & Identities) | { readonly ok: false; readonly message: string } {
  const [key, old] = [readSetting('identityHashKey', env), readSetting('identityHashKeyOld', env)]
  if (!key.ok) return { ok: false, message: `IDENTITY_HASH_KEY ${key.message}: ${key.hint}` }
  if (!old.ok) return { ok: false, message: `IDENTITY_HASH_KEY_OLD ${old.message}: ${old.hint}` }
  const keys = key.value ? [key.value, ...(old.value ?? [])] : []
  return { ok: true, ...identities(keys) }
}
