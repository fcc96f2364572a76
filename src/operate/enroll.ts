// `postern enrol` and `postern revoke`: the operator's side of enrolment, on the database of a running
// gate, which learns of it within a second. A code is printed once, alone on stdout, so that it can be
// piped; everything for people goes to stderr. Only stdout gets the code, and neither gets a device's
// id.

import { integer, type Mistake } from '../config/kinds.ts'
import {
  type Entitlements,
  MAX_RATE_LIMIT,
  NO_ENTITLEMENTS,
  readEntitlements,
} from '../enroll/entitlements.ts'
import type { CodeListed, CodeTerms, DeviceRecords, Withdrawn } from '../enroll/records.ts'
import type { KeyRecords } from '../keys/records.ts'
import type { Identities } from '../token/identity.ts'
import { policyMistake } from './policy-mistake.ts'
import { readDuration } from '../turn/duration.ts'

/** As given on a command line: text, or absent. */
export interface EnrolFlags {
  readonly models?: string
  readonly rateLimit?: string
  readonly policy?: string
  readonly spendCap?: string
  readonly org?: string
  readonly user?: string
  readonly uses?: string
  readonly expires?: string
  readonly label?: string
  readonly list?: boolean
}

export const ENROL_FLAGS: readonly {
  readonly key: keyof EnrolFlags
  readonly flags: string
  readonly about: string
}[] = [
  {
    key: 'models',
    flags: '--models <a,b*>',
    about: 'Models, by commas; a trailing * is any rest.',
  },
  { key: 'rateLimit', flags: '--rate-limit <number>', about: 'Requests a minute.' },
  { key: 'spendCap', flags: '--spend-cap <usd>', about: 'US dollars in a calendar month.' },
  {
    key: 'policy',
    flags: '--policy <name>',
    about: 'The policy of its devices; --models and the other limits narrow it.',
  },
  { key: 'org', flags: '--org <id>', about: 'The organisation that its usage counts for.' },
  { key: 'user', flags: '--user <id>', about: 'The user that its usage counts for.' },
  { key: 'uses', flags: '--uses <number>', about: 'Devices that may enrol with it (default: 1).' },
  { key: 'expires', flags: '--expires <24h>', about: 'How long it is good for: 30m, 24h, 7d.' },
  {
    key: 'label',
    flags: '--label <text>',
    about: 'What lists call the code and its devices; postern revoke takes it.',
  },
  { key: 'list', flags: '--list', about: 'Show codes and what they grant, without the codes.' },
]

export interface Output {
  readonly stdout: (text: string) => void
  readonly stderr: (text: string) => void
}

export type EnrolRead =
  | { readonly ok: true; readonly value: CodeTerms }
  | { readonly ok: false; readonly mistakes: readonly Mistake[] }

const MAX_USES = 10_000
const MAX_EXPIRES_DAYS = 90
/** No character that moves a terminal's cursor, and no leading or trailing space. */
const LABEL = /^(?!\s)[^\p{C}\p{Zl}\p{Zp}]{0,100}(?<!\s)$/u
/** `postern revoke` would take it for another kind of name. */
const OTHER_NAME = /^(?:fam_|tok_|code:|user:|org:)/

/** Reports every mistake at once, and creates nothing before there is none. */
export function readEnrolFlags(
  flags: EnrolFlags,
  /** Undefined if no document lists them. */
  policies?: readonly string[],
): EnrolRead {
  const mistakes: Mistake[] = []
  const wrong = (setting: string, message: string, hint: string): undefined => {
    mistakes.push({ setting, message, hint })
    return undefined
  }
  const whole = (setting: string, text: string | undefined, max: number): number | undefined => {
    if (text === undefined) return undefined
    const read = integer(1, max).read(text)
    return read.ok ? read.value : wrong(setting, read.message, read.hint)
  }
  const grant = (
    setting: string,
    members: Readonly<Record<string, unknown>>,
    hint: string,
  ): Entitlements => {
    const read = readEntitlements(members)
    if (read.ok) return read.value
    wrong(setting, 'cannot be applied', hint)
    return NO_ENTITLEMENTS
  }

  const { models, spendCap, org, user, expires = '24h', label = '' } = flags
  const list = models?.split(',').map((model) => model.trim())
  const dollars = spendCap === undefined ? undefined : decimal(spendCap)
  const entitlements: Entitlements = {
    ...grant('--models', { models: list }, 'give model names by commas, as in claude-*'),
    rateLimit: whole('--rate-limit', flags.rateLimit, MAX_RATE_LIMIT),
    spendCap: grant('--spend-cap', { spend_cap: dollars }, 'give US dollars above 0, as in 12.50')
      .spendCap,
    policy: flags.policy,
    orgId: grant('--org', { org_id: org }, 'give 1 to 200 ASCII characters').orgId,
    userId: grant('--user', { user_id: user }, 'give 1 to 200 ASCII characters').userId,
  }
  const unnamed = flags.policy === undefined ? undefined : policyMistake(flags.policy, policies)
  if (unnamed) wrong('--policy', unnamed.message, unnamed.hint)
  const uses = whole('--uses', flags.uses, MAX_USES) ?? 1
  const lifetimeSeconds =
    readDuration(expires, MAX_EXPIRES_DAYS) ??
    wrong('--expires', 'is not a valid time', 'give 30m, 24h or 7d, to 90d')
  if (!LABEL.test(label))
    wrong('--label', 'is too long or has control characters', 'give 100 characters')
  if (OTHER_NAME.test(label)) {
    wrong('--label', 'begins like another kind of name', 'begin with something else')
  }
  if (mistakes.length > 0 || lifetimeSeconds === undefined) return { ok: false, mistakes }
  return { ok: true, value: { entitlements, uses, lifetimeSeconds, label } }
}

