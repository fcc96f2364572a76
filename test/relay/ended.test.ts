// A request that nothing follows: after a bug of ours nothing is kept that was taken for it, and one that
// has no slot any more is not sent again.

import { expect, test } from 'bun:test'
import type { Exchange } from '../../src/exchange.ts'
import type { Flight } from '../../src/http1/transport.ts'
import type { Again } from '../../src/relay/again.ts'
import { type Relay, relaying } from '../../src/relay/relay.ts'
import { eventually } from '../support/sink.ts'

const UNREACHABLE = { ok: false, kind: 'unreachable', reason: 'refused' }
const BROKEN = { ok: false, kind: 'unanswered', reason: 'ended' }

/** Fails at once; what stands in for it throws. */
function scene(head: object | Promise<object>, sent: boolean, isStuck = false) {
  const told: string[] = []
  const tell =
    (what: string) =>
    (...with_: unknown[]): void => {
      told.push([what, ...with_.filter((each) => typeof each === 'string')].join(' '))
    }
  const flight = { head: Promise.resolve(head), begun: sent, sent, cancel: tell('cancelled') }
  const relay = relaying({
    transport: { send: () => flight as unknown as Flight },
    timeouts: {},
    idleMs: () => 1000,
    settle: tell('settled'),
    settleAttempt: tell('given up'),
  } as unknown as Parameters<typeof relaying>[0])
  const pass = { isStuck, answered: tell('answered'), report: tell('reported') }
  const reservation = {
    amountMicroUsd: 7,
    settle: (most: number) => told.push(`charged ${most}`),
    release: tell('freed'),
  }
  const exchange = { headers: new Headers(), dialect: 'openai' } as unknown as Exchange
  const again: Again = {
    next() {
      told.push('asked for another')
      return Promise.reject(new Error('a bug'))
    },
    tellSoonest: () => undefined,
  }
  const send = (): Promise<Response> => {
    const outgoing = { call: { headers: {}, body: undefined }, upstream: {}, asked: {} }
    const taken = { reserved: { release: tell('left') }, charge: { pass, reservation } }
    const client = { signal: new AbortController().signal, release: tell('released') }
    return relay.send(...([outgoing, taken, exchange, client, again] as unknown as Sent))
  }
  return { relay, send, exchange, told }
}
type Sent = Parameters<Relay['send']>

test.each([
  ['no connection was made', UNREACHABLE, false, 'freed'],
  ['the upstream may bill it', BROKEN, true, 'charged 7'],
])('between two attempts, where %s', async (_, head, sent, ended) => {
  const { relay, send, exchange, told } = scene(head, sent)
  expect(await send().catch(String)).toBe('Error: a bug')
  expect([relay.running, told.splice(0)]).toEqual([1, ['asked for another']])
  relay.abandon({} as Exchange)
  expect(relay.running).toBe(1)
  relay.abandon(exchange)
  relay.abandon(exchange)
  expect(relay.running).toBe(0)
  expect(told).toEqual(['reported neutral', ended, 'released', 'cancelled'])
  // The drain has nothing to wait for, and nothing ends twice.
  relay.breakAll()
  expect(told).toHaveLength(4)
})

test('a request that waits at an upstream which answers nobody has given up its slot, and goes to no other', async () => {
  const { promise, resolve } = Promise.withResolvers<object>()
  const { send, told } = scene(promise, true, true)
  const answered = send()
  await eventually(async () => told.includes('left'))
  resolve(BROKEN)
  expect((await answered).status).toBe(502)
  expect(told).not.toContain('asked for another')
})
