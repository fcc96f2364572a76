// Limits of requests that hold, in both spellings, told in Anthropic's headers.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { anthropicScene, type DeviceScene, messages, refusalOf } from '../support/anthropic.ts'
import { runToEnd } from '../support/binary.ts'

describe("a token's own rate_limit", () => {
  let on: DeviceScene
  beforeAll(async () => {
    on = await anthropicScene({ env: { DEVICE_RATE_LIMIT: '3' } })
  })
  afterAll(() => on.close())

  const statuses = async (token: string, count: number): Promise<number[]> => {
    const all = await Promise.all(Array.from({ length: count }, () => messages(on.gate, token)))
    return all.map(({ status }) => status).toSorted()
  }

  test('holds for a hundred at once, each token for itself', async () => {
    const [five, seven] = [
      await on.device('--rate-limit', '5'),
      await on.device('--rate-limit', '7'),
    ]
    const [ofFive, ofSeven] = await Promise.all([statuses(five, 100), statuses(seven, 100)])
    const sorted = (all: readonly number[]): number[] => all.toSorted((a, b) => a - b)
    expect(sorted(ofFive)).toEqual([...Array(5).fill(200), ...Array(95).fill(429)])
    expect(sorted(ofSeven)).toEqual([...Array(7).fill(200), ...Array(93).fill(429)])
  })

  test('is DEVICE_RATE_LIMIT if the enrolment sets no rate', async () => {
    expect(await statuses(await on.device(), 10)).toEqual([200, 200, 200, ...Array(7).fill(429)])
  })

  test('is not filled again by a refresh', async () => {
    const token = await on.device('--rate-limit', '2')
    expect(await statuses(token, 4)).toEqual([200, 200, 429, 429])
    const { wrapper_token: renewed } = (await (await on.refresh(token)).json()) as never
    expect(await statuses(renewed, 2)).toEqual([429, 429])
  })

  test('a refusal says when, in the headers that clients read', async () => {
    const token = await on.device('--rate-limit', '1')
    const first = await messages(on.gate, token)
    expect(first.headers.get('anthropic-ratelimit-requests-limit')).toBe('1')
    expect(first.headers.get('anthropic-ratelimit-requests-remaining')).toBe('0')
    const refused = await messages(on.gate, token)
    const wait = Number(refused.headers.get('retry-after'))
    expect(wait).toBeWithin(55, 61)
    const reset = Date.parse(refused.headers.get('anthropic-ratelimit-requests-reset') ?? '')
    expect(Math.abs(reset - Date.now() - wait * 1000)).toBeLessThan(3000)
    expect(refused.headers.get('ratelimit')).toMatch(/^"requests";r=0;t=\d+$/)
    expect(refused.headers.get('ratelimit-policy')).toBe('"requests";q=1;w=60')
    expect(await refusalOf(refused)).toBe('429 rate_limit_error')
  })

  test("an invalid token uses nobody's rate", async () => {
    const token = await on.device('--rate-limit', '1')
    const start = token.slice(0, -8)
    for (let count = 0; count < 5; count += 1) await messages(on.gate, `${start}AAAAAAAA`)
    expect((await messages(on.gate, token)).status).toBe(200)
  })
})

describe("system C's spelling", () => {
  test('RATE_LIMIT_MAX in RATE_LIMIT_WINDOW, for each device apart', async () => {
    const on = await anthropicScene({
      env: { RATE_LIMIT_RPM: '', RATE_LIMIT_MAX: '4', RATE_LIMIT_WINDOW: '1000' },
    })
    try {
      for (const token of [await on.device(), await on.device()]) {
        const all = await Promise.all(Array.from({ length: 20 }, () => messages(on.gate, token)))
        const fine = all.filter(({ status }) => status === 200)
        const others = all.filter(({ status }) => status !== 200 && status !== 429)
        expect(others.map(({ status }) => status)).toEqual([])
        // Four, and one more where a quarter of a second passes meanwhile.
        expect(fine.length).toBeGreaterThanOrEqual(4)
        expect(fine.length).toBeLessThan(20)
        expect(fine[0]?.headers.get('ratelimit-policy')).toBe('"requests";q=4;w=1')
      }
      const token = await on.device()
      await Promise.all(Array.from({ length: 8 }, () => messages(on.gate, token)))
      await Bun.sleep(1000)
      expect((await messages(on.gate, token)).status).toBe(200)
    } finally {
      await on.close()
    }
  })

  test.each<[string, Readonly<Record<string, string>>]>([
    ['with RATE_LIMIT_RPM', { RATE_LIMIT_MAX: '4', RATE_LIMIT_RPM: '60' }],
    ['with RATE_LIMIT_BURST', { RATE_LIMIT_MAX: '4', RATE_LIMIT_BURST: '10' }],
    ['a window alone', { RATE_LIMIT_WINDOW: '60000' }],
  ])('%s starts nothing', async (_name, env) => {
    const { exitCode, stderr } = await runToEnd(['--dev-mode'], env)
    expect(exitCode).toBe(78)
    expect(stderr).toContain('RATE_LIMIT_')
  })
})
