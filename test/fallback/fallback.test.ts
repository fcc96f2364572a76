// A second upstream in the place of one that gives no answer, over the compiled binary: when it is asked,
// when never, and what is written down of it.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { bearer, errorOf, eventually } from '../support/sink.ts'
import { CHAT, type FallbackScene, fallbackScene, KEYS } from './scene.ts'
import { answer, cutAfter, NOTHING, OK, type Said, stream } from './scripted-upstream.ts'

const CIRCUIT = 'limits: { circuit: { failures: 1000 } }'
const POLICIES = `policies:
  - { name: strict, fallback: false }
  - { name: told, tell_upstream: true }
  - { name: first, upstreams: [one] }
  - { name: capped, usd_per_month: 1 }`
const plan = (more = ''): string =>
  `fallback: [{ routes: [chat, responses, embeddings], from: [one, two]${more} }]`
const BILLED = ', on: [unreachable, open, overloaded, 5xx, unanswered], again_if_billed: true'

const ERROR = '{"error":{"message":"said","type":"server_error"}}'
const failing = (status: number, ...headers: string[]): Said => answer(status, ERROR, headers)

let careful: FallbackScene
let billed: FallbackScene
beforeAll(async () => {
  const sceneOf = (text: string) => fallbackScene([text, POLICIES, CIRCUIT].join('\n'))
  ;[careful, billed] = await Promise.all([sceneOf(plan()), sceneOf(plan(BILLED))])
})
afterAll(async () => {
  await Promise.all([careful.close(), billed.close()])
})
beforeEach(async () => {
  for (const at of [careful, billed]) {
    at.one.say(OK)
    at.two.say(OK)
    at.reached()
  }
})

