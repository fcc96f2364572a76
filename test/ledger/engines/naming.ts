// People who were recorded under another name before the key of names was replaced.

import { afterEach, beforeEach, expect, test } from 'bun:test'
import type { GateLedger } from '../../../src/ledger/engine.ts'
import type { NewCorrection } from '../../../src/ledger/corrections.ts'
import { monthOf } from '../../../src/turn/calendar.ts'
import { measure, recordingLog } from '../../settle/ledger-parts.ts'
import { DAY } from './asking.ts'
import { type TestedEngine, type TestedLedger, write } from './tested.ts'

const NOW = Date.now()
const { log } = recordingLog()

export function naming(engine: TestedEngine): void {
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
  /** A gate writes its notes when it stops, at the latest. */
  const noted = async (...notes: readonly (readonly [string, readonly string[]])[]) => {
    for (const [identity, former] of notes) {
      const { formerNames } = tested.gate({ log, nowMs: NOW })
      formerNames.note(identity, former)
      await formerNames.stop()
    }
    return Object.fromEntries(await tested.command.reports.formerNames())
  }
  const spend = (...identities: readonly string[]) =>
    write(
      gate,
      identities.map((identity) => {
        const usage = { state: 'exact', measured: measure({ costMicroUsd: 100 }) } as const
        return [{ identity, device: '', org: '', openedAtMs: NOW }, { usage }] as const
      }),
    )

  test('lead to the name of now, over any number of rotations', async () => {
    expect(await noted()).toEqual({})
    expect(await noted(['b', ['a']], ['other', ['before']])).toEqual({ a: 'b', before: 'other' })
    expect(await noted(['c', ['b']])).toEqual({ a: 'c', b: 'c', before: 'other' })
    expect(await noted(['d', ['c', 'b', 'a']])).toMatchObject({ a: 'd', b: 'd', c: 'd' })
  })

  test('are names of now again when a key is put back', async () => {
    await noted(['b', ['a']])
    expect(await noted(['a', ['b']])).toEqual({ b: 'a' })
    expect(await noted(['b', ['a']])).toEqual({ a: 'b' })
  })

  test('are noted once however often a person comes, and any number of people at once', async () => {
    const people = Array.from({ length: 450 }, (_, at) => [`now-${at}`, [`before-${at}`]] as const)
    for (const [identity, former] of [...people, ...people]) gate.formerNames.note(identity, former)
    await gate.formerNames.stop()
    expect((await tested.command.reports.formerNames()).size).toBe(450)
  })

  test('count for the name of now in what users used, and in what may be given back', async () => {
    await spend('old', 'new', 'new')
    const renamed = new Map(Object.entries(await noted(['new', ['old']])))
    const byUser = await tested.command.reports.usageByUser({}, renamed)
    expect(byUser.rows.map(({ key, requests }) => [key, requests])).toEqual([['new', 3]])
    const credit = (creditMicroUsd: number): NewCorrection => ({
      kind: 'device',
      name: 'new',
      atMs: NOW,
      month: monthOf(NOW),
      creditMicroUsd,
      reason: 'a test',
      actor: 'cli',
    })
    const { corrections } = tested.command
    expect(await corrections.add(credit(201))).toEqual({ ok: false, spentMicroUsd: 200 })
    expect(await corrections.add(credit(301), ['old'])).toEqual({ ok: false, spentMicroUsd: 300 })
    expect(await corrections.add(credit(300), ['old'])).toEqual({ ok: true })
    expect(await corrections.add(credit(1), ['old'])).toEqual({ ok: false, spentMicroUsd: 0 })
  })

  test('leave what caps are told as it was recorded: a cap adds former names up itself', async () => {
    await spend('old', 'new')
    await noted(['new', ['old']])
    expect([...(await gate.spentAtStart(0)).person.keys()].toSorted()).toEqual(['new', 'old'])
  })

  test('are deleted with the last of what is recorded under them', async () => {
    await noted(['new', ['old']])
    await gate.ledger.deleteBefore(NOW)
    expect(await noted()).toEqual({ old: 'new' })
    await gate.ledger.deleteBefore(NOW + 2 * DAY)
    expect(await noted()).toEqual({})
  })
}
