// `postern key list`: the keys and their standing, page by page. No key is shown: only its caller has
// it.

import { type KeyStanding, standingOf } from '../keys/row.ts'
import type { KeyListed, KeyRecords } from '../keys/records.ts'
import { columns, type Columns, utcMinute } from './columns.ts'
import type { Output } from './enroll.ts'
import { jsonList } from './json-list.ts'
import { visible } from '../terminal.ts'

export interface ListQuestion {
  /** Also keys that have ended. */
  readonly all: boolean
  readonly json: boolean
  /** The policies of the document; undefined if unknown. */
  readonly policies: readonly string[] | undefined
}

/**
 * Without the hash that logs show: it is in --json, and would make lines too long for a terminal.
 */
const TITLES = ['KEY', 'POLICY', 'ORG', 'LAST SEEN', 'STATE']
const NONE = '-'

export async function list(
  records: KeyRecords,
  { all, json, policies }: ListQuestion,
  { stdout, stderr }: Output,
  nowSeconds: number,
): Promise<void> {
  const listed = pages(records, all, nowSeconds)
  if (json) {
    const lines = jsonList(listed, (each) => asJson(each, policies, nowSeconds))
    for await (const text of lines) stdout(text)
    return
  }
  let line: Columns | undefined
  let refused = false
  for await (const page of listed) {
    const rows = page.map((each) => cellsOf(each, policies, nowSeconds))
    if (!line) {
      line = columns([TITLES, ...rows])
      stdout(line(TITLES))
    }
    for (const cells of rows) stdout(line(cells))
    refused ||= page.some((each) => hasPolicy(each, policies) === false)
  }
  if (refused) stderr(`\n${GONE}: the document has no such policy, and a gate refuses the key.\n`)
  if (line) stderr('\nAll times are UTC. postern key revoke takes each KEY.\n')
  else stderr(`No keys${all ? '' : '; --all shows those that have ended, too'}.\n`)
}

async function* pages(
  records: KeyRecords,
  all: boolean,
  nowSeconds: number,
): AsyncGenerator<readonly KeyListed[]> {
  for await (const page of records.pages()) {
    const shown = all ? page : page.filter((each) => standingOf(each, nowSeconds) === 'good')
    if (shown.length > 0) yield shown
  }
}

type State = 'active' | 'rotated' | Exclude<KeyStanding, 'good'>

/** `rotated`: there is a newer key, and this one is valid until the overlap ends. */
function stateOf(key: KeyListed, nowSeconds: number): State {
  const standing = standingOf(key, nowSeconds)
  if (standing !== 'good') return standing
  return key.replacedBy === null ? 'active' : 'rotated'
}

function stateText(key: KeyListed, nowSeconds: number): string {
  const { expiresAt, revokedAt, overlapEndsAt } = key
  switch (stateOf(key, nowSeconds)) {
    case 'active':
      return expiresAt === null ? 'never ends' : `until ${utcMinute(expiresAt)}`
    case 'rotated':
      return `rotated, until ${utcMinute(Math.min(overlapEndsAt ?? 0, expiresAt ?? Infinity))}`
    case 'replaced':
      return `rotated, ended ${utcMinute(overlapEndsAt ?? 0)}`
    case 'expired':
      return `expired ${utcMinute(expiresAt ?? 0)}`
    case 'revoked':
      return `revoked ${utcMinute(revokedAt ?? 0)}`
  }
}

const GONE = '(gone)'

/** Null if that is unknown. */
function hasPolicy({ policy }: KeyListed, policies: ListQuestion['policies']): boolean | null {
  if (policy === null) return true
  return policies ? policies.includes(policy) : null
}

function cellsOf(key: KeyListed, policies: ListQuestion['policies'], nowSeconds: number): string[] {
  const { name, org, seenAt } = key
  const policy = hasPolicy(key, policies) === false ? `${key.policy} ${GONE}` : key.policy
  const seen = seenAt === null ? 'never' : utcMinute(seenAt)
  const state = stateText(key, nowSeconds)
  return [name, policy ?? NONE, org ?? NONE, seen, state].map(visible)
}

function asJson(key: KeyListed, policies: ListQuestion['policies'], nowSeconds: number): object {
  const utc = (epochSeconds: number | null): string | null =>
    epochSeconds === null ? null : new Date(epochSeconds * 1000).toISOString()
  return {
    name: key.name,
    // As logs and the ledger show it.
    identity: key.identity,
    policy: key.policy,
    // False: a gate refuses the key; null: no document lists the policies.
    policy_known: hasPolicy(key, policies),
    org: key.org,
    state: stateOf(key, nowSeconds),
    created_at: utc(key.createdAt),
    last_seen_at: utc(key.seenAt),
    expires_at: utc(key.expiresAt),
    overlap_ends_at: utc(key.overlapEndsAt),
    revoked_at: utc(key.revokedAt),
  }
}