describe('without a word about what may be billed', () => {
  test.each([
    ['429', failing(429)],
    ['529', failing(529)],
    ['503 with a pause', failing(503, 'retry-after: 0')],
    ['a 503 that says overload', answer(503, '{"error":{"type":"overloaded_error"}}')],
  ])('%s goes to the second', async (_, said) => {
    careful.one.say(said)
    const { status, id } = await careful.ask()
    expect([status, careful.reached()]).toEqual([200, [1, 1]])
    expect(await careful.logged(id)).toMatchObject({ upstream: 'two', tried: 'one', status: 200 })
  })

  test.each([
    ['500', failing(500), 500],
    ['502', failing(502), 502],
    ['a 500 that says overload', answer(500, '{"error":{"type":"overloaded_error"}}'), 500],
    ['a 503 that says nothing', failing(503), 503],
    ['400', failing(400), 400],
    ['401', failing(401), 502],
    ['403', failing(403), 403],
    ['404', failing(404), 404],
    ['a redirect', answer(302, '', ['location: http://127.0.0.1:1/']), 502],
    ['no HTTP', { bytes: 'SSH-2.0\r\n\r\n', end: 'fin' } as Said, 502],
    ['a connection that ends', NOTHING, 502],
    ['a connection that is reset', { bytes: '', end: 'reset' } as Said, 502],
    ['a 429 that is not to be asked again', failing(429, 'x-should-retry: false'), 429],
    ['an answer', OK, 200],
  ])('%s stays with the first', async (_, said, status) => {
    careful.one.say(said)
    const answered = await careful.ask()
    expect([answered.status, careful.reached()]).toEqual([status, [1, 0]])
    expect(await careful.logged(answered.id)).toMatchObject({ upstream: 'one' })
    expect(await careful.logged(answered.id)).not.toHaveProperty('tried')
  })

  test.each([
    ['ehbp-encapsulated-key', '0'.repeat(64)],
    ['x-tinfoil-enclave-url', 'https://enclave.example'],
  ])('a request with %s is for one enclave, and never for a second', async (name, value) => {
    careful.one.say(failing(429))
    const { status } = await careful.ask(CHAT, { headers: { [name]: value } })
    expect([status, careful.reached()]).toEqual([429, [1, 0]])
  })

  test('an upstream that is down is not asked, and its row says that nothing was used', async () => {
    await careful.one.down()
    const { status, id } = await careful.ask()
    await careful.one.up()
    expect([status, careful.reached()]).toEqual([200, [0, 1]])
    expect(await careful.rows(id)).toMatchObject([
      { upstream: 'one', end_reason: 'retried', status: null, cost_micro_usd: 0 },
      { upstream: 'two', end_reason: 'complete', status: 200 },
    ])
  })

  test('bytes pass as they came, both ways', async () => {
    careful.one.say(failing(429))
    const raw = '{ "model":"gpt-4o-mini",\n"messages":[{"role":"user","content":"\\u00e4 🐤"}] }'
    const { body } = await careful.ask(undefined, { raw })
    expect(body).toBe(OK.bytes.slice(OK.bytes.indexOf('\r\n\r\n') + 4))
    const seen = [careful.one, careful.two].map(({ taken }) => taken.at(-1))
    for (const each of seen) expect(Buffer.from(each?.body ?? '', 'latin1').toString()).toBe(raw)
    expect(seen[0]?.head).toContain(KEYS.one)
    expect(seen[1]?.head).toContain(KEYS.two)
    expect(seen[1]?.head).not.toContain(KEYS.one)
  })

  test('both refuse: the second answer passes, with the sooner of both pauses', async () => {
    careful.one.say(failing(429, 'retry-after: 3'))
    careful.two.say(failing(429, 'retry-after: 50', 'retry-after-ms: 50000'))
    const body = { ...CHAT, model: 'gpt-4o' }
    const first = await careful.ask(body)
    expect([first.status, first.body, careful.reached()]).toEqual([429, ERROR, [1, 1]])
    expect(Number(first.headers.get('retry-after'))).toBeLessThan(4)
    expect(Number(first.headers.get('retry-after-ms'))).toBeLessThan(4000)
    expect((await careful.rows(first.id)).map(({ end_reason }) => end_reason)).toEqual([
      'retried',
      'complete',
    ])
  })

  test('one that asked for a pause is passed over until then, for that model alone', async () => {
    careful.one.say(failing(429, 'retry-after: 60'))
    const body = { ...CHAT, model: 'gpt-4.1' }
    expect((await careful.ask(body)).status).toBe(200)
    careful.one.say(OK)
    careful.reached()
    const passed = await careful.ask(body)
    expect([passed.status, careful.reached()]).toEqual([200, [0, 1]])
    expect(await careful.rows(passed.id)).toMatchObject([{ upstream: 'two' }])
    expect(await careful.logged(passed.id)).toMatchObject({ upstream: 'two', tried: 'one' })
    await careful.ask()
    expect(careful.reached()).toEqual([1, 0])
  })

  test.each([
    ['names it first, and then the one that is read', '"model":"o1","model":"slow"', 'o1'],
    ['names one of its own', `"model":"${'x'.repeat(200)}"`, undefined],
    ['names none', '"n":1', undefined],
  ])('a pause that a caller has caused who %s is not of others', async (_, members, model) => {
    careful.one.say(failing(429, 'retry-after: 60'))
    const raw = `{${members},"messages":[]}`
    expect((await careful.ask(undefined, { raw })).status).toBe(200)
    careful.one.say(OK)
    careful.reached()
    // In the middle of a long body the gate does not look for the model.
    const blank = ' '.repeat(300)
    const others = model ?? 'o2'
    const plain = `{"messages":[],${blank}"model":"${others}"${blank}}`
    await careful.ask(undefined, { raw: plain })
    await careful.ask({ ...CHAT, model: others })
    expect(careful.reached()).toEqual([2, 0])
  })
})