/** `nowSeconds` is since the epoch. */
export async function enrol(
  records: DeviceRecords,
  terms: CodeTerms,
  out: Output,
  nowSeconds: number,
): Promise<void> {
  const by = { at: nowSeconds, actor: 'cli' }
  const { name, code, expiresAt } = await records.makeCode(terms, by)
  const { uses, label, entitlements } = terms
  out.stderr(`${describe({ name, label, uses, usesLeft: uses, expiresAt, entitlements })}\n`)
  out.stdout(`${code}\n`)
}

export async function listEnrolments(
  records: DeviceRecords,
  out: Output,
  nowSeconds: number,
): Promise<void> {
  const codes = await records.codes(nowSeconds)
  if (codes.length === 0) out.stderr('no codes\n')
  for (const code of codes) {
    const over = code.usesLeft === 0 ? ', used' : code.expiresAt <= nowSeconds ? ', expired' : ''
    out.stdout(`${describe(code)}${over}\n`)
  }
}

export interface RevokingRecords {
  readonly devices: DeviceRecords
  readonly keys: KeyRecords
}

/** The exit code: 1 if nothing has that name, or if part of it is still to be done. */
export async function revokeByName(
  records: RevokingRecords,
  name: string,
  by: Identities,
  out: Output,
  nowSeconds: number,
): Promise<0 | 1> {
  const done = await records.devices.revoke(name, { ...by, actor: 'cli', at: nowSeconds })
  out.stdout(`${account(done)}\n`)
  if (!done.known && done.kind === 'device') out.stderr(await meantPerhaps(records, name))
  out.stdout(done.families.map((family) => `  ${family}\n`).join(''))
  if (done.unfinished) {
    out.stderr(
      'not all of it is done: the database could not be written for some seconds\n' +
        '    a gate that runs on it goes on by itself; or give the same command again\n',
    )
    return 1
  }
  return done.known ? 0 : 1
}

/**
 * The names beside a device are no names of it: a user has several devices, and any device may call
 * itself anything.
 */
async function meantPerhaps({ devices, keys }: RevokingRecords, name: string): Promise<string> {
  const theirs = await devices.families({ limit: 1, user: name })
  const ofOrg = await devices.families({ limit: 1, org: name })
  const all = (kind: 'user' | 'org'): string =>
    `    all devices of that ${kind === 'user' ? 'user' : 'organisation'}: postern revoke ${kind}:ID\n`
  const called = await devices.familiesCalled(name, MAX_CALLED)
  const own = called.map(
    ({ label, deviceHash }) =>
      `    a device calls itself so: postern revoke ${label === undefined ? deviceHash : JSON.stringify(label)}\n`,
  )
  return [
    ...((await keys.current(name)) ? ['    a key has this name: postern key revoke NAME\n'] : []),
    ...(theirs.length > 0 ? [all('user')] : []),
    ...(ofOrg.length > 0 ? [all('org')] : []),
    ...new Set(own),
  ].join('')
}

const MAX_CALLED = 20

function account({ kind, known, families }: Withdrawn): string {
  const count = families.length === 1 ? '1 family' : `${families.length} families`
  switch (kind) {
    case 'token':
      return known
        ? 'token revoked; what it was refreshed to belongs to its family'
        : 'no token known by this name; it is refused from now on all the same'
    case 'family':
      if (!known) return 'no family known by this name; it is refused from now on all the same'
      return families.length === 0 ? 'family was revoked before' : 'family revoked'
    case 'code':
      return known ? `code withdrawn; ${count} enrolled with it revoked` : 'no such code'
    case 'user':
    case 'org':
      return known ? `devices revoked: ${count}` : `no device of this ${kind} is known`
    case 'device':
      return known
        ? `device revoked: ${count}`
        : 'nothing has this name (a device id needs the IDENTITY_HASH_KEY of the gate);\n' +
            '    postern devices lists them'
  }
}

function describe(code: CodeListed): string {
  const { models, rateLimit, spendCap, policy, orgId, userId } = code.entitlements
  const parts = [
    code.name,
    ...(code.label === '' ? [] : [JSON.stringify(code.label)]),
    `${code.usesLeft} of ${code.uses} uses left`,
    `until ${new Date(code.expiresAt * 1000).toISOString()}`,
    `models ${models?.join(',') ?? 'as set'}`,
    `rate ${rateLimit === undefined ? 'as set' : `${rateLimit}/min`}`,
    `spend ${spendCap === undefined ? 'as set' : `$${spendCap}/month`}`,
    ...(policy === undefined ? [] : [`policy ${policy}`]),
    ...(orgId === undefined ? [] : [`org ${orgId}`]),
    ...(userId === undefined ? [] : [`user ${userId}`]),
  ]
  return parts.join(', ')
}

function decimal(text: string): number {
  return /^\d{1,9}(?:\.\d{1,6})?$/.test(text) ? Number(text) : Number.NaN
}
