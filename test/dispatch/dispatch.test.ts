// What goes out of a body that was read before its upstream was known.

import { expect, test } from 'bun:test'
import { bodies } from '../../src/dispatch/bodies.ts'
import { dispatching } from '../../src/dispatch/dispatch.ts'
import type { Exchange } from '../../src/exchange.ts'
import { type Decision, granted } from '../../src/refusal.ts'
import type { Upstream } from '../../src/upstream/upstream.ts'

const dispatch = dispatching(bodies(() => 1000))
const upstream = {
  destination: () => granted({}),
  requestHeaders: () => ({}),
} as never as Upstream

/** `maxBytes`: of the upstream that was picked. */
async function sent(held: Decision<Uint8Array>, maxBytes: number) {
  const found = await dispatch(
    { admitted: { identity: 'i', policy: {} }, reserved: {} } as never,
    {
      request: new Request('http://gate.test/'),
      method: 'POST',
      path: '/v1/chat/completions',
      search: '',
      upstream,
      limited: false,
      held,
    },
    { sealed: false, enclaveHost: undefined, length: undefined, maxBytes },
    { at: { monotonicMs: 0 } } as Exchange,
  )
  return found.ok ? found.value.call.body : found.code
}

test('no more than that upstream takes, however large a body another one takes', async () => {
  const body = new Uint8Array(50)
  expect(await sent(granted(body), 50)).toBe(body)
  expect(await sent(granted(body), 49)).toBe('request_too_large')
})
