// 25: tokens under kids that nobody has heard of, ten thousand a second. Each could be a question to
// the identity provider, an entry in a cache, or a wait for everybody else.

import { startForge } from '../../support/forge.ts'
import { flood } from '../crowd.ts'
import { lane } from '../lane.ts'
import { quietScene } from '../quiet.ts'
import { judged, mib, MIB, ms, type Own, percentile } from '../own.ts'

const PER_SECOND = 10_000
const LANES = 64
const COOLDOWN_SECONDS = 30
const ADDED_MS = 1
/** What a process grows by under any load; half a million remembered kids would be more. */
const GROWTH_BYTES = 32 * MIB

export const KEY_FLOOD: Own = {
  name: '25: a flood of unknown kids',
  async run(size) {
    const seconds = size === 'full' ? 60 : 8
    const forge = await startForge()
    const at = await quietScene(forge.env)
    const token = forge.token()
    const [, claims, signature] = token.split('.')
    const { port } = at.gate

    const valid = await lane(port)
    const good = `GET /v1/models HTTP/1.1\r\nHost: gate.test\r\nAuthorization: Bearer ${token}\r\n\r\n`
    let refused = 0
    /** 200 valid requests a second for as long as `during` lasts: their p99. */
    const p99Of = async (during: Promise<unknown>): Promise<number> => {
      const times: number[] = []
      const state = { over: false }
      void during.finally(() => {
        state.over = true
      })
      while (!state.over) {
        const started = performance.now()
        if ((await valid.ask(good)) !== 200) refused += 1
        times.push(performance.now() - started)
        await Bun.sleep(5)
      }
      return percentile(times, 0.99)
    }
    const flooding = (kind: 'kids' | 'health', lasting: number) =>
      flood({
        port,
        kind,
        perSecond: PER_SECOND,
        count: PER_SECOND * lasting,
        lanes: LANES,
        more: `${claims}.${signature}`,
      })

    await flooding('kids', 2)
    const quiet = await p99Of(Bun.sleep(size === 'full' ? 15_000 : 4000))
    const control = await p99Of(flooding('health', size === 'full' ? 15 : 4))
    const [askedBefore, rssBefore] = [forge.asked.length, at.gate.rssBytes()]
    const kids = flooding('kids', seconds)
    const busy = await p99Of(kids)
    const { statuses, perSecond } = await kids
    const asked = forge.asked.length - askedBefore
    const grown = at.gate.rssBytes() - rssBefore
    valid.close()
    await at.close()
    await forge.close()

    const added = busy - quiet
    return judged(
      `${Object.entries(statuses)
        .map(([status, count]) => `${count} x ${status}`)
        .join(', ')} at ${perSecond.toFixed(0)}/s for ${seconds} s: ` +
        `${asked} key-set fetches, valid p99 ${ms(quiet)} -> ${ms(busy)} ` +
        `(${ms(control)} under as much /health), RSS +${mib(grown)}`,
      size,
      {
        'all 401': Object.keys(statuses).join() === '401',
        'every valid request answered': refused === 0,
        '10,000 a second': perSecond > 0.95 * PER_SECOND,
        'one fetch per cooldown': asked <= Math.ceil(seconds / COOLDOWN_SECONDS) + 1,
        'bounded memory': grown < GROWTH_BYTES,
      },
      { 'p99 +1 ms': added < ADDED_MS },
    )
  },
}
