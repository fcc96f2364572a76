// `postern devices`: who has enrolled, and what each device may do. It reads the database of a gate
// that may be running page by page, so that any number of devices costs little memory. A device chooses
// what it calls itself; the other names are the operator's, and `postern revoke` takes each of them.

import type { DeviceRecords, FamilyListed } from '../enroll/records.ts'
import { columns, type Columns, utcMinute } from './columns.ts'
import type { Output } from './enroll.ts'
import { jsonList } from './json-list.ts'
import { visible } from '../terminal.ts'

export interface DevicesQuestion {
  readonly user: string | undefined
  readonly org: string | undefined
  /** Also devices that are revoked or can't come back. */
  readonly all: boolean
  readonly json: boolean
  /** The gate's DEVICE_IDLE_DAYS. */
  readonly idleSeconds: number
  /** A terminal shows this many and no more. */
  readonly limit: number
}

const PAGE = 500
const TITLES = ['DEVICE', 'CALLS ITSELF', 'USER', 'ORG', 'LAST SEEN', 'STATE', 'MAY USE']
const NONE = '-'

export async function devices(
  records: DeviceRecords,
  question: DevicesQuestion,
  { stdout, stderr }: Output,
  nowSeconds: number,
): Promise<void> {
  const listed = pages(records, question, nowSeconds)
  if (question.json) {
    const lines = jsonList(listed, (each) => asJson(each, question, nowSeconds))
    for await (const text of lines) stdout(text)
    return
  }
  let line: Columns | undefined
  let shown = 0
  for await (const page of listed) {
    const rows = page.map((each) => cellsOf(each, question, nowSeconds))
    if (!line) {
      line = columns([TITLES, ...rows])
      stdout(line(TITLES))
    }
    for (const cells of rows) {
      if (shown === question.limit) {
        stderr(`There are more than ${shown}; --json, a pipe, --user or --org shows them.\n`)
        return
      }
      stdout(line(cells))
      shown += 1
    }
  }
  if (shown === 0) {
    const hint = question.all ? '' : '; --all shows those that have ended, too'
    stderr(`No devices${hint}.\n`)
  } else
    stderr(`\nAll times are UTC. postern revoke takes each DEVICE, and user:USER and org:ORG.\n`)
}

async function* pages(
  records: DeviceRecords,
  { user, org, all, idleSeconds }: DevicesQuestion,
  nowSeconds: number,
): AsyncGenerator<readonly FamilyListed[]> {
  const endedAfter = all ? undefined : nowSeconds - idleSeconds
  let before = Number.MAX_SAFE_INTEGER
  for (;;) {
    const page = await records.families({ limit: PAGE, before, user, org, endedAfter })
    if (page.length > 0) yield page
    if (page.length < PAGE) return
    before = page.at(-1)?.seq ?? 0
  }
}

/** Its label, or else its whole hash: part of a hash cannot be revoked. */
function nameOf({ label, deviceHash }: FamilyListed): string {
  return label ?? deviceHash
}

function cellsOf(of: FamilyListed, question: DevicesQuestion, nowSeconds: number): string[] {
  const { name, entitlements, seenAt } = of
  const { userId, orgId } = entitlements
  return [
    nameOf(of),
    name ?? NONE,
    userId ?? NONE,
    orgId ?? NONE,
    seenAt === undefined ? 'never' : utcMinute(seenAt),
    stateText(of, question, nowSeconds),
    policyText(of),
  ].map(visible)
}

type DeviceState = 'active' | 'away' | 'ended' | 'revoked'

function stateOf(
  { revokedAt, expiresAt }: FamilyListed,
  { idleSeconds }: DevicesQuestion,
  nowSeconds: number,
): DeviceState {
  if (revokedAt !== undefined) return 'revoked'
  if (expiresAt > nowSeconds) return 'active'
  return expiresAt + idleSeconds > nowSeconds ? 'away' : 'ended'
}

function stateText(of: FamilyListed, question: DevicesQuestion, nowSeconds: number): string {
  switch (stateOf(of, question, nowSeconds)) {
    case 'active':
      return `until ${utcMinute(of.expiresAt)}`
    case 'away':
      return `away, may come back until ${utcMinute(of.expiresAt + question.idleSeconds)}`
    case 'ended':
      return `ended ${utcMinute(of.expiresAt)}`
    case 'revoked':
      return `revoked ${utcMinute(of.revokedAt ?? 0)}`
  }
}

function policyText({ entitlements }: FamilyListed): string {
  const { models, rateLimit, spendCap, policy, userPolicy } = entitlements
  const parts = [
    ...(policy === undefined ? [] : [`${policy}:`]),
    ...(userPolicy === undefined ? [] : [`user's ${userPolicy}:`]),
    models?.join(',') ?? 'every model',
    ...(rateLimit === undefined ? [] : [`${rateLimit}/min`]),
    ...(spendCap === undefined ? [] : [`$${spendCap}/month`]),
  ]
  return parts.join(' ')
}

function asJson(of: FamilyListed, question: DevicesQuestion, nowSeconds: number): object {
  const { models = null, rateLimit = null, spendCap = null, userId = null } = of.entitlements
  const { policy = null, userPolicy } = of.entitlements
  const utc = (epochSeconds: number | undefined): string | null =>
    epochSeconds === undefined ? null : new Date(epochSeconds * 1000).toISOString()
  return {
    label: of.label ?? null,
    name: of.name ?? null,
    device: of.deviceHash,
    family: of.family,
    owner: of.owner,
    user: userId,
    org: of.entitlements.orgId ?? null,
    state: stateOf(of, question, nowSeconds),
    created_at: utc(of.createdAt),
    last_seen_at: utc(of.seenAt),
    expires_at: utc(of.expiresAt),
    revoked_at: utc(of.revokedAt),
    app_version: of.appVersion ?? null,
    policy: {
      name: policy,
      ...(userPolicy !== undefined && { user_policy: userPolicy }),
      models,
      rate_limit: rateLimit,
      spend_cap: spendCap,
    },
  }
}
