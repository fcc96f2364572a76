// 26 on a running gate: a key set that was good and then hangs, or never ends. The good keys go on,
// nobody waits for the new ones, and a gigabyte stays where it is.

import { startForge } from '../../support/forge.ts'
import { bearer } from '../../support/sink.ts'
import { quietScene } from '../quiet.ts'
import { judged, mib, MIB, ms, type Own, peakOf, percentile } from '../own.ts'

const GIGABYTE = 1_073_741_824
const MOST_READ = 16 * MIB
const GROWTH_BYTES = 48 * MIB

export const KEY_SET_OUTAGE: Own = {
  name: '26: a key set that hangs, and one of 1 GB',
  async run(size) {
    const forge = await startForge()
    const at = await quietScene({ ...forge.env, JWKS_REFRESH_SECONDS: '1' })
    const times: number[] = []
    const statuses = new Set<number>()
    /** Tokens never seen before, so that each asks for its key. */
    const askFor = async (lastingMs: number): Promise<void> => {
      const until = performance.now() + lastingMs
      for (let n = 0; performance.now() < until; n++) {
        const token = forge.token(forge.claims({ jti: `${n}-${lastingMs}` }))
        const started = performance.now()
        const response = await fetch(`${at.gate.url}/v1/models`, { headers: bearer(token) })
        await response.bytes()
        times.push(performance.now() - started)
        statuses.add(response.status)
        await Bun.sleep(5)
      }
    }
    await askFor(1000)
    const before = at.gate.rssBytes()
    const peak = peakOf(() => at.gate.rssBytes())
    let sent = 0
    let asked = 0
    forge.respond((response) => {
      asked += 1
      response.writeHead(200, { 'content-type': 'application/json' })
      const block = Buffer.alloc(65_536, 32)
      const pour = (): void => {
        while (sent < GIGABYTE && !response.destroyed) {
          sent += block.byteLength
          if (!response.write(block)) return void response.once('drain', pour)
        }
      }
      pour()
    })
    await askFor(3500)
    const huge = { sent, asked }
    forge.respond(() => {
      asked += 1
    })
    // After a failure the next read is 30 s away, or the refresh, whichever is sooner.
    await askFor(size === 'full' ? 13_000 : 3000)
    const grown = peak.stop() - before
    const hung = asked - huge.asked
    const ready = (await fetch(`${at.gate.url}/readyz`)).status
    await at.close()
    await forge.close()
    return judged(
      `good keys serve on: ${[...statuses].join()} for ${times.length} new tokens, ` +
        `p99 ${ms(percentile(times, 0.99))}; of 1 GB asked for ${huge.asked} times ${mib(huge.sent)} ` +
        `were taken; hung ${hung} times; RSS +${mib(grown)}; readyz ${ready}`,
      size,
      {
        'all 200': [...statuses].join() === '200',
        'nobody waits': percentile(times, 0.99) < 100,
        'asked in either way': huge.asked > 0 && hung > 0,
        'little of it read': huge.sent < huge.asked * MOST_READ,
        'bounded memory': grown < GROWTH_BYTES,
        ready: ready === 200,
      },
    )
  },
}
