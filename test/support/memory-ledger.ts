// An engine of the ledger that keeps everything in memory, for the suite alone: what it needs of src is
// what every engine needs, and none of that knows a database.

import {
  type Correction,
  type CorrectionEntry,
  type Corrections,
  entryOf,
  periodsOf,
} from '../../src/ledger/corrections.ts'
import type { CommandLedger, GateLedger } from '../../src/ledger/engine.ts'
import { notices, type PendingEntry, pendingEntry } from '../../src/ledger/notices.ts'
import { outage } from '../../src/ledger/outage.ts'
import type { LedgerEntry } from '../../src/exchange.ts'
import type { Ledger, Opening } from '../../src/ledger/port.ts'
import type {
  PersonSpent,
  Reports,
  ReportsAtOnce,
  RequestRow,
  SpentSums,
  UsageFilter,
  UsageRow,
} from '../../src/ledger/reports.ts'
import { addToSums, type DaySums, type LedgerRow, rowOf } from '../../src/ledger/row.ts'
import { addSums, noSums, sumsOf, usageStats } from '../../src/ledger/sums.ts'
import type { Logger } from '../../src/log.ts'
import { granted, refused } from '../../src/refusal.ts'
import { DAY_MS, dayOf, monthOf, periodFrom, spanOf } from '../../src/turn/calendar.ts'

type DayKey = Pick<LedgerRow, 'day' | 'device' | 'org' | 'model'>
type PersonDay = PersonSpent & { readonly day: number; readonly identity: string }

interface Books {
  /** By number, in the order of writing. */
  readonly rows: Map<number, LedgerRow>
  readonly days: Map<string, { readonly key: DayKey; readonly sums: DaySums }>
  persons: PersonDay[]
  readonly corrections: Correction[]
  /** From each former name to the name of now, and the day on which it was noted. */
  readonly renamed: Map<string, readonly [identity: string, day: number]>
  readonly listeners: Set<(correction: Correction) => void>
  next: number
}

export interface MemoryGateOptions {
  readonly log: Pick<Logger, 'error' | 'info'>
  readonly maxWaiting?: number
  readonly flushEveryMs?: number
}

export interface MemoryLedger {
  gate(options: MemoryGateOptions): GateLedger
  readonly command: CommandLedger
}

export function memoryLedger(audit: (entry: CorrectionEntry) => void): MemoryLedger {
  const books: Books = {
    rows: new Map(),
    days: new Map(),
    persons: [],
    corrections: [],
    renamed: new Map(),
    listeners: new Set(),
    next: 1,
  }
  const reports = reportsAtOnce(books)
  return {
    command: { reports, corrections: correctionsOf(books, reports, audit), async close() {} },
    gate: (options) => ({
      ledger: ledgerOf(books, options),
      reports: reportsOf(books, reports),
      spentAtStart: reports.spent,
      formerNames: { note: (identity, former) => rename(books, identity, former), async stop() {} },
      async followCorrections(onCorrection) {
        const now = monthOf(Date.now())
        books.corrections.filter((each) => each.month >= now).forEach(onCorrection)
        books.listeners.add(onCorrection)
        return { stop: () => void books.listeners.delete(onCorrection) }
      },
    }),
  }
}

const BATCH_ROWS = 200

function ledgerOf(books: Books, options: MemoryGateOptions): Ledger {
  const { log, maxWaiting = 50_000, flushEveryMs = 250 } = options
  const waiting = notices(maxWaiting)
  const failing = outage(log)
  let late = 0
  let isStopped = false
  const lost = (): number => waiting.lost + late
  const flush = (most = waiting.size): boolean => {
    const batch = waiting.next(most)
    for (const entry of batch) put(books, entry)
    waiting.done(batch)
    failing.tellLost(lost())
    return true
  }
  const timer = setInterval(() => flush(), flushEveryMs)
  const open = (opening: Opening): LedgerEntry => {
    const entry = pendingEntry(opening)
    if (!isStopped) waiting.opened(entry)
    return entry
  }
  return {
    open,
    follow: (entry, openedAtMs) => open({ ...(entry as PendingEntry).opening, openedAtMs }),
    close(given, outcome) {
      const entry = given as PendingEntry
      if (entry.outcome) return
      entry.outcome = outcome
      if (isStopped) {
        late += 1
        return
      }
      waiting.closed(entry)
      if (waiting.closedSize % BATCH_ROWS === 0) setImmediate(() => flush(waiting.closedSize))
    },
    flush: async () => flush(),
    health: () => failing.health(waiting.size, lost()),
    deleteBefore: async (epochMs, sumsSinceMs = epochMs) =>
      deleteBefore(books, epochMs, sumsSinceMs),
    async stop() {
      if (!isStopped) flush()
      isStopped = true
      clearInterval(timer)
    },
  }
}

