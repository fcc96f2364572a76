// 27: new keys, while everybody asks: first beside the old one, then alone. In between, whoever holds
// a token of a key that is published is admitted.

import { keyServer } from '../../support/keys.ts'
import { AUDIENCE, goodClaims, ISSUER, mint, type Mint } from '../../support/mint.ts'
import { lane, type Lane } from '../lane.ts'
import { quietScene } from '../quiet.ts'
import { judged, ms, type Own } from '../own.ts'

const PER_SECOND = 1000
const LANES = 16
const REFRESH_SECONDS = 1
const COOLDOWN_MS = 30_000

export const ROTATION: Own = {
  name: '27: rotation under load',
  async run(size) {
    const fast = await rotated(String(REFRESH_SECONDS), 0)
    const [slow, attacked] =
      size === 'full'
        ? await Promise.all([rotated('900', COOLDOWN_MS + 1000), unknownDuringCooldown()])
        : []
    const told = (name: string, one: Rotated): string =>
      `${name}: ${one.refused} of ${one.asked} valid refused at ${one.perSecond.toFixed(0)}/s, ` +
      `new kid after ${ms(one.usableMs)}` +
      (Number.isNaN(one.deadMs) ? '' : `, withdrawn one dead after ${ms(one.deadMs)}`)
    return judged(
      [
        told('JWKS_REFRESH_SECONDS=1', fast),
        slow ? told('=900, 31 s after its last read', slow) : '',
        attacked === undefined ? '' : `=900, new kid within 30 s of a read: after ${ms(attacked)}`,
      ]
        .filter(Boolean)
        .join('; '),
      size,
      {
        'no valid token refused': fast.refused === 0 && (slow?.refused ?? 0) === 0,
        '1,000 a second': fast.perSecond > 0.95 * PER_SECOND,
        'a new kid within 1 s': fast.usableMs < 1100 && (slow?.usableMs ?? 0) < 1000,
        'a withdrawn key within the refresh': fast.deadMs < REFRESH_SECONDS * 1000 + 500,
      },
      { 'a new kid within 1 s, whenever it comes': attacked === undefined || attacked < 1000 },
    )
  },
}

interface Rotated {
  readonly asked: number
  readonly refused: number
  readonly perSecond: number
  readonly usableMs: number
  readonly deadMs: number
}

const now = (): number => Math.floor(Date.now() / 1000)
const tokenOf = (key: Mint, sub: string): string => key.token({ ...goodClaims(now()), sub })

async function rotated(refreshSeconds: string, waitMs: number): Promise<Rotated> {
  const [old, fresh] = [mint('old'), mint('fresh')]
  const server = await keyServer([old.jwk])
  const at = await quietScene({
    JWKS_URL: server.url.href,
    ISSUER,
    AUDIENCES: AUDIENCE,
    JWKS_REFRESH_SECONDS: refreshSeconds,
  })
  await Bun.sleep(waitMs)
  /** Of a few hundred subjects, so that tokens are both remembered and new. */
  const olds = Array.from({ length: 300 }, (_, n) => tokenOf(old, `old-${n}`))
  const both = [...olds, ...Array.from({ length: 300 }, (_, n) => tokenOf(fresh, `fresh-${n}`))]
  let valid = olds
  const { port } = at.gate
  const lanes = await Promise.all(Array.from({ length: LANES }, () => lane(port)))
  const load = loading(lanes, () => valid[Math.floor(Math.random() * valid.length)] ?? '')

  const probe = await lane(port)
  const firstMs = async (key: Mint, status: number): Promise<number> => {
    const started = performance.now()
    for (let n = 0; performance.now() - started < 40_000; n++) {
      const answered = await probe.ask(request(tokenOf(key, `probe-${n}`)))
      if (answered === status) return performance.now() - started
      await Bun.sleep(5)
    }
    return Number.POSITIVE_INFINITY
  }
  await Bun.sleep(1500)
  server.serve([old.jwk, fresh.jwk])
  const usableMs = await firstMs(fresh, 200)
  valid = both
  await Bun.sleep(1500)
  valid = both.slice(300)
  await Bun.sleep(100)
  server.serve([fresh.jwk])
  // Without a refresh at hand, it dies with the next one.
  const deadMs = waitMs === 0 ? await firstMs(old, 401) : Number.NaN
  await Bun.sleep(1000)
  const result = await load.stop()
  for (const each of [...lanes, probe]) each.close()
  await at.close()
  await server.close()
  return { ...result, usableMs, deadMs }
}

/** A stranger's kid has just had the set read; and then the set has a new one. */
async function unknownDuringCooldown(): Promise<number> {
  const [old, fresh] = [mint('old'), mint('fresh')]
  const server = await keyServer([old.jwk])
  const at = await quietScene({ JWKS_URL: server.url.href, ISSUER, AUDIENCES: AUDIENCE })
  server.serve([old.jwk, fresh.jwk])
  const one = await lane(at.gate.port)
  const started = performance.now()
  while ((await one.ask(request(tokenOf(fresh, 'user')))) !== 200) {
    if (performance.now() - started > 40_000) break
    await Bun.sleep(50)
  }
  one.close()
  await at.close()
  await server.close()
  return performance.now() - started
}

const request = (token: string): string =>
  `GET /v1/models HTTP/1.1\r\nHost: gate.test\r\nAuthorization: Bearer ${token}\r\n\r\n`

function loading(
  lanes: readonly Lane[],
  pick: () => string,
): { stop(): Promise<{ asked: number; refused: number; perSecond: number }> } {
  const free = [...lanes]
  const started = performance.now()
  let asked = 0
  let refused = 0
  const timer = setInterval(() => {
    const due = ((performance.now() - started) / 1000) * PER_SECOND
    while (asked < due) {
      const one = free.shift()
      if (!one) return
      asked += 1
      void one.ask(request(pick())).then((status) => {
        if (status !== 200) refused += 1
        free.push(one)
      })
    }
  }, 1)
  return {
    async stop() {
      clearInterval(timer)
      const seconds = (performance.now() - started) / 1000
      await Bun.sleep(200)
      return { asked, refused, perSecond: asked / seconds }
    },
  }
}
