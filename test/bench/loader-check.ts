// Our reader of streams held against wrk, on a case that both can do: short streams, one after
// another. Both must count the same bytes in an answer, or no figure of ours is worth printing.

import { join } from 'node:path'
import { direct } from './direct.ts'
import type { Bench } from './part.ts'
import type { Reading } from './sse-loader.ts'
import { percentile } from './statistics.ts'
import { askingFor, PATHS, streamScene } from './streams.ts'
import { wrk } from './wrk.ts'

const EVENTS = 5
const TURNS = 3000

export async function checkLoader(bench: Bench): Promise<string> {
  const scene = await streamScene(direct, 'openai', bench)
  try {
    const bodyFile = join(scene.folder, 'body.json')
    await Bun.write(bodyFile, askingFor('openai', { mode: 'finite', events: EVENTS }))
    const theirs = await wrk({
      port: scene.gate.port,
      path: PATHS.openai,
      bodyFile,
      tokensFile: bench.credentials.knownFile,
      repeat: true,
      skip: 0,
      connections: 1,
      seconds: 1,
      headers: {},
      folder: scene.folder,
      gatePid: undefined,
      upstreamPid: scene.upstream.pid,
    })
    const readers = scene.readers({ mode: 'finite', streams: 1, events: EVENTS, turns: TURNS })
    await readers.line()
    const ours = JSON.parse(await readers.line()) as Reading
    const theirBytes = theirs.bytes / theirs.requests
    const ourBytes = ours.wireBytes / TURNS
    const whole = ours.complete === 1 && ours.events === TURNS * EVENTS
    if (!whole || Math.abs(theirBytes - ourBytes) > 0.5) {
      throw new Error(`our loader is wrong: ${theirBytes} bytes by wrk, ${ourBytes} by ours`)
    }
    const ourP50Us = percentile(ours.wholeUs, 0.5)
    return (
      `loader checked against wrk on streams of ${EVENTS} events, one connection: ` +
      `${theirBytes.toFixed(0)} bytes an answer by wrk (${theirs.requests} answers), ` +
      `${ourBytes.toFixed(0)} by ours (${TURNS} answers, each event compared); ` +
      `p50 ${theirs.p50Us.toFixed(0)} µs by wrk, ${ourP50Us.toFixed(0)} µs by ours`
    )
  } finally {
    await scene.end()
  }
}