describe('where the operator says that a billed request may be sent again', () => {
  test.each([
    ['500', failing(500)],
    ['502', failing(502)],
    ['a connection that ends', NOTHING],
    ['a connection that is reset', { bytes: '', end: 'reset' } as Said],
    ['half a head', cutAfter(20, OK, 'fin')],
  ])('%s goes to the second', async (_, said) => {
    billed.one.say(said)
    const { status, id } = await billed.ask()
    expect([status, billed.reached()]).toEqual([200, [1, 1]])
    expect((await billed.rows(id)).map(({ end_reason }) => end_reason)).toEqual([
      'retried',
      'complete',
    ])
  })

  const once = { path: '/v1/responses' }
  test.each([
    ['an idempotency key', CHAT, { headers: { 'idempotency-key': 'k' } }],
    ['a response, which is kept', { model: 'gpt-4o', input: 'hi' }, once],
    ['one in the background', { model: 'gpt-4o', store: false, background: true }, once],
    ['a chat that is kept', { ...CHAT, store: true }, {}],
  ])('%s: not again', async (_, body, more) => {
    billed.one.say(failing(500))
    expect((await billed.ask(body, more)).status).toBe(500)
    expect(billed.reached()).toEqual([1, 0])
    billed.one.say(failing(429))
    expect((await billed.ask(body, more)).status).toBe(200)
    expect(billed.reached()).toEqual([1, 1])
  })

  test('a response that is not kept goes to the second', async () => {
    billed.one.say(failing(500))
    const body = { model: 'gpt-4o', input: 'hi', store: false }
    expect((await billed.ask(body, once)).status).toBe(200)
    expect(billed.reached()).toEqual([1, 1])
  })

  test('after the first byte of an answer nothing is sent again, wherever it breaks', async () => {
    const said = stream(3)
    const whole = said.bytes.length
    const head = said.bytes.indexOf('\r\n\r\n') + 4
    const places = [head, head + 1, head + 5, head + 80, whole - 6, whole - 1]
    const cases = places.flatMap((bytes) =>
      (['fin', 'reset'] as const).map((end) => [bytes, end] as const),
    )
    billed.one.say(({ body }) => {
      const [bytes, end] = cases[Number(/"seed":(\d+)/.exec(body)?.[1])] ?? [0, 'fin']
      return cutAfter(bytes, said, end)
    })
    // A broken stream is told of a few seconds later: all of them at once.
    await Promise.all(cases.map((_, seed) => billed.ask({ ...CHAT, seed }).catch(() => undefined)))
    expect(billed.reached()).toEqual([cases.length, 0])
  })

  test('a body that passes as it comes is sent once', async () => {
    billed.one.say(failing(500))
    const text = JSON.stringify({ ...CHAT, more: 'x'.repeat(3_000_000) })
    const { status } = await billed.ask(undefined, { raw: text })
    expect([status, billed.reached()]).toEqual([500, [1, 0]])
  })

  test('a second upstream that quotes the key of the first is told of, and not passed', async () => {
    billed.one.say(failing(500))
    billed.two.say(answer(200, `{"echo":"${KEYS.one}"}`))
    const { status, body } = await billed.ask()
    expect([status, body.includes('canary')]).toEqual([502, false])
  })

  test('a caller who leaves meanwhile is not served by the second, and takes no slot along', async () => {
    const left = new AbortController()
    const reached = Promise.withResolvers<void>()
    billed.one.say(() => {
      reached.resolve()
      return { bytes: '', end: 'hang' }
    })
    const asked = billed.ask(CHAT, { signal: left.signal }).catch(() => 'left')
    await reached.promise
    left.abort()
    expect(await asked).toBe('left')
    await eventually(async () => {
      const lines = billed.gate.lines()
      return lines.some(({ end, upstream }) => end === 'client_gone' && upstream === 'one')
    })
    expect(billed.reached()).toEqual([1, 0])
  })

  test('each attempt has its row and its line, and the request counts once', async () => {
    const usage = async (): Promise<Record<string, number>> => {
      const { stdout } = await billed.command('usage', '--json')
      return (JSON.parse(stdout) as { total: Record<string, number> }).total
    }
    await Bun.sleep(0)
    billed.one.say(failing(500))
    const first = await billed.ask()
    await billed.rows(first.id)
    const before = await usage()
    const { id } = await billed.ask()
    await billed.rows(id)
    const after = await usage()
    expect(Number(after['requests']) - Number(before['requests'])).toBe(1)
    expect(Number(after['succeeded']) - Number(before['succeeded'])).toBe(1)
    expect(Number(after['retried']) - Number(before['retried'])).toBe(1)
    const lines = billed.gate.lines().filter((line) => line['request_id'] === id)
    expect(lines).toMatchObject([
      { msg: 'attempt given up', upstream: 'one', status: 500, reason: 'upstream status 500' },
      { msg: 'request', upstream: 'two', tried: 'one' },
    ])
    expect((await billed.command('usage')).stdout).toContain('given up for another upstream')
  })
})

describe('a policy', () => {
  test('takes the second upstream away, by name or by a word', async () => {
    billed.one.say(failing(429))
    for (const name of ['strict', 'first']) {
      const key = await careful.key(name, '--policy', name)
      careful.one.say(failing(429))
      expect((await careful.ask(CHAT, { key })).status).toBe(429)
      expect(careful.reached()).toEqual([1, 0])
      careful.one.say(OK)
    }
  })

  test('names the upstream that answered', async () => {
    const key = await careful.key('told', '--policy', 'told')
    careful.one.say(failing(429))
    const { headers } = await careful.ask(CHAT, { key })
    expect(headers.get('postern-upstream')).toBe('two')
  })

  test('with a cap charges each attempt that may be billed, and sends none beyond it', async () => {
    const key = await billed.key('capped', '--policy', 'capped')
    billed.one.say(NOTHING)
    // More than half of the cap: two of them do not fit, and the first may be billed.
    const body = { ...CHAT, model: 'gpt-4o', max_tokens: 8000, n: 4 }
    const answered = await billed.ask(body, { key })
    expect([answered.status, billed.reached()]).toEqual([502, [1, 0]])
    expect(errorOf(answered.body)).not.toHaveProperty('cap')
    billed.one.say(failing(500))
    const small = { ...CHAT, model: 'gpt-4o', max_tokens: 10 }
    const { status, id } = await billed.ask(small, { key })
    expect([status, billed.reached()]).toEqual([200, [1, 1]])
    const [given, kept] = await billed.rows(id)
    expect([given?.cost_micro_usd, kept?.cost_micro_usd]).toEqual([null, expect.any(Number)])
  })
})

