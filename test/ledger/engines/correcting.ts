// An operator's corrections of spending, by a command beside gates that run.

import { afterEach, beforeEach, expect, test } from 'bun:test'
import type { Correction, NewCorrection } from '../../../src/ledger/corrections.ts'
import type { GateLedger } from '../../../src/ledger/engine.ts'
import { dayOf, monthOf } from '../../../src/turn/calendar.ts'
import { measure, recordingLog } from '../../settle/ledger-parts.ts'
import { eventually } from '../../support/sink.ts'
import { DAY } from './asking.ts'
import { type TestedEngine, type TestedLedger, write } from './tested.ts'

const NOW = Date.now()
const [today, month] = [dayOf(NOW), monthOf(NOW)]
const { log } = recordingLog()

const credit = (creditMicroUsd: number, written = month, name = 'anna'): NewCorrection => ({
  kind: 'device',
  name,
  atMs: NOW,
  month: written,
  creditMicroUsd,
  reason: 'a test',
  actor: 'cli',
})

export function correcting(engine: TestedEngine): void {
  let tested: TestedLedger
  let gate: GateLedger
  beforeEach(async () => {
    tested = engine.make()
    gate = tested.gate({ log, nowMs: NOW, flushEveryMs: 60_000 })
    const usage = { state: 'exact', measured: measure({ costMicroUsd: 100 }) } as const
    const who = { identity: 'anna', device: '', org: '' }
    await write(gate, [
      [{ ...who, openedAtMs: NOW }, { usage }],
      [{ ...who, openedAtMs: NOW - 40 * DAY }, { usage }],
      [{ openedAtMs: NOW, device: 'laptop', org: 'x' }, { usage }],
    ])
  })
  afterEach(async () => {
    await gate.ledger.stop(NOW)
    tested.remove()
  })

  test('give back what was spent then and no more, and take it again', async () => {
    const { corrections } = tested.command
    expect(await corrections.add(credit(101))).toEqual({ ok: false, spentMicroUsd: 100 })
    expect(await corrections.add(credit(60))).toEqual({ ok: true })
    expect(await corrections.add(credit(60))).toEqual({ ok: false, spentMicroUsd: 40 })
    expect(await corrections.add(credit(-50))).toEqual({ ok: true })
    expect(await corrections.add(credit(90))).toEqual({ ok: true })
    expect(await corrections.add(credit(1))).toEqual({ ok: false, spentMicroUsd: 0 })
    expect(await corrections.add(credit(1, month, 'nobody'))).toMatchObject({ ok: false })
    const found = await corrections.in(month)
    expect(found.map(({ creditMicroUsd }) => creditMicroUsd)).toEqual([60, -50, 90])
    expect(found[0]).toMatchObject(credit(60))
    expect(await corrections.in(today)).toEqual([])
  })

  test('of a day count in its month, of an organisation in no device', async () => {
    const { corrections } = tested.command
    expect(await corrections.add(credit(30, today))).toEqual({ ok: true })
    expect(await corrections.in(today)).toMatchObject([{ creditMicroUsd: 30 }])
    expect(await corrections.in(month)).toMatchObject([{ creditMicroUsd: 30 }])
    const org = { ...credit(100, month, 'x'), kind: 'org' } as const
    expect(await corrections.add(org)).toEqual({ ok: true })
    expect(await corrections.add(credit(100, month, 'laptop'))).toEqual({ ok: true })
  })

  test('are in the audit trail, or were not made', async () => {
    const { corrections } = tested.command
    await corrections.add(credit(60, today))
    await corrections.add(credit(-5))
    await corrections.add(credit(1000))
    expect(tested.audited()).toEqual([
      { at: NOW / 1000, actor: 'cli', action: 'credit', subject: `device:anna ${today} $0.00006` },
      { at: NOW / 1000, actor: 'cli', action: 'debit', subject: `device:anna ${month} $0.000005` },
    ])
    tested.failAudit()
    await expect(corrections.add(credit(1))).rejects.toThrow()
    expect(await corrections.in(month)).toHaveLength(2)
  })

  test('reach each gate: those of the past at its start, later ones once', async () => {
    const { corrections } = tested.command
    await corrections.add(credit(10))
    const heard: number[] = []
    const listen = ({ creditMicroUsd }: Correction): void => void heard.push(creditMicroUsd)
    const followed = await gate.followCorrections(listen)
    try {
      expect(heard).toEqual([10])
      await corrections.add(credit(20))
      await corrections.add({ ...credit(20), atMs: NOW + 1 })
      await eventually(async () => heard.length >= 3)
      await corrections.add(credit(-1))
      await eventually(async () => heard.length >= 4)
      expect(heard).toEqual([10, 20, 20, -1])
    } finally {
      followed.stop()
    }
  })
}
