// `postern key`: the operator's side of keys, on the database of a running gate, which learns of it within
// a second. A key is printed once, alone on stdout, so that it can be piped; text for people goes to
// stderr and contains no key.

import type { KeyDefaults } from '../config/keys.ts'
import type { Mistake } from '../config/kinds.ts'
import { LONGEST_OVERLAP_DAYS } from '../config/table.ts'
import { readEntitlements } from '../enroll/entitlements.ts'
import { isMeantAsKey } from '../keys/format.ts'
import { type KeyRecords, type KeyTerms, MAX_KEYS, type Rotation } from '../keys/records.ts'
import { standingOf } from '../keys/row.ts'
import { utcMinute } from './columns.ts'
import type { Output } from './enroll.ts'
import { EXIT } from './exit.ts'
import { policyMistake } from './policy-mistake.ts'
import { durationText, readDuration } from '../turn/duration.ts'
import { readEnd } from './when.ts'

export interface AddFlags {
  readonly policy?: string
  readonly org?: string
  readonly expires?: string
}

export interface RotateFlags {
  readonly overlap?: string
  readonly expires?: string
}

export type KeyRead<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly mistakes: readonly Mistake[] }

/** The defaults for a command's options. */
export interface KeyRules extends KeyDefaults {
  /** Undefined if no document lists them. */
  readonly policies: readonly string[] | undefined
}

/** No character that moves a terminal's cursor, and no leading or trailing space. */
const NAME = /^(?![\s-])[^\p{C}\p{Zl}\p{Zp}]{1,100}(?<!\s)$/u
const HASH = /^[0-9a-f]{64}$/
const EXPIRES_HINT = 'give 12h or 90d, a day to come as in 2027-01-31, or never'

/** Reports every mistake at once, and creates nothing before there is none. */
export function readAdd(
  name: string,
  flags: AddFlags,
  rules: KeyRules,
  nowSeconds: number,
): KeyRead<KeyTerms> {
  const { org, expires, policy = rules.policy } = flags
  const mistakes: Mistake[] = []
  const wrong = (setting: string, message: string, hint: string): void => {
    mistakes.push({ setting, message, hint })
  }
  // The message does not repeat the name: it may be a pasted key.
  if (!NAME.test(name) || isMeantAsKey(name) || HASH.test(name)) {
    wrong(
      'NAME',
      'is not a valid key name',
      'give up to 100 characters, as in ci or "nightly build"',
    )
  }
  const setting = flags.policy === undefined ? 'KEY_POLICY' : '--policy'
  const unnamed = policy === undefined ? undefined : policyMistake(policy, rules.policies)
  if (unnamed) wrong(setting, unnamed.message, unnamed.hint)
  if (org !== undefined && !readEntitlements({ org_id: org }).ok) {
    wrong('--org', 'cannot be applied', 'give 1 to 200 ASCII characters')
  }
  const end =
    expires === undefined ? nowSeconds + rules.lifetimeSeconds : endOf(expires, nowSeconds)
  if (end === undefined) wrong('--expires', 'is not a future time', EXPIRES_HINT)
  else if (isTooLong(end, rules, nowSeconds)) wrong('--expires', ...tooLong(rules))
  if (mistakes.length > 0 || end === undefined) return { ok: false, mistakes }
  return { ok: true, value: { name, policy, org, expiresAt: expiresAt(end) } }
}

export function readRotation(
  flags: RotateFlags,
  rules: KeyRules,
  nowSeconds: number,
): KeyRead<Rotation> {
  const { overlap, expires } = flags
  const mistakes: Mistake[] = []
  const read = overlap === '0' ? 0 : readDuration(overlap ?? '', LONGEST_OVERLAP_DAYS)
  const overlapSeconds = overlap === undefined ? rules.overlapSeconds : read
  if (overlapSeconds === undefined) {
    mistakes.push({
      setting: '--overlap',
      message: 'is not a valid time',
      hint: `give 1h or 24h, to ${LONGEST_OVERLAP_DAYS}d; 0 ends the old key now`,
    })
  }
  const end = expires === undefined ? 'same' : endOf(expires, nowSeconds)
  const wrong = (message: string, hint: string): void => {
    mistakes.push({ setting: '--expires', message, hint })
  }
  if (end === undefined) wrong('is not a future time', EXPIRES_HINT)
  else if (end !== 'same' && isTooLong(end, rules, nowSeconds)) wrong(...tooLong(rules))
  if (mistakes.length > 0 || overlapSeconds === undefined || end === undefined) {
    return { ok: false, mistakes }
  }
  const { maxLifetimeSeconds, policies } = rules
  const expiry = end === 'same' ? end : expiresAt(end)
  return { ok: true, value: { overlapSeconds, expiresAt: expiry, maxLifetimeSeconds, policies } }
}

