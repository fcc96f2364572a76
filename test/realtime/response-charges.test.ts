// What is reserved while responses come and go, what each is charged, and that nothing stays reserved.

import { expect, test } from 'bun:test'
import { exchangeOf } from '../../src/exchange.ts'
import { type Decision, granted, refused } from '../../src/refusal.ts'
import { ResponseCharges } from '../../src/realtime/response-charges.ts'
import { readServerEvent } from '../../src/realtime/server-events.ts'
import type { Bill } from '../../src/settle/bill.ts'
import type { HeldReservation } from '../../src/budget/limit.ts'
import { somebody } from '../support/admitted.ts'
import { seeded } from '../support/random.ts'

const CALLER = somebody('a')
const EXCHANGE = exchangeOf({
  requestId: 'r',
  at: { monotonicMs: 0, epochSeconds: 0 },
  method: 'GET',
  route: '/v1/realtime',
  dialect: 'openai',
  silent: false,
  headers: new Headers(),
})
EXCHANGE.model = 'gpt-realtime'

/** Room for so many reservations at once. */
function scene(room = 100) {
  let held = 0
  const bills: (Bill & { end: string; model: string | undefined })[] = []
  const models: (readonly string[])[] = []
  const hold = (): Decision<HeldReservation> => {
    if (held >= room) return refused('spend_cap_reached')
    held += 1
    let isOpen = true
    const end = (): void => {
      held -= isOpen ? 1 : 0
      isOpen = false
    }
    const reservation = { amountMicroUsd: 1, atEpochMs: 0, settle: end, release: end }
    return granted({ reservation })
  }
  const first = hold()
  if (!first.ok) throw new Error('no room')
  const charges = new ResponseCharges(
    {
      hold(_, costly) {
        models.push(costly.models)
        return hold()
      },
      openRow: () => {},
      settle(exchange, end, bill) {
        if (!bill) throw new Error('no bill')
        bills.push({ ...bill, end, model: exchange.model })
        bill.reservation?.settle(1)
      },
    },
    EXCHANGE,
    first.value,
  )
  const note = (event: object) => {
    const text = JSON.stringify(event)
    return charges.note(readServerEvent(text), text, CALLER)
  }
  const created = (id: string) => note({ type: 'response.created', response: { id } })
  const done = (id: string, usage?: object) =>
    note({ type: 'response.done', response: { id, status: 'completed', output: [], usage } })
  return { charges, bills, models, note, created, done, held: () => held }
}

const USAGE = { total_tokens: 30, input_tokens: 20, output_tokens: 10 }

test('one response more than run is reserved, whether asked for or begun by speech', () => {
  const { charges, created, done, held, bills } = scene()
  expect(held()).toBe(1)
  created('a')
  expect(held()).toBe(1)
  done('a', USAGE)
  expect([held(), bills.length]).toEqual([1, 1])
  expect(charges.ask('x', CALLER).ok).toBe(true)
  expect(charges.ask('y', CALLER).ok).toBe(true)
  expect(held()).toBe(2)
  created('b')
  created('c')
  created('d')
  expect(held()).toBe(3)
  for (const id of ['b', 'c', 'd']) done(id, USAGE)
  expect([held(), bills.length]).toEqual([1, 4])
  charges.cut('complete', CALLER)
  expect(held()).toBe(0)
})

test('what has no room is refused: before it is asked for, when it begins, when the next could', () => {
  const one = scene(1)
  expect(one.charges.ask('x', CALLER).ok).toBe(true)
  expect(one.charges.ask('y', CALLER)).toMatchObject({ code: 'spend_cap_reached' })
  const two = scene(1)
  expect(two.created('a').ok).toBe(true)
  expect(two.created('b')).toMatchObject({ code: 'spend_cap_reached' })
  two.charges.cut('refused', CALLER)
  expect([two.held(), two.bills.length]).toEqual([0, 1])
})

test('an error about an event frees what was reserved for it later on', () => {
  const { charges, note, created, done, held } = scene()
  for (const id of ['x', 'y', 'z']) charges.ask(id, CALLER)
  expect(held()).toBe(3)
  note({ type: 'error', error: { code: 'bad', event_id: 'y' } })
  created('a')
  created('b')
  done('a', USAGE)
  done('b', USAGE)
  charges.cut('complete', CALLER)
  expect(held()).toBe(0)
})