test('over many requests a cap is charged each answer once, in memory and in the ledger', async () => {
  const key = await billed.key('summed', '--policy', 'capped')
  const says = [OK, failing(429), failing(500), failing(503, 'retry-after: 0'), failing(400)]
  billed.one.say(({ body }) => says[Number(/"seed":(\d+)/.exec(body)?.[1]) % says.length] ?? OK)
  const body = { ...CHAT, model: 'gpt-4o', max_tokens: 10 }
  const seeds = Array.from({ length: 50 }, (_, seed) => seed)
  const all = await Promise.all(seeds.map((seed) => billed.ask({ ...body, seed }, { key })))
  const answered = all.filter(({ status }) => status === 200)
  expect([answered.length, billed.reached()]).toEqual([40, [50, 30]])
  const rows = (await Promise.all(all.map(({ id }) => billed.rows(id)))).flat()
  const charged = rows.map((row) => (row.cost_micro_usd ?? 0) + (row.estimated_cost_micro_usd ?? 0))
  // 7 tokens in and 5 out of gpt-4o, in whole micro-USD.
  const each = Math.ceil(7 * 2.5 + 5 * 10)
  expect(charged.filter((cost) => cost > 0)).toEqual(answered.map(() => each))
  const about = await fetch(`${billed.gate.url}/device`, { headers: bearer(key) })
  const { caps } = (await about.json()) as { caps: Record<string, number>[] }
  // And one more that the scene asked with this key.
  const whole = answered.length * each + Math.ceil(7 * 0.15 + 5 * 0.6)
  expect(caps[0]).toMatchObject({ spent_micro_usd: whole, reserved_micro_usd: 0 })
})

test('a reload takes the section, and takes it away', async () => {
  careful.one.say(failing(500))
  expect((await careful.ask()).status).toBe(500)
  await careful.write([plan(BILLED), POLICIES, CIRCUIT].join('\n'))
  expect((await careful.ask()).status).toBe(200)
  careful.one.say(failing(429))
  await careful.write([POLICIES, CIRCUIT].join('\n'))
  careful.reached()
  expect((await careful.ask()).status).toBe(429)
  expect(careful.reached()).toEqual([1, 0])
  await careful.write([plan(), POLICIES, CIRCUIT].join('\n'))
  expect((await careful.ask()).status).toBe(200)
})

test('no route beside those of the plan is sent twice', async () => {
  careful.one.say(failing(429))
  const models = await fetch(`${careful.gate.url}/v1/models/x`, {
    headers: bearer(await careful.key('lister')),
  })
  expect(models.status).not.toBe(200)
  careful.reached()
  const { status } = await careful.ask({ model: 'm', input: 'x' }, { path: '/v1/moderations' })
  expect([status, careful.reached()]).toEqual([429, [1, 0]])
})

test('postern check says whether they know a model by one name', async () => {
  const list = (...ids: string[]) =>
    answer(
      200,
      JSON.stringify({ object: 'list', data: ids.map((id) => ({ id, object: 'model' })) }),
    )
  const said = async (): Promise<string> => {
    const { stdout } = await careful.command('check')
    return stdout.split('\n').find((line) => line.includes('fallback')) ?? stdout
  }
  const what = 'fallback of chat, responses, embeddings from one, two: '
  careful.one.say(list('gpt-4o', 'gpt-4.1'))
  careful.two.say(list('openai/gpt-4o', 'gpt-4.1'))
  expect(await said()).toBe(`ok  ${what}1 model by one name`)
  careful.two.say(list('openai/gpt-4o'))
  expect(await said()).toStartWith(`!!  ${what}no two of them list a model by the same name`)
  careful.two.say(failing(500))
  expect(await said()).toBe(`!!  ${what}too few of them list their models`)
})
