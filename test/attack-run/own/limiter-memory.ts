// 30: more strangers than any table should hold. Ten million through the gate's own table of buckets,
// and through the binary more than that table takes: each address a key of its own, at a rate so
// slow that none of them fills up again.

import { flood, printed } from '../crowd.ts'
import { quietScene } from '../quiet.ts'
import { judged, mib, MIB, type Own } from '../own.ts'

const MOST_BYTES = 150 * MIB
const ORIGIN = 'https://app.example'
/** What the table holds at the most: MAX_KEYS of src/state/memory/bucket.ts. */
const TABLE = 250_000

export const LIMITER_MEMORY: Own = {
  name: '30: ten million identities',
  async run(size) {
    const identities = size === 'full' ? 10_000_000 : 1_000_000
    const addresses = size === 'full' ? TABLE + 100_000 : 60_000
    const child = JSON.parse(
      await printed(`${import.meta.dir}/../limiter-child.ts`, [String(identities)]),
    )
    const at = await quietScene({
      TRUSTED_PROXIES: '127.0.0.1',
      PUBLIC_RATE_LIMIT_RPM: '1',
      RATE_LIMIT_BURST: '1',
      CORS_ORIGINS: ORIGIN,
    })
    const { port, url } = at.gate
    const spender = async (): Promise<number> => {
      const headers = {
        'x-forwarded-for': '203.0.113.9',
        origin: ORIGIN,
        'access-control-request-method': 'GET',
      }
      return (await fetch(`${url}/v1/models`, { method: 'OPTIONS', headers })).status
    }
    await flood({ port, kind: 'health', perSecond: 0, count: 30_000, lanes: 32 })
    const [first, second] = [await spender(), await spender()]
    const before = at.gate.rssBytes()
    const asking = { port, kind: 'addresses', perSecond: 0, lanes: 32, more: ORIGIN } as const
    const { statuses, seconds } = await flood({ ...asking, count: addresses })
    const grown = at.gate.rssBytes() - before
    // The minute in which it is spent must not be over before it is asked again.
    const spent = seconds > 55 ? 429 : await spender()
    const health = (await fetch(`${url}/health`)).status
    await at.close()
    return judged(
      `${identities.toLocaleString('en')} through the table of buckets: RSS +${mib(child.grown)} at the peak, ` +
        `+${mib(child.kept)} when collected, ` +
        `${child.keys} kept, the others refused; ${addresses.toLocaleString('en')} through the ` +
        `binary in ${seconds.toFixed(0)} s: RSS +${mib(grown)}, ` +
        `${Object.entries(statuses)
          .map(([status, count]) => `${count} x ${status}`)
          .join(', ')}; ` +
        `a spent one: ${first}, ${second}, then ${spent}`,
      size,
      {
        'the table within 150 MiB': child.kept < MOST_BYTES,
        'the binary within 150 MiB': grown < MOST_BYTES,
        'a spent bucket stays spent': child.spent && second === 429 && spent === 429,
        'none lets more than its size in': child.passed <= TABLE,
        'newcomers come in again when buckets have filled': child.again,
        'the gate answers': health === 200,
      },
      { 'the table within 150 MiB before it is collected': child.grown < MOST_BYTES },
    )
  },
}
