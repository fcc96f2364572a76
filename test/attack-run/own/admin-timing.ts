// 38: does the time of a 401 say how much of the operator's key was right? Welch's t-test, as dudect
// does it: two classes in random order, slow outliers cut at one bound for both, |t| < 4.5.

import { ADMIN_TOKEN, ANTHROPIC_KEY, IDENTITY_KEY, SECRET } from '../../support/anthropic.ts'
import { random } from '../../support/random.ts'
import { lane } from '../lane.ts'
import { judged, type Own, percentile } from '../own.ts'
import { quietGate } from '../quiet.ts'
import { welch } from '../welch.ts'

const BOUND = 4.5
/** A share of the slowest is the machine's own. */
const CUTS = [1, 0.99, 0.95, 0.8]

export const ADMIN_TIMING: Own = {
  name: '38: the timing of a wrong admin token',
  async run(size) {
    const samples = size === 'full' ? 100_000 : 10_000
    const gate = await quietGate({
      ANTHROPIC_API_KEY: ANTHROPIC_KEY,
      ANTHROPIC_BASE_URL: 'http://127.0.0.1:1',
      JWT_SECRET: SECRET,
      IDENTITY_HASH_KEY: IDENTITY_KEY,
      ADMIN_TOKEN,
      PUBLIC_RATE_LIMIT_RPM: '0',
    })
    const request = (token: string): Buffer =>
      Buffer.from(
        `GET /admin/stats HTTP/1.1\r\nHost: gate.test\r\nAuthorization: Bearer ${token}\r\n\r\n`,
      )
    // Of letters that a token may have: others are refused before any comparison.
    const none = request('z'.repeat(ADMIN_TOKEN.length))
    const all = request(`${ADMIN_TOKEN.slice(0, -1)}z`)
    const right = request(ADMIN_TOKEN)
    const seed = Number(process.env['POSTERN_SEED'] ?? Math.floor(Math.random() * 2 ** 32))
    const chance = random(seed)
    const one = await lane(gate.port)
    const statuses = new Set<number>()

    const time = async (bytes: Buffer): Promise<number> => {
      const started = Bun.nanoseconds()
      statuses.add(await one.ask(bytes))
      return (Bun.nanoseconds() - started) / 1000
    }
    const compare = async (a: Buffer, b: Buffer, count: number): Promise<number> => {
      const [as, bs]: [number[], number[]] = [[], []]
      for (let at = 0; at < count; at++) {
        if (chance.next() < 0.5) as.push(await time(a))
        else bs.push(await time(b))
      }
      const largest = CUTS.map((share) => {
        const cut = percentile([...as, ...bs], share)
        return Math.abs(
          welch(
            as.filter((each) => each <= cut),
            bs.filter((each) => each <= cut),
          ),
        )
      })
      return Math.max(...largest)
    }
    await compare(none, all, 5000)
    const t = await compare(none, all, samples)
    const wrong = [...statuses]
    // What the test could not tell apart here, it could not tell apart above.
    const control = await compare(none, right, 5000)
    one.close()
    await gate.stop()
    return judged(
      `no character right against all but one: |t| = ${t.toFixed(2)} over ` +
        `${samples.toLocaleString('en')} (seed ${seed}); wrong against right: ${control.toFixed(0)}`,
      size,
      {
        'all 401': wrong.join() === '401',
        '|t| < 4.5': t < BOUND,
        'a difference that is there is seen': control > BOUND,
      },
    )
  },
}
