// Every fault of the injector between the gate and its first upstream, while a second one is well: no
// caller gets two answers or parts of two, none is asked again after the first byte or for a sealed
// body, and nothing that may be billed goes out twice unless the operator says so.
// `POSTERN_LONG=1 bun test test/fallback/faults.test.ts`: a thousand of each.

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { type Direction, type Toxic, type ToxicProxy, toxicProxy } from '../faults/toxic.ts'
import { wire } from '../stream/wire.ts'
import { ENCAPSULATED_KEY } from '../support/gate.ts'
import { howMany, LONG } from '../support/long.ts'
import { PATIENCE_MS, soon } from '../support/patience.ts'
import { CHAT, type FallbackScene, fallbackScene } from './scene.ts'
import { answer, type Said, stream, type Taken } from './scripted-upstream.ts'

const COUNT = howMany(12, 1000)
/** So many at once. */
const BATCH = 100

interface Fault {
  readonly toxics: Partial<Readonly<Record<Direction, Toxic>>> | 'down'
}
const up = (toxic: Toxic): Fault => ({ toxics: { upstream: toxic } })
const down = (toxic: Toxic): Fault => ({ toxics: { downstream: toxic } })
const FAULTS: Readonly<Record<string, Fault>> = {
  'latency upstream': up({ kind: 'latency', latencyMs: 20, jitterMs: 20 }),
  'latency downstream': down({ kind: 'latency', latencyMs: 20, jitterMs: 20 }),
  'bandwidth upstream': up({ kind: 'bandwidth', bytesPerSecond: 100_000 }),
  'bandwidth downstream': down({ kind: 'bandwidth', bytesPerSecond: 100_000 }),
  'slow_close upstream': up({ kind: 'slow_close', delayMs: 30 }),
  'slow_close downstream': down({ kind: 'slow_close', delayMs: 30 }),
  'slicer upstream': up({ kind: 'slicer', averageBytes: 80, variationBytes: 70, delayMs: 1 }),
  'slicer downstream': down({ kind: 'slicer', averageBytes: 80, variationBytes: 70, delayMs: 1 }),
  'timeout upstream': up({ kind: 'timeout', timeoutMs: 60 }),
  'timeout downstream': down({ kind: 'timeout', timeoutMs: 60 }),
  'reset_peer upstream': up({ kind: 'reset_peer', timeoutMs: 0 }),
  'reset_peer downstream': down({ kind: 'reset_peer', timeoutMs: 0 }),
  'reset_peer later': down({ kind: 'reset_peer', timeoutMs: 20 }),
  'limit_data upstream': up({ kind: 'limit_data', bytes: 0, variationBytes: 900 }),
  'limit_data downstream': down({ kind: 'limit_data', bytes: 0, variationBytes: 1500 }),
  down: { toxics: 'down' },
}

/** Each upstream signs what it says. */
const speaking =
  (name: string) =>
  ({ body }: Taken): Said => {
    const by = `${name} ${idOf(body)}`
    return body.includes('"stream":true')
      ? stream(12, by)
      : answer(200, JSON.stringify({ id: by, choices: [] }))
  }
const idOf = (body: string): string => /"user":"(id-\d+)"/.exec(body)?.[1] ?? ''

interface Outcome {
  readonly id: string
  readonly status: number
  readonly body: string
  readonly whole: boolean
}

interface Place {
  readonly scene: FallbackScene
  /** Several, since a caller who only fails is shut out by themselves. */
  readonly tokens: readonly string[]
  readonly proxy: ToxicProxy
}

let next = 0
async function ask(
  { scene, tokens }: Place,
  shape: 'whole' | 'stream' | 'sealed',
  token = tokens[next % tokens.length],
): Promise<Outcome> {
  const id = `id-${(next += 1)}`
  const sealed = shape === 'sealed'
  const one = wire(scene.gate.port, {
    ...(token !== undefined && { token }),
    path: '/v1/chat/completions',
    headers: [
      `Content-Type: application/${sealed ? 'octet-stream' : 'json'}`,
      ...(sealed ? [`Ehbp-Encapsulated-Key: ${ENCAPSULATED_KEY}`] : []),
      'Connection: close',
    ],
    body: sealed
      ? `sealed "user":"${id}"`
      : JSON.stringify({ ...CHAT, user: id, stream: shape === 'stream' }),
  })
  await soon(one.end, `${id}: an end`)
  one.socket.destroy()
  return { id, status: one.status, body: one.body().toString(), whole: one.whole }
}

async function ailing(place: Place, { toxics }: Fault, asking: () => Promise<Outcome>) {
  const { proxy, scene } = place
  scene.reached()
  if (toxics === 'down') await proxy.down()
  else
    for (const [direction, toxic] of Object.entries(toxics))
      proxy.set(direction as Direction, toxic)
  const outcomes: Outcome[] = []
  while (outcomes.length < COUNT) {
    const many = Math.min(BATCH, COUNT - outcomes.length)
    outcomes.push(...(await Promise.all(Array.from({ length: many }, asking))))
  }
  await proxy.heal()
  const seen = (taken: readonly Taken[]): Map<string, number> => {
    const counts = new Map<string, number>()
    for (const { body } of taken) counts.set(idOf(body), (counts.get(idOf(body)) ?? 0) + 1)
    return counts
  }
  const found = { outcomes, one: seen(scene.one.taken), two: seen(scene.two.taken) }
  // A success ends each caller's row of failures.
  for (const token of place.tokens) await ask(place, 'whole', token)
  return found
}

