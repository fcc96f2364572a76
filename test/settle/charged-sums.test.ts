// Property: over random requests, ends, corrections, reloads, restarts and midnights, what caps count of a
// caller and of an organisation, in a day and in a month, is what the ledger has of them. A sum that caps
// forget is a cap that does not hold; one that the ledger has not is revived by a restart.

import { afterAll, expect, setSystemTime, test } from 'bun:test'
import pino from 'pino'
import { orgKey, personKey } from '../../src/budget/spend-limit.ts'
import { openDatabase } from '../../src/database/database.ts'
import { bundledPrices } from '../../src/budget/price-table.ts'
import type { Exchange } from '../../src/exchange.ts'
import { TABLES } from '../../src/gate/migrations.ts'
import { type Restored, restoreCaps } from '../../src/gate/restore.ts'
import { sqliteCorrections } from '../../src/ledger/sqlite/corrections.ts'
import { sqliteBooks } from '../../src/ledger/sqlite/engine.ts'
import { sqliteReportsAtOnce } from '../../src/ledger/sqlite/reports-at-once.ts'
import { sqliteLedger } from '../../src/ledger/sqlite/writer.ts'
import type { Ledger } from '../../src/ledger/port.ts'
import type { Logger } from '../../src/log.ts'
import { type Settle, settlement } from '../../src/settle/settle.ts'
import { spendCaps } from '../../src/state/memory/spend.ts'
import type { Reservation, SpendCaps, SpendScope } from '../../src/state/port.ts'
import { dayOf, monthOf, type Period, periodFrom, spanOf } from '../../src/turn/calendar.ts'
import type { MeteredUsage } from '../../src/upstream/reading/tally.ts'
import { connectionTo } from '../support/connection.ts'
import { type Random, seeded } from '../support/random.ts'
import { opened, recordingLog } from './ledger-parts.ts'

const ROUNDS = 5
const STEPS = 120
/** So that rounds cross the end of a month, too. */
const START = Date.UTC(2026, 10, 28, 20)
const HOUR_MS = 3_600_000
const MODEL = 'claude-haiku-4-5'
const prices = bundledPrices()

afterAll(() => void setSystemTime())

interface Caller {
  readonly identity: string
  readonly isDevice: boolean
  readonly org: string | undefined
}
const CALLERS: readonly Caller[] = [
  { identity: 'd1', isDevice: true, org: 'acme' },
  { identity: 'd2', isDevice: true, org: undefined },
  { identity: 'u1', isDevice: false, org: 'acme' },
  { identity: 'u2', isDevice: false, org: 'other' },
]
const ORGS = ['acme', 'other'] as const
const PERIODS = ['month', 'day'] as const

interface UnderWay {
  readonly exchange: Exchange
  readonly reservation: Reservation | undefined
}

/** A gate's part that counts money, on a file that outlives it. */
class Scene {
  readonly database = opened(openDatabase(':memory:', TABLES.migrations))
  readonly #log = recordingLog().log
  readonly #requests = pino({ base: null, level: 'silent' })
  caps!: SpendCaps
  ledger!: Ledger
  settle!: Settle
  restored!: Restored
  now = START

