// An upstream that dies under load, and comes back: callers who have a second one do not notice, its
// circuit opens and sends them there at once, and closes again.

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { howMany } from '../support/long.ts'
import { eventually } from '../support/sink.ts'
import { type Answered, CHAT, type FallbackScene, fallbackScene } from './scene.ts'
import { OK } from './scripted-upstream.ts'

const REQUESTS = howMany(2000, 20_000)
const CLIENTS = 20
const OPEN = `limits: { circuit: { failures: 5, open_seconds: 1, successes: 1 } }`
const PLAN =
  'fallback: [{ routes: [chat], from: [one, two], again_if_billed: true, on: [unreachable, open, overloaded, unanswered] }]'

let at: FallbackScene
beforeAll(async () => {
  at = await fallbackScene(`${PLAN}\n${OPEN}`)
})
afterAll(() => at.close())

test('killed under load: at most one request in a thousand fails', async () => {
  let asked = 0
  let isDown: Promise<void> | undefined
  const answers: Answered[] = []
  const client = async (): Promise<void> => {
    while (asked < REQUESTS) {
      asked += 1
      if (asked === REQUESTS / 2) isDown = at.one.down()
      answers.push(await at.ask())
    }
  }
  await Promise.all(Array.from({ length: CLIENTS }, client))
  await isDown
  const [one, two] = at.reached()
  expect(one).toBeGreaterThan(REQUESTS / 4)
  expect(two).toBeGreaterThan(REQUESTS / 4)
  const failed = answers.filter(
    ({ status, body }) => status !== 200 || body !== OK.bytes.split('\r\n\r\n')[1],
  )
  expect(failed.length).toBeLessThanOrEqual(REQUESTS / 1000)
})

test('its circuit is open: it is passed over without an attempt of its own', async () => {
  // That of the upstream, or of this one caller, whose requests were all that failed.
  const opened = { msg: 'circuit breaker', upstream: 'one', state: 'OPEN' }
  expect(at.gate.lines()).toContainEqual(expect.objectContaining(opened))
  // Every second a request tries it again.
  const { id } = await eventually(async () => {
    const answered = await at.ask()
    const rows = await at.rows(answered.id)
    return rows.length === 1 && rows[0]?.upstream === 'two' && answered
  })
  expect(await at.logged(id)).toMatchObject({ upstream: 'two', tried: 'one', status: 200 })
})

test('when it is back it is asked again, and nobody had to fail for that', async () => {
  await at.one.up()
  const seen = await eventually(async () => {
    const answered = await at.ask()
    expect(answered.status).toBe(200)
    const line = await at.logged(answered.id)
    return line['upstream'] === 'one' && line
  })
  expect(seen).not.toHaveProperty('tried')
})

test('both circuits open: the refusal says when the first of them is over', async () => {
  await Promise.all([at.one.down(), at.two.down()])
  const last = await eventually(async () => {
    const answered = await at.ask(CHAT)
    return answered.body.includes('circuit_open') && answered
  })
  expect([last.status, last.headers.get('retry-after')]).toEqual([503, '1'])
})

test('it is tried by a question for its models, and not by a request of anybody', async () => {
  const calm = await fallbackScene(
    `${PLAN}\nlimits: { circuit: { failures: 2, open_seconds: 3, successes: 1 } }`,
  )
  const changed = (state: string) => () =>
    calm.gate.lines().some((line) => line['of'] === 'upstream' && line['state'] === state)
  try {
    await calm.one.down()
    await eventually(async () => {
      expect((await calm.ask()).status).toBe(200)
      return changed('OPEN')()
    })
    const passedOver = await calm.ask()
    expect(await calm.rows(passedOver.id)).toHaveLength(1)
    await calm.one.up()
    calm.reached()
    await eventually(async () => changed('CLOSED')())
    expect(calm.one.taken[0]?.head).toStartWith('GET /v1/models ')
    expect(calm.one.taken[0]?.head).not.toContain('canary')
    expect(calm.one.taken.every(({ head }) => head.startsWith('GET'))).toBe(true)
    const { id } = await calm.ask()
    expect(await calm.logged(id)).toMatchObject({ upstream: 'one' })
  } finally {
    await calm.close()
  }
})