/** All that is wrong. */
function judged(
  { outcomes, one, two }: Awaited<ReturnType<typeof ailing>>,
  mayTwice: boolean,
): string[] {
  return outcomes.flatMap(({ id, status, body, whole }) => {
    const problems: string[] = []
    const must = (fact: boolean, problem: string): void => {
      if (!fact) problems.push(`${id}: ${problem} (${status}, ${body.slice(0, 80)})`)
    }
    const [ofOne, ofTwo] = [one.get(id) ?? 0, two.get(id) ?? 0]
    must(ofOne <= 1 && ofTwo <= 1, 'one upstream was asked twice')
    must(mayTwice || ofOne + ofTwo <= 1, 'both were asked')
    const said = [...body.matchAll(/"id":"(\w+) (id-\d+)"/g)]
    const names = new Set(said.map(([, name]) => name))
    must(names.size <= 1, 'parts of two answers')
    must(
      said.every(([, , its]) => its === id),
      "somebody else's answer",
    )
    if (names.has('one')) must(ofTwo === 0, 'asked again after the first byte')
    if (names.has('two')) must(status === 200 && whole, 'the second answer is not whole')
    if (ofTwo === 1) must(names.has('two'), 'the second was asked, and its answer did not come')
    must(status !== 0, 'no answer')
    if (status !== 200) must(whole && names.size === 0, 'neither an answer nor a refusal')
    return problems
  })
}

const PLAN = 'fallback: [{ routes: [chat], from: [one, two]'
const BILLED = ', on: [unreachable, open, overloaded, 5xx, unanswered], again_if_billed: true'
const CIRCUIT = 'limits: { circuit: { failures: 1000 } }'

async function placeOf(plan: string, oneEntry?: (url: string) => string): Promise<Place> {
  let proxy: ToxicProxy | undefined
  const scene = await fallbackScene(`${PLAN}${plan} }]\n${CIRCUIT}`, {
    ...(oneEntry && { oneEntry }),
    // Where connecting is slow and nothing else, another upstream may be asked: not here.
    env: { ...NOBODY, CONNECT_TIMEOUT_SECONDS: '25' },
    async oneUrl(url) {
      proxy = await toxicProxy(Number(new URL(url).port), 7)
      return proxy.url
    },
  })
  if (!proxy) throw new Error('no proxy')
  scene.one.say(speaking('one'))
  scene.two.say(speaking('two'))
  const tokens = [scene.token]
  while (tokens.length < COUNT / BATCH) tokens.push(await scene.key(`more-${tokens.length}`))
  return { scene, proxy, tokens }
}

const enclave = (url: string): string =>
  `kind: tinfoil, name: one, base_url: "${url}", api_key: "\${KEY_ONE}", require_ehbp: false, callers: [key]`

/** An enclave is for users, who are not asked for here. */
const NOBODY = {
  JWKS_URL: 'http://127.0.0.1:1/jwks',
  ISSUER: 'https://id.example',
  AUDIENCES: 'gate',
}

let careful: Place
let billed: Place
let sealed: Place
beforeAll(async () => {
  ;[careful, billed, sealed] = await Promise.all([
    placeOf(''),
    placeOf(BILLED),
    placeOf(BILLED, enclave),
  ])
})
afterAll(async () => {
  for (const { scene, proxy } of [careful, billed, sealed]) {
    await scene.close()
    await proxy.close()
  }
})

const mixed = (place: Place) => {
  let at = 0
  return () => ask(place, (at += 1) % 2 === 0 ? 'whole' : 'stream')
}

test.each(Object.entries(FAULTS))(
  '%s',
  async (name, fault) => {
    // At once, since a broken stream is told of a few seconds later.
    const [carefully, again, closed] = await Promise.all([
      ailing(careful, fault, mixed(careful)),
      ailing(billed, fault, mixed(billed)),
      ailing(sealed, fault, () => ask(sealed, 'sealed')),
    ])
    expect(judged(carefully, false)).toEqual([])
    expect(judged(again, true)).toEqual([])
    // Nobody opens a sealed body here, so only what reached each says anything.
    expect(closed.two.size).toBe(0)
    expect(closed.outcomes.filter(({ status }) => status === 0)).toEqual([])
    if (name === 'down') expect(carefully.two.size).toBe(COUNT)
    // What is reset at once may be so before a byte of the request has left; and a thousand requests that
    // nobody answers may shut the circuit. Then nothing went to the first, which was judged above.
    else if (!LONG && !name.startsWith('reset_peer')) expect(carefully.two.size).toBe(0)
    if (/^(?:timeout|reset_peer \w+stream|down)/.test(name)) expect(again.two.size).toBe(COUNT)
  },
  LONG ? 300_000 : 2 * PATIENCE_MS,
)
