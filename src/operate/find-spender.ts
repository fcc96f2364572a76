// Finds whom `postern spend NAME` means.

import type { OperatorRecords } from '../gate/records.ts'
import type { Spender } from '../ledger/corrections.ts'
import type { Identities } from '../token/identity.ts'
import { nameNow } from './one-name.ts'

const KEY_PREFIX = 'key:'
const HASH_PREFIX = /^[0-9a-f]{8,64}$/

export type SpenderFound =
  | { readonly ok: true; readonly spender: Spender }
  | { readonly ok: false; readonly message: string; readonly hint: string }

/** `org:acme`, or whatever a device goes by; an organisation's bare id where no device has it. */
export async function findSpender(
  { ledger, devices, keys }: OperatorRecords,
  by: Identities,
  name: string,
): Promise<SpenderFound> {
  if (name.startsWith('org:')) {
    return { ok: true, spender: { kind: 'org', name: name.slice('org:'.length) } }
  }
  if (name.startsWith(KEY_PREFIX)) {
    const key = await keys.newestNamed(name.slice(KEY_PREFIX.length))
    if (key) return { ok: true, spender: { kind: 'device', name: key.identity } }
  }
  const named = await devices.named(name, by)
  const hashes = new Set(named.map(({ deviceHash }) => deviceHash))
  const renamed = await ledger.reports.formerNames()
  const persons = new Set(renamed.values())
  const isPerson = persons.has(name) || renamed.has(name)
  if (isPerson || (await ledger.reports.knows({ kind: 'device', name }))) {
    hashes.add(nameNow(renamed, name))
  }
  if (hashes.size === 0 && HASH_PREFIX.test(name)) {
    const found = await ledger.reports.callersBeginning(name)
    const theirs = [...persons].filter((hash) => hash.startsWith(name))
    for (const hash of [...found, ...theirs]) hashes.add(nameNow(renamed, hash))
  }
  const isOrg =
    (await devices.knowsOrg(name)) || (await ledger.reports.knows({ kind: 'org', name }))
  const [hash, ...more] = hashes
  if (hash !== undefined && more.length === 0 && !isOrg) {
    return { ok: true, spender: { kind: 'device', name: hash } }
  }
  if (hash === undefined && isOrg) return { ok: true, spender: { kind: 'org', name } }
  if (hash === undefined) {
    const hint =
      'postern spend lists who spent anything; a device is named by its id, label or hash, a user by the hash, a key by key:NAME'
    return { ok: false, message: 'nothing has this name', hint }
  }
  const which = [...hashes, ...(isOrg ? [`org:${name}`] : [])]
  return { ok: false, message: 'several have this name', hint: `name one: ${which.join(', ')}` }
}
