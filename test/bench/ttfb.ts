// The time to a stream's first byte with nobody else there: one connection, one request after
// another, the first event sent at once by the upstream. What a gate adds is this less the direct
// connection's.

import type { Bench, Figures, Part } from './part.ts'
import type { Reading } from './sse-loader.ts'
import { percentile } from './statistics.ts'
import { streamScene } from './streams.ts'
import type { Subject } from './subject.ts'

const WARM_TURNS = 1000
const TURNS = 1000

export const TTFB: Part = {
  name: 'ttfb',
  about: 'first byte of a stream, one connection',
  subjects: ['postern', 'nginx', 'haproxy', 'direct'],
  measure,
}

async function measure(subject: Subject, bench: Bench): Promise<Figures> {
  const scene = await streamScene(subject, 'openai', bench)
  try {
    const turns = WARM_TURNS + TURNS
    const readers = scene.readers({ mode: 'first', streams: 1, events: 1, turns })
    await readers.line()
    const { complete, firstByteUs } = JSON.parse(await readers.line(60_000)) as Reading
    if (complete !== 1) throw new Error(`${subject.name}: an answer was broken`)
    const taken = firstByteUs.slice(WARM_TURNS)
    return { firstByteP50Us: percentile(taken, 0.5), firstByteP99Us: percentile(taken, 0.99) }
  } finally {
    await scene.end()
  }
}