function put(books: Books, entry: PendingEntry): void {
  const row = rowOf(1, entry.opening, entry.outcome)
  entry.row ??= { file: 1, id: books.next++ }
  books.rows.set(entry.row.id, row)
  if (!entry.outcome) return
  const { day, device, org, model, identity } = row
  const key = JSON.stringify([day, device, org, model])
  const found = books.days.get(key) ?? { key: { day, device, org, model }, sums: noSums() }
  books.days.set(key, found)
  addToSums(found.sums, row, 1)
  const estimatedMicroUsd = row.estimated_cost_micro_usd ?? 0
  const chargedMicroUsd = (row.cost_micro_usd ?? 0) + estimatedMicroUsd
  if (device !== '' || identity === '' || chargedMicroUsd === 0) return
  const { policy = '' } = entry.opening
  books.persons.push({ day, identity, policy, org, chargedMicroUsd, estimatedMicroUsd })
}

function rename({ renamed }: Books, identity: string, former: readonly string[]): void {
  const to = [identity, Math.floor(Date.now() / DAY_MS)] as const
  for (const [name, [now]] of renamed) if (former.includes(now)) renamed.set(name, to)
  for (const name of former) renamed.set(name, to)
  renamed.delete(identity)
}

function deleteBefore(books: Books, epochMs: number, sumsSinceMs: number): number {
  const day = Math.floor(epochMs / DAY_MS)
  const sumsDay = Math.min(day, Math.floor(sumsSinceMs / DAY_MS))
  let deleted = 0
  for (const [id, row] of books.rows) {
    if (row.opened_ms >= day * DAY_MS || row.end_reason === null) continue
    books.rows.delete(id)
    deleted += 1
  }
  for (const [key, found] of books.days) if (found.key.day < sumsDay) books.days.delete(key)
  books.persons = books.persons.filter((each) => each.day >= sumsDay)
  for (const [name, [, day]] of books.renamed) if (day < sumsDay) books.renamed.delete(name)
  return deleted
}

const isDay = (day: number, { sinceMs = 0, untilMs = Infinity }: UsageFilter): boolean =>
  day >= Math.floor(sinceMs / DAY_MS) && day < Math.ceil(untilMs / DAY_MS)

const isNamed = (of: Omit<DayKey, 'day'>, filter: UsageFilter): boolean =>
  (['device', 'org', 'model'] as const).every((name) => of[name] === (filter[name] ?? of[name]))

const isIn = (of: DayKey, filter: UsageFilter): boolean =>
  isDay(of.day, filter) && isNamed(of, filter)

function grouped(books: Books, filter: UsageFilter, keyOf: (key: DayKey) => string) {
  const groups = new Map<string, DaySums>()
  for (const { key, sums } of books.days.values()) {
    if (isIn(key, filter)) addSums(groupOf(groups, keyOf(key)), sums, 1)
  }
  return groups
}

function groupOf(groups: Map<string, DaySums>, key: string): DaySums {
  const found = groups.get(key) ?? noSums()
  groups.set(key, found)
  return found
}

const rowsOf = (groups: ReadonlyMap<string, DaySums>): UsageRow[] =>
  [...groups]
    .filter(([, { requests }]) => requests > 0)
    .map(([key, sums]) => Object.assign({ key }, sumsOf(sums)))
    .toSorted((a, b) => b.costMicroUsd - a.costMicroUsd || b.requests - a.requests)

