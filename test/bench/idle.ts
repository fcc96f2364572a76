// Streams that have begun and are silent: what each keeps of the gate's memory. The kernel's own
// memory for sockets is in none of these figures.

import type { Bench, Figures, Part } from './part.ts'
import { type Memory, memoryOf } from './proc.ts'
import { streamScene } from './streams.ts'
import type { Subject } from './subject.ts'

/** Opened and ended before anything is measured, so that code and first pages are there already. */
const WARM_STREAMS = 200
const REST_MS = 4000
/** Of the gate, beside the streams' two each. */
const SPARE_DESCRIPTORS = 200

export const IDLE: readonly Part[] = [
  part('idle-3000', '3,000 silent streams', () => 3000),
  part('idle-most', 'as many silent streams as descriptors allow', ({ descriptors }) =>
    // Those of the readers, too, are of one address and toward one port: 28,000 at most.
    Math.min(20_000, Math.floor((descriptors - SPARE_DESCRIPTORS) / 2)),
  ),
]

function part(name: string, about: string, count: (bench: Bench) => number): Part {
  return {
    name,
    about,
    subjects: ['postern', 'nginx', 'haproxy'],
    measure: (subject, bench) => measure(count(bench), subject, bench),
  }
}

async function measure(streams: number, subject: Subject, bench: Bench): Promise<Figures> {
  const scene = await streamScene(subject, 'openai', bench)
  const { pid } = scene.gate
  if (pid === undefined) throw new Error(`${subject.name} has no process`)
  try {
    const warm = scene.readers({ mode: 'finite', streams: WARM_STREAMS, events: 1 })
    await warm.line()
    await warm.line()
    await Bun.sleep(1000)
    const before = memoryOf(pid)
    const readers = scene.readers({ mode: 'idle', streams, events: 1 })
    if ((await readers.line(60_000)) !== 'open') throw new Error('streams that did not begin')
    const opened = memoryOf(pid)
    await Bun.sleep(REST_MS)
    const rested = memoryOf(pid)
    await readers.end()
    const each = (at: Memory, key: keyof Memory): number => (at[key] - before[key]) / streams / 1024
    return {
      streams,
      rssKiBEach: each(rested, 'rssBytes'),
      pssKiBEach: each(rested, 'pssBytes'),
      rssKiBEachAtFirst: each(opened, 'rssBytes'),
      emptyRssMiB: before.rssBytes / 1_048_576,
      rssMiB: rested.rssBytes / 1_048_576,
    }
  } finally {
    await scene.end()
  }
}