  async start(): Promise<void> {
    // The database outlives the ledger of one start.
    const connection = { ...connectionTo(this.database), close: () => {} }
    const log = this.#log as Logger
    this.caps = spendCaps()
    this.ledger = sqliteLedger(connection, { log, nowMs: this.now })
    this.settle = settlement({ log: this.#requests, ledger: this.ledger, prices })
    const books = sqliteBooks({ reading: connection, standing: connection }, log)
    this.restored = await restoreCaps({ caps: this.caps, ledger: books, log })
  }

  async stop(): Promise<void> {
    this.restored.stop()
    await this.ledger.stop(this.now)
  }

  go(toMs: number): void {
    this.now = toMs
    setSystemTime(toMs)
  }

  /** `bodyMs`: what passes between its arrival and its charge. */
  begin(
    { identity, isDevice, org }: Caller,
    scopes: readonly SpendScope[],
    { amount, bodyMs }: { readonly amount: number; readonly bodyMs: number },
  ) {
    const entry = this.ledger.open({
      openedAtMs: this.now,
      requestId: 'r',
      identity,
      route: '/v1/messages',
      upstream: 'anthropic',
      ...(isDevice && { device: identity }),
      ...(org !== undefined && { org }),
    })
    const exchange: Exchange = {
      requestId: 'r',
      at: { epochSeconds: this.now / 1000, monotonicMs: performance.now() },
      method: 'POST',
      route: '/v1/messages',
      dialect: 'anthropic',
      silent: false,
      headers: new Headers(),
      bytesIn: 0,
      bytesOut: 0,
      model: MODEL,
      status: 200,
      entry,
    }
    if (scopes.length === 0) return { exchange, reservation: undefined }
    this.go(this.now + bodyMs)
    const taken = this.caps.reserve(scopes, amount, this.now)
    if (taken.ok) return { exchange, reservation: taken.reservation }
    this.settle(exchange, 'refused')
    return undefined
  }

  /** What the ledger has, less what was credited. */
  async written(kind: 'device' | 'person' | 'org', name: string, period: Period): Promise<number> {
    const written = period === 'day' ? dayOf(this.now) : monthOf(this.now)
    const { startMs } = periodFrom(written)
    const between = { sinceMs: startMs, untilMs: spanOf(period, startMs).endMs }
    const reports = sqliteReportsAtOnce(this.database)
    const sums =
      kind === 'person'
        ? await reports.spentByPersons(between)
        : await reports.spentBy(kind, between)
    const corrections = await sqliteCorrections(this.database, () => {}).in(written)
    const credited = corrections
      .filter((each) => each.name === name && (each.kind === 'org') === (kind === 'org'))
      .reduce((sum, { creditMicroUsd }) => sum + creditMicroUsd, 0)
    return Math.max(0, (sums.get(name)?.chargedMicroUsd ?? 0) - credited)
  }
}

/** Absent: no cap, as a policy may say and take back. */
type Caps = Map<string, number | undefined>

const capKey = (key: string, period: Period): string => `${key} ${period}`
const accountsOf = ({ identity, org }: Caller): string[] => [
  personKey(identity),
  ...(org === undefined ? [] : [orgKey(org)]),
]
const scopesOf = (caller: Caller, limits: Caps): SpendScope[] =>
  accountsOf(caller).flatMap((key) =>
    PERIODS.flatMap((period) => {
      const capMicroUsd = limits.get(capKey(key, period))
      return capMicroUsd === undefined ? [] : [{ key, period, capMicroUsd }]
    }),
  )
const reload = (random: Random): Caps =>
  new Map(
    CALLERS.flatMap(accountsOf).flatMap((key) =>
      PERIODS.map((period) => [
        capKey(key, period),
        random.int(3) === 0 ? undefined : random.int(60_000),
      ]),
    ),
  )

function end({ exchange, reservation }: UnderWay, random: Random, settle: Settle): void {
  const state = random.pick(['exact', 'partial', 'unknown'] as const)
  const usage: MeteredUsage = {
    state,
    inputTokens: random.int(2000),
    outputTokens: random.int(1500),
    cacheReadTokens: random.int(500),
    cacheCreationTokens: random.int(500),
    cacheCreation1hTokens: 0,
    ...(state !== 'exact' && { since: { outputTokens: random.int(300), inputTokens: 0 } }),
  } as MeteredUsage
  const bill = {
    reservation,
    maxTokens: 2000,
    atMost: (tokens: number) => Math.min(reservation?.amountMicroUsd ?? 0, Math.ceil(tokens) * 5),
    usage: random.int(8) === 0 ? undefined : usage,
    owed: random.int(5) > 0,
    isUnsent: random.int(12) === 0,
  }
  if (!bill.owed) exchange.status = 529
  settle(exchange, random.pick(['complete', 'client_gone', 'upstream_error'] as const), bill)
}

/** `again`: also for what was spent where no cap counted it. */
async function mustAgree(scene: Scene, uncounted: ReadonlySet<string>, again: boolean) {
  await scene.ledger.flush(scene.now)
  if (again) await scene.restored.again()
  const kinds = [
    ...CALLERS.map((each) => [each.isDevice ? 'device' : 'person', each.identity] as const),
    ...ORGS.map((name) => ['org', name] as const),
  ]
  for (const [kind, name] of kinds) {
    for (const period of PERIODS) {
      const key = kind === 'org' ? orgKey(name) : personKey(name)
      if (!again && uncounted.has(capKey(key, period))) continue
      const { spentMicroUsd } = scene.caps.read(key, scene.now, period)
      const told = [name, period, spentMicroUsd]
      expect(told).toEqual([name, period, await scene.written(kind, name, period)])
    }
  }
}

test(
  'caps and ledger have equal sums, by caller and organisation, by day and month',
  seeded(async (random) => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const scene = new Scene()
      scene.go(START)
      await scene.start()
      let limits = reload(random)
      let underWay: UnderWay[] = []
      /** Accounts of which something was spent under no cap: those only the ledger knows. */
      const uncounted = new Set<string>()
      for (let step = 0; step < STEPS; step += 1) {
        const act = random.int(100)
        if (act < 45) {
          const caller = random.pick(CALLERS)
          const begun = scene.begin(caller, scopesOf(caller, limits), {
            amount: random.int(12_000),
            bodyMs: random.int(6) === 0 ? random.int(2 * HOUR_MS) : 0,
          })
          if (begun) underWay.push(begun)
          for (const key of begun ? accountsOf(caller) : []) {
            for (const period of PERIODS) {
              const at = capKey(key, period)
              if (limits.get(at) === undefined) uncounted.add(at)
            }
          }
        } else if (act < 85 && underWay.length > 0) {
          const [one] = underWay.splice(random.int(underWay.length), 1)
          if (one) end(one, random, scene.settle)
        } else if (act < 90) {
          limits = reload(random)
          if (random.int(2) === 0) await mustAgree(scene, uncounted, true)
        } else if (act < 95) {
          // What was spent under no cap is the ledger's alone, by the day in which it came.
          for (const each of underWay.filter(({ reservation }) => !reservation)) {
            end(each, random, scene.settle)
          }
          underWay = underWay.filter(({ reservation }) => reservation)
          await scene.ledger.flush(scene.now)
          scene.go(scene.now + random.int(20) * HOUR_MS)
        } else {
          const { identity } = random.pick(CALLERS)
          const written = random.int(2) === 0 ? dayOf(scene.now) : monthOf(scene.now)
          await scene.ledger.flush(scene.now)
          await sqliteCorrections(scene.database, () => {}).add({
            kind: 'device',
            name: identity,
            atMs: scene.now + step,
            month: written,
            creditMicroUsd: 1 + random.int(3000),
            reason: 'a test',
            actor: 'cli',
          })
          // What runs when a gate dies is lost: nobody knows its cost.
          underWay = []
          await scene.stop()
          await scene.start()
          uncounted.clear()
        }
        if (step % 10 === 0) await mustAgree(scene, uncounted, false)
      }
      for (const each of underWay) end(each, random, scene.settle)
      await mustAgree(scene, uncounted, false)
      await mustAgree(scene, uncounted, true)
      await scene.stop()
      scene.database.close()
    }
  }),
)