function plus(to: Map<string, SpentSums>, name: string, more: SpentSums): void {
  const { chargedMicroUsd = 0, estimatedMicroUsd = 0 } = to.get(name) ?? {}
  to.set(name, {
    chargedMicroUsd: chargedMicroUsd + more.chargedMicroUsd,
    estimatedMicroUsd: estimatedMicroUsd + more.estimatedMicroUsd,
  })
}

function reportsAtOnce(books: Books): ReportsAtOnce {
  const total = (filter: UsageFilter) =>
    sumsOf(grouped(books, filter, () => '').get('') ?? noSums())
  const spentBy = (kind: 'device' | 'org', filter: UsageFilter): Map<string, SpentSums> => {
    const spent = new Map<string, SpentSums>()
    for (const { key, sums } of books.days.values()) {
      const estimatedMicroUsd = sums.estimated_cost_micro_usd
      const chargedMicroUsd = sums.cost_micro_usd + estimatedMicroUsd
      if (key[kind] === '' || chargedMicroUsd === 0 || !isIn(key, filter)) continue
      plus(spent, key[kind], { chargedMicroUsd, estimatedMicroUsd })
    }
    return spent
  }
  const persons = (filter: UsageFilter, only?: string): ReadonlyMap<string, PersonSpent> => {
    const spent = new Map<string, SpentSums>()
    const last = new Map<string, PersonDay>()
    for (const each of books.persons) {
      if (!isDay(each.day, filter) || each.identity !== (only ?? each.identity)) continue
      plus(spent, each.identity, each)
      if (each.day >= (last.get(each.identity)?.day ?? 0)) last.set(each.identity, each)
    }
    return new Map(
      [...spent].map(([name, sums]) => {
        const { policy = '', org = '' } = last.get(name) ?? {}
        return [name, { policy, org, ...sums }]
      }),
    )
  }
  const names = (): string[] => [
    ...[...books.days.values()].map(({ key }) => key.device),
    ...books.persons.map(({ identity }) => identity),
  ]
  return {
    async usage(by, filter) {
      const keyOf = (key: DayKey): string => (by === 'day' ? dayOf(key.day * DAY_MS) : key[by])
      const rows = rowsOf(grouped(books, filter, keyOf))
      const inOrder = by === 'day' ? rows.toSorted((a, b) => a.key.localeCompare(b.key)) : rows
      return { by, rows: inOrder, leftOff: 0, total: total(filter) }
    },
    async usageByUser(filter, userOf) {
      const groups = grouped(books, filter, ({ device }) => userOf.get(device) ?? '')
      for (const row of filter.device === undefined ? books.rows.values() : []) {
        if (row.device !== '' || row.identity === '' || row.end_reason === null) continue
        if (!isIn(row, filter)) continue
        addToSums(groupOf(groups, userOf.get(row.identity) ?? row.identity), row, 1)
        addToSums(groupOf(groups, ''), row, -1)
      }
      return { by: 'user', rows: rowsOf(groups), leftOff: 0, total: total(filter) }
    },
    async spent(sinceMs) {
      const filter = { sinceMs }
      const person = new Map<string, SpentSums>()
      for (const [name, each] of persons(filter)) plus(person, name, each)
      return { device: spentBy('device', filter), org: spentBy('org', filter), person }
    },
    spentBy: async (kind, filter) => spentBy(kind, filter),
    spentByPersons: async (filter, identity) => persons(filter, identity),
    formerNames: async () => new Map([...books.renamed].map(([name, [now]]) => [name, now])),
    callersBeginning: async (prefix) =>
      [...new Set(names().filter((name) => name.startsWith(prefix)))].slice(0, 2),
    knows: async ({ kind, name }) =>
      kind === 'device'
        ? names().includes(name)
        : [...books.days.values()].some(({ key }) => key.org === name),
  }
}

const PAGE_ROWS = 100

