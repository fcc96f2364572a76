// What a ledger says each was charged: for reports, and for caps that outlive a restart.

import { afterEach, beforeEach, expect, test } from 'bun:test'
import { personKey } from '../../../src/budget/spend-limit.ts'
import { restoreCaps } from '../../../src/gate/restore.ts'
import type { GateLedger } from '../../../src/ledger/engine.ts'
import type { Opening, Outcome } from '../../../src/ledger/port.ts'
import type { Spent } from '../../../src/ledger/reports.ts'
import type { Logger } from '../../../src/log.ts'
import { spendCaps } from '../../../src/state/memory/spend.ts'
import { DAY_MS, dayStartMs, monthStartMs } from '../../../src/turn/calendar.ts'
import { measure, recordingLog } from '../../settle/ledger-parts.ts'
import { eventually } from '../../support/sink.ts'
import { valueOf } from './asking.ts'
import { type TestedEngine, type TestedLedger, write } from './tested.ts'

const NOW = Date.now()
const { log } = recordingLog()

const user = (identity: string, openedAtMs = NOW, policy?: string): Partial<Opening> => ({
  identity,
  openedAtMs,
  device: '',
  org: '',
  ...(policy !== undefined && { policy }),
})
const ended = (costMicroUsd: number | undefined, estimated?: number): Partial<Outcome> => ({
  usage: {
    state: 'partial',
    measured: measure({ costMicroUsd }),
    ...(estimated !== undefined && { estimated: measure({ costMicroUsd: estimated }) }),
  },
})

export function spending(engine: TestedEngine): void {
  let tested: TestedLedger
  let gate: GateLedger
  beforeEach(() => {
    tested = engine.make()
    gate = tested.gate({ log, nowMs: NOW, flushEveryMs: 60_000 })
  })
  afterEach(async () => {
    await gate.ledger.stop(NOW)
    tested.remove()
  })
  /** The same from each port that tells it. */
  const spent = async (sinceMs: number): Promise<Spent> => {
    const found = valueOf(await gate.reports.spent(sinceMs))
    expect(await gate.spentAtStart(sinceMs)).toEqual(found)
    expect(await tested.command.reports.spent(sinceMs)).toEqual(found)
    return found
  }

  test('estimates count, what costs nothing is not told, and a device has its own sums', async () => {
    await write(gate, [
      [user('anna'), ended(100, 20)],
      [user('anna'), ended(7)],
      [user('anna', NOW - DAY_MS), ended(1000)],
      [user('ben'), ended(undefined)],
      [user('ben'), ended(0)],
      [{ ...user('laptop'), device: 'laptop', org: 'x' }, ended(5)],
    ])
    const today = await spent(dayStartMs(NOW))
    expect(today).toEqual({
      person: new Map([['anna', { chargedMicroUsd: 127, estimatedMicroUsd: 20 }]]),
      device: new Map([['laptop', { chargedMicroUsd: 5, estimatedMicroUsd: 0 }]]),
      org: new Map([['x', { chargedMicroUsd: 5, estimatedMicroUsd: 0 }]]),
    })
    expect((await spent(0)).person.get('anna')?.chargedMicroUsd).toBe(1127)
    const { reports } = tested.command
    expect(await reports.spentBy('org', {})).toEqual(today.org)
    expect(await reports.spentBy('device', { device: 'nobody' })).toEqual(new Map())
  })

  test('of a person, the policy and the organisation are those of the last charge', async () => {
    await write(gate, [
      [user('anna', NOW - DAY_MS, 'old'), ended(1)],
      [user('anna', NOW, 'between'), ended(1)],
      [{ ...user('anna', NOW, 'new'), org: 'x' }, ended(1)],
      [user('ben'), ended(3)],
    ])
    const { reports } = tested.command
    const anna = { policy: 'new', org: 'x', chargedMicroUsd: 3, estimatedMicroUsd: 0 }
    expect((await reports.spentByPersons({})).get('anna')).toEqual(anna)
    expect(await reports.spentByPersons({}, 'anna')).toEqual(new Map([['anna', anna]]))
    const before = await reports.spentByPersons({ untilMs: dayStartMs(NOW) })
    expect(before.get('anna')).toMatchObject({ policy: 'old', chargedMicroUsd: 1 })
    expect(before.has('ben')).toBe(false)
  })

  test('who has spent is known by name, and by the beginning of a hash', async () => {
    const [one, two] = [`aaaa${'1'.repeat(60)}`, `aaaa${'2'.repeat(60)}`]
    await write(gate, [
      [user(one), ended(1)],
      [{ ...user(two), device: two, org: 'x' }, ended(1)],
      [{ ...user('dddd'), device: `bbbb${'0'.repeat(60)}` }, ended(1)],
    ])
    const { reports } = tested.command
    expect([...(await reports.callersBeginning('aaaa'))].toSorted()).toEqual([one, two])
    expect(await reports.callersBeginning('aaaa2')).toEqual([two])
    expect(await reports.callersBeginning('cccc')).toEqual([])
    expect(await reports.knows({ kind: 'device', name: one })).toBe(true)
    expect(await reports.knows({ kind: 'device', name: two })).toBe(true)
    expect(await reports.knows({ kind: 'device', name: 'x' })).toBe(false)
    expect(await reports.knows({ kind: 'org', name: 'x' })).toBe(true)
    expect(await reports.knows({ kind: 'org', name: one })).toBe(false)
  })

  test('a restart revives neither a month nor a day', async () => {
    const before = Math.max(monthStartMs(NOW), NOW - 3 * DAY_MS)
    const isToday = dayStartMs(before) === dayStartMs(NOW)
    await write(gate, [
      [user('anna'), ended(60)],
      [user('anna', before), ended(30)],
      [user('anna', monthStartMs(NOW) - 1), ended(1_000_000)],
    ])
    const caps = spendCaps()
    const restored = await restoreCaps({ caps, ledger: gate, log: log as Logger })
    try {
      const key = personKey('anna')
      expect(caps.read(key, NOW).spentMicroUsd).toBe(90)
      expect(caps.read(key, NOW, 'day').spentMicroUsd).toBe(isToday ? 90 : 60)
      await write(gate, [[user('anna'), ended(5)]])
      await restored.again()
      expect(caps.read(key, NOW).spentMicroUsd).toBe(95)
      const day = { key, period: 'day', capMicroUsd: 95 } as const
      expect(caps.reserve([day], isToday ? 1 : 31, NOW)).toMatchObject({ reason: 'cap_reached' })
    } finally {
      restored.stop()
    }
  })

  test('what was spent under no cap, or at another gate, is counted by itself before long', async () => {
    const caps = spendCaps()
    const parts = { caps, ledger: gate, log: log as Logger, everyMs: 5 }
    const restored = await restoreCaps(parts)
    try {
      await write(tested.gate({ log, nowMs: NOW }), [[user('anna'), ended(70)]])
      await eventually(async () => caps.read(personKey('anna'), NOW).spentMicroUsd === 70)
    } finally {
      restored.stop()
    }
  })

  test('what is older than the month goes, and what this month counts stays', async () => {
    await write(gate, [
      [user('anna', NOW - 100 * DAY_MS), ended(60)],
      [user('anna'), ended(1)],
    ])
    await gate.ledger.deleteBefore(NOW + DAY_MS, monthStartMs(NOW))
    expect((await spent(0)).person.get('anna')?.chargedMicroUsd).toBe(1)
  })
}