test('usage is read as it was told; what a cancelled response did not use is free', () => {
  const { created, done, note, bills } = scene()
  created('a')
  done('a', {
    ...USAGE,
    input_token_details: { cached_tokens: 5, audio_tokens: 12 },
    output_token_details: { audio_tokens: 8 },
  })
  expect(bills[0]).toMatchObject({
    end: 'complete',
    model: 'gpt-realtime',
    usage: { state: 'exact', inputTokens: 15, cacheReadTokens: 5, outputTokens: 10 },
  })
  created('b')
  const nothing = { total_tokens: 0, input_tokens: 0, output_tokens: 0 }
  note({ type: 'response.done', response: { id: 'b', status: 'cancelled', usage: nothing } })
  expect(bills[1]?.usage).toMatchObject({ state: 'exact', inputTokens: 0, outputTokens: 0 })
  created('c')
  done('c')
  expect(bills[2]?.usage).toBe(undefined)
  created('d')
  const error = { type: 'server_error' }
  note({
    type: 'response.done',
    response: { id: 'd', status: 'failed', status_details: { error } },
  })
  expect(bills[3]).toMatchObject({ end: 'upstream_error' })
})

test('a transcription is charged by its own model, and what is reserved has room for one', () => {
  const { charges, models, note, bills, held } = scene()
  expect(charges.transcribesBy('gpt-4o-transcribe', CALLER).ok).toBe(true)
  expect([models.at(-1), held()]).toEqual([['gpt-4o-transcribe'], 1])
  note({
    type: 'conversation.item.input_audio_transcription.completed',
    transcript: 'hello "response.done"',
    usage: { type: 'tokens', ...USAGE },
  })
  expect(bills[0]).toMatchObject({ model: 'gpt-4o-transcribe', usage: { inputTokens: 20 } })
  expect(held()).toBe(1)
})

test('a response that is cut is estimated by what was heard and said', () => {
  const { charges, created, note, bills } = scene()
  charges.sent(JSON.stringify({ type: 'input_audio_buffer.append', audio: 'A'.repeat(10_000) }))
  created('a')
  note({ type: 'response.output_audio.delta', delta: 'A'.repeat(5000) })
  charges.cut('client_gone', CALLER)
  const { usage } = bills[0] ?? {}
  expect(usage).toMatchObject({ state: 'partial', since: { isUnfinished: true } })
  expect(usage?.since?.inputTokens).toBeGreaterThanOrEqual(10)
  expect(usage?.since?.outputTokens).toBeGreaterThanOrEqual(10)
  expect(usage?.parts?.audioOutputTokens).toBeGreaterThanOrEqual(10)
})

test('attack: a client that leaves before its response has begun is charged what it was to read', () => {
  const { charges, note, bills, held } = scene()
  for (const id of ['x', 'y']) charges.ask(id, CALLER)
  note({ type: 'error', error: { event_id: 'y' } })
  charges.sent(JSON.stringify({ type: 'conversation.item.create', text: 'A'.repeat(30_000) }))
  charges.cut('client_gone', CALLER, true)
  expect([held(), bills.length]).toEqual([0, 1])
  expect(bills[0]).toMatchObject({ end: 'client_gone', owed: true, usage: { state: 'partial' } })
  expect(bills[0]?.usage?.since?.inputTokens).toBeGreaterThanOrEqual(10_000)
})

test('what is done already is recorded where no cap has room for it, and then the connection ends', () => {
  const { charges, created, done, note, bills, held } = scene(1)
  created('a')
  expect(done('b', USAGE)).toMatchObject({ code: 'spend_cap_reached' })
  const type = 'conversation.item.input_audio_transcription.completed'
  expect(note({ type, usage: { type: 'tokens', ...USAGE } })).toMatchObject({
    code: 'spend_cap_reached',
  })
  for (const { usage } of bills) expect(usage).toMatchObject({ inputTokens: 20, outputTokens: 10 })
  charges.cut('refused', CALLER)
  expect([held(), bills.length]).toEqual([0, 3])
})

test(
  'whatever comes in whatever order, nothing stays reserved, and each response is charged once',
  seeded((random) => {
    for (let run = 0; run < 50; run += 1) {
      const { charges, created, done, note, held, bills } = scene(1 + random.int(6))
      const begun = new Set<string>()
      for (let step = 0; step < 40; step += 1) {
        const id = `r${random.int(8)}`
        const what = random.int(5)
        if (what === 0) charges.ask(id, CALLER)
        else if (what === 1 && created(id).ok) begun.add(id)
        else if (what === 2 && begun.delete(id)) done(id, random.next() < 0.5 ? USAGE : undefined)
        else if (what === 3) note({ type: 'error', error: { event_id: id } })
        else charges.sent('{"type":"input_audio_buffer.append"}')
      }
      const before = bills.length
      charges.cut('client_gone', CALLER)
      expect([held(), bills.length - before]).toEqual([0, begun.size])
    }
  }),
)