/** Infinity means that it never ends. */
function endOf(expires: string, nowSeconds: number): number | undefined {
  const end = readEnd(expires, nowSeconds)
  return end === 'never' ? Infinity : end
}

const isTooLong = (end: number, { maxLifetimeSeconds }: KeyRules, nowSeconds: number): boolean =>
  end - nowSeconds > maxLifetimeSeconds

const tooLong = ({ maxLifetimeSeconds }: KeyRules): [message: string, hint: string] => [
  'is later than KEY_MAX_LIFETIME lets a key live',
  `give ${durationText(maxLifetimeSeconds)} at the most`,
]

const expiresAt = (end: number): number | undefined => (end === Infinity ? undefined : end)

/** The exit code. `nowSeconds` is since the epoch. */
export async function add(
  records: KeyRecords,
  terms: KeyTerms,
  out: Output,
  { policies, nowSeconds }: Pick<KeyRules, 'policies'> & { readonly nowSeconds: number },
): Promise<number> {
  const added = await records.add(terms, nowSeconds)
  if (!added.ok) {
    out.stderr(
      added.why === 'name_taken'
        ? 'postern key add: a key of this name exists\n' +
            '    postern key rotate gives it a successor, postern key revoke ends it\n'
        : TOO_MANY,
    )
    return EXIT.failed
  }
  const { key, row } = added
  out.stderr(`${described(row)}\n${ONCE}`)
  if (row.policy !== null && !policies) out.stderr(POLICY_NOTE)
  out.stdout(`${key}\n`)
  return 0
}

export async function rotate(
  records: KeyRecords,
  name: string,
  rotation: Rotation,
  out: Output,
  nowSeconds: number,
): Promise<number> {
  const rotated = await records.rotate(name, rotation, nowSeconds)
  if (!rotated.ok) {
    out.stderr(NOT_ROTATED[rotated.why])
    return EXIT.failed
  }
  const { key, row, old } = rotated
  out.stderr(`${described(row)}\n${ONCE}`)
  out.stderr(`the old key ${oldEnd(old, nowSeconds)}\n`)
  out.stdout(`${key}\n`)
  return 0
}

function oldEnd(
  old: { overlapEndsAt: number | null; expiresAt: number | null; revokedAt: number | null },
  nowSeconds: number,
): string {
  const ends = Math.min(old.overlapEndsAt ?? 0, old.expiresAt ?? Number.POSITIVE_INFINITY)
  return standingOf(old, nowSeconds) === 'good'
    ? `stays good until ${utcMinute(ends)} UTC`
    : 'is no longer good'
}

/** `given` is never shown: it may be a key. */
export async function revoke(
  records: KeyRecords,
  given: string,
  out: Output,
  nowSeconds: number,
): Promise<number> {
  const revoked = await records.revoke(given, nowSeconds)
  if (!revoked) {
    out.stderr(unknown('revoke'))
    return EXIT.failed
  }
  const names = revoked.names.map((name) => JSON.stringify(name)).join(', ')
  if (revoked.ended === 0) out.stdout(`key ${names} was not valid any more\n`)
  else if (revoked.ended === 1) out.stdout(`key ${names} revoked\n`)
  else out.stdout(`key ${names} revoked, with the keys that its rotations had left valid\n`)
  return 0
}

const unknown = (action: string): string =>
  `postern key ${action}: no key has this name\n    postern key list shows them\n`

const POLICY_GONE =
  'postern key rotate: its policy is not in the document: a gate refuses the key\n' +
  '    put the policy back, or make another key: postern key add NAME --policy P\n'

const TOO_MANY =
  `postern key: ${MAX_KEYS} keys are good now, and there can be no more\n` +
  '    postern key revoke ends one\n'

const ONCE = 'it is shown this once, and only its hash is kept\n'

const NOT_ROTATED = { unknown: unknown('rotate'), too_many: TOO_MANY, policy_gone: POLICY_GONE }

const POLICY_NOTE =
  'a gate that has no policy of this name refuses the key; POSTERN_CONFIG names the\n' +
  'document whose policies are looked up here\n'

function described(key: {
  name: string
  policy: string | null
  org: string | null
  expiresAt: number | null
}): string {
  return [
    `key ${JSON.stringify(key.name)}`,
    key.expiresAt === null ? 'never expires' : `until ${utcMinute(key.expiresAt)} UTC`,
    ...(key.policy === null ? [] : [`policy ${key.policy}`]),
    ...(key.org === null ? [] : [`org ${key.org}`]),
  ].join(', ')
}