function reportsOf(books: Books, atOnce: ReportsAtOnce): Reports {
  return {
    stats: async (filter) => granted(usageStats((await atOnce.usage('day', filter)).total)),
    spent: async (sinceMs) => granted(await atOnce.spent(sinceMs)),
    async requests(filter, { limit, before }) {
      if (before !== undefined && !/^\d+-\d+$/.test(before)) {
        return refused('bad_request', { reason: 'cursor' })
      }
      const { sinceMs = 0, untilMs = Infinity } = filter
      const [at = Infinity, number = 0] = before?.split('-').map(Number) ?? []
      const found = [...books.rows]
        .filter(([, row]) => isNamed(row, filter))
        .filter(([, { opened_ms: ms }]) => ms >= sinceMs && ms < untilMs)
        .filter(([id, { opened_ms: ms }]) => ms < at || (ms === at && id < number))
        .toSorted(([a, one], [b, other]) => other.opened_ms - one.opened_ms || b - a)
      const size = Math.trunc(Math.min(Math.max(1, limit || PAGE_ROWS), PAGE_ROWS))
      const page = found.slice(0, size)
      const last = page.at(-1)
      const rows = page.map(([, row]) => requestOf(row))
      if (!last || found.length < size) return granted({ rows })
      return granted({ rows, next: `${last[1].opened_ms}-${last[0]}` })
    },
  }
}

function correctionsOf(
  books: Books,
  reports: ReportsAtOnce,
  audit: (entry: CorrectionEntry) => void,
): Corrections {
  const found = (period: string): Correction[] =>
    books.corrections.filter(({ month }) => month === period)
  return {
    in: async (period) => found(period),
    async add(correction, former = []) {
      const { kind, creditMicroUsd } = correction
      const names = [correction.name, ...former]
      const left: number[] = []
      for (const written of periodsOf(correction.month)) {
        const { period, startMs } = periodFrom(written)
        const filter = { sinceMs: startMs, untilMs: spanOf(period, startMs).endMs }
        const [each, persons] = [
          await reports.spentBy(kind, filter),
          await reports.spentByPersons(filter),
        ]
        const charged = names.reduce(
          (sum, name) => sum + ((each.get(name) ?? persons.get(name))?.chargedMicroUsd ?? 0),
          0,
        )
        const credited = found(written)
          .filter((each) => each.kind === kind && names.includes(each.name))
          .reduce((sum, each) => sum + each.creditMicroUsd, 0)
        left.push(charged - credited)
      }
      const spentMicroUsd = Math.min(...left)
      if (creditMicroUsd > spentMicroUsd) return { ok: false, spentMicroUsd }
      audit(entryOf(correction))
      for (const month of periodsOf(correction.month)) {
        const added = { ...correction, month, seq: books.next++ }
        books.corrections.push(added)
        for (const listener of books.listeners) queueMicrotask(() => listener(added))
      }
      return { ok: true }
    },
  }
}

const requestOf = (row: LedgerRow): RequestRow => ({
  requestId: row.request_id,
  openedAt: new Date(row.opened_ms).toISOString(),
  identity: row.identity,
  device: row.device,
  org: row.org,
  route: row.route,
  model: row.model,
  upstream: row.upstream,
  status: row.status,
  end: row.end_reason,
  usage: row.usage,
  inputTokens: row.input_tokens,
  outputTokens: row.output_tokens,
  cacheReadTokens: row.cache_read_tokens,
  cacheCreationTokens: row.cache_creation_tokens,
  costMicroUsd: row.cost_micro_usd,
  estimatedInputTokens: row.estimated_input_tokens,
  estimatedOutputTokens: row.estimated_output_tokens,
  estimatedCacheReadTokens: row.estimated_cache_read_tokens,
  estimatedCacheCreationTokens: row.estimated_cache_creation_tokens,
  estimatedCostMicroUsd: row.estimated_cost_micro_usd,
  firstByteMs: row.first_byte_ms,
  durationMs: row.duration_ms,
  webSearchRequests: row.web_search_requests,
  webFetchRequests: row.web_fetch_requests,
  codeExecutionRequests: row.code_execution_requests,
  otherToolRequests: row.other_tool_requests,
  priceClass: row.price_class,
  reasoningTokens: row.reasoning_tokens,
})
