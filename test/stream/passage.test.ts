// Passages alone, between an upstream that is a random and a client that is real: what comes for many
// of them in one turn leaves together, and of each it is still everything, in order.

import { expect, test } from 'bun:test'
import { type PassageEvents, passage } from '../../src/relay/passage.ts'
import type { Listener } from '../../src/http1/transport.ts'
import { seeded } from '../support/random.ts'

/** More than may wait for each other. */
const STREAMS = 150

interface Source {
  readonly passing: ReturnType<typeof passage>
  to: Listener | undefined
  readonly sent: Uint8Array[]
}

function source(): Source {
  const events: PassageEvents = {
    onEnd() {},
    onCancel() {},
  }
  const sent: Uint8Array[] = []
  const incoming = {
    listen: (to: Listener) => {
      made.to = to
    },
    pause() {},
    resume() {},
  }
  const made: { to: Listener | undefined } = { to: undefined }
  const passing = passage(incoming, events, {}, performance.now())
  return { passing, to: made.to, sent }
}

const allArrives = seeded(async (chance) => {
  const sources = Array.from({ length: STREAMS }, source)
  const server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    fetch: ({ url }) =>
      new Response(sources[Number(new URL(url).pathname.slice(1))]?.passing.stream()),
  })
  const feed = ({ to, sent }: Source, bytes: number): void => {
    const piece = new Uint8Array(bytes).fill(chance.int(256))
    sent.push(piece)
    to?.onData(piece)
  }
  for (const each of sources) feed(each, 1)
  const answers = await Promise.all(sources.map((_, place) => fetch(`${server.url.href}${place}`)))
  const bodies = Promise.all(answers.map((answer) => answer.bytes()))
  for (let turn = 0; turn < 60; turn++) {
    for (let pieces = chance.int(2 * STREAMS); pieces > 0; pieces--) {
      const bytes = 1 + chance.int(chance.next() < 0.1 ? 20_000 : 300)
      feed(sources[chance.int(STREAMS)] as Source, bytes)
    }
    await (chance.next() < 0.5 ? Bun.sleep(0) : new Promise(setImmediate))
  }
  for (const each of sources) {
    // The end comes while the last piece still waits.
    feed(each, 5)
    each.to?.onEnd('complete', {})
  }
  const received = await bodies
  await server.stop(true)
  for (const [place, { sent }] of sources.entries()) {
    expect(Buffer.concat(sent).equals(received[place] as Uint8Array)).toBe(true)
  }
})

test(`${STREAMS} streams, any pieces in any turns`, allArrives)
