// Streams under way: 500 of them, 50 events a second each. Measured is the gate's CPU time for an
// event, over a stretch in the middle; at the end every stream must have come whole.

import type { Bench, Figures, Part } from './part.ts'
import { cpuSeconds, machineSeconds } from './proc.ts'
import type { Dialect } from './sse-events.ts'
import type { Mark, Reading } from './sse-loader.ts'
import { streamScene } from './streams.ts'
import type { Subject } from './subject.ts'

const STREAMS = 500
const EVENTS_A_SECOND = 50
const WARM_SECONDS = 3
const AFTER_SECONDS = 1

export const SSE: readonly Part[] = [
  part('sse', '500 streams, 50 events a second; usage in a trailer', 'openai'),
  part('sse-anthropic', '500 streams, 50 events a second; usage in the events', 'anthropic'),
]

function part(name: string, about: string, dialect: Dialect): Part {
  return {
    name,
    about,
    subjects: ['postern', 'nginx', 'haproxy', 'direct'],
    measure: (subject, bench) => measure(dialect, subject, bench),
  }
}

async function measure(dialect: Dialect, subject: Subject, bench: Bench): Promise<Figures> {
  const events = (WARM_SECONDS + bench.seconds + AFTER_SECONDS) * EVENTS_A_SECOND
  const scene = await streamScene(subject, dialect, bench)
  try {
    const readers = scene.readers({ mode: 'paced', streams: STREAMS, events })
    if ((await readers.line()) !== 'open') throw new Error('streams that end before they begin')
    const look = async () => {
      readers.send('mark')
      const { events: seen, reads, cpuUs } = JSON.parse(await readers.line()) as Mark
      const gate = scene.gate.pid === undefined ? 0 : cpuSeconds(scene.gate.pid)
      const upstream = cpuSeconds(scene.upstream.pid)
      const { busy } = machineSeconds()
      return {
        seen,
        reads,
        gate,
        upstream,
        loader: cpuUs / 1e6,
        busy,
        at: performance.now() / 1000,
      }
    }
    scene.upstream.send('go')
    await Bun.sleep(WARM_SECONDS * 1000)
    const first = await look()
    await Bun.sleep(bench.seconds * 1000)
    const last = await look()
    const reading = JSON.parse(await readers.line()) as Reading
    if (reading.complete !== STREAMS) {
      throw new Error(`${subject.name}: ${reading.broken} streams of ${STREAMS} broken`)
    }
    const metered = await scene.metered()
    if (metered !== undefined && metered < STREAMS) {
      throw new Error(`the usage of ${metered} streams is known, of ${STREAMS}`)
    }
    const seconds = last.at - first.at
    const seen = last.seen - first.seen
    const cores = (key: 'gate' | 'upstream' | 'loader' | 'busy'): number =>
      (last[key] - first[key]) / seconds
    return {
      cpuUs: (cores('gate') * seconds * 1e6) / seen,
      perSecond: seen / seconds,
      eventsPerRead: seen / (last.reads - first.reads),
      gateCores: cores('gate'),
      upstreamCores: cores('upstream'),
      loaderCores: cores('loader'),
      othersCores: Math.max(0, cores('busy') - cores('gate') - cores('upstream') - cores('loader')),
    }
  } finally {
    await scene.end()
  }
}
