// What it costs to choose an upstream, in this process: by the route alone, and by the model that a body
// of 1 KB names, between eight upstreams. No gate runs; the code is the gate's own.

import { type Choices, servedModel } from '../../src/dispatch/choose.ts'
import { choosing } from '../../src/accept/choosing.ts'
import { exchangeOf } from '../../src/exchange.ts'
import { policy } from '../../src/policy/policy.ts'
import { bodyModel } from '../../src/upstream/reading/body-model.ts'
import { unreached } from '../support/served.ts'
import type { Figures, Part } from './part.ts'
import { median } from './statistics.ts'

const TURNS = 50
const TIMES = 2000

export const CHOOSING: Part = {
  name: 'choosing',
  about: 'choosing an upstream',
  subjects: ['postern'],
  measure: async () => choosingCosts(),
}

const never = (): never => {
  throw new Error('asked')
}
const choose = choosing({
  ownerOf: never,
  askedModels: { told: never, having: never },
})
const admitted = { kind: 'user', identity: 'x', policy: policy({ name: 'all' }) } as never
const exchange = exchangeOf({
  requestId: 'x',
  at: { epochSeconds: 0, monotonicMs: 0 },
  method: 'POST',
  route: '/v1/chat/completions',
  dialect: 'openai',
  silent: false,
  headers: new Headers(),
})
const head = '{"model":"model-7","messages":[{"role":"user","content":"'
const body = Buffer.from(`${head}${'All work and no play. '.repeat(44)}"}]}`)
const asked = {
  request: new Request('http://gate/v1/chat/completions', {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'content-length': String(body.byteLength) },
  }),
  path: '/v1/chat/completions',
  hasBody: true,
  isOwned: false,
  model: undefined,
  group: 'chat',
  lists: undefined,
} as const
const inspected = {
  ok: true,
  value: { sealed: false, length: body.byteLength, maxBytes: 1e6 },
} as const

function choicesOf(count: number): Choices {
  const served = Array.from({ length: count }, (_, at) => {
    const one = unreached('openai', `upstream-${at}`)
    const models = count === 1 ? undefined : [`model-${at}`, `family-${at}-*`]
    return { ...one, models, upstream: { ...one.upstream, inspect: () => inspected } as never }
  })
  return { user: served, device: served, key: served, session: [] }
}

export function choosingCosts(): Figures {
  const [one, eight] = [choicesOf(1), choicesOf(8)]
  const first = (choices: Choices) => {
    const chosen = choose(choices, admitted, asked, exchange)
    if (chosen instanceof Promise || !chosen.ok) throw new Error('not chosen')
    return chosen.value
  }
  return {
    oneUs: eachUs(() => first(one).on),
    byModelUs: eachUs(() => {
      const { among } = first(eight)
      const model = bodyModel(body)
      const on = model.ok ? servedModel(among, model.value) : model
      if (!on.ok) throw new Error('not served')
      return on.value
    }),
  }
}

/** CPU time: the median of many turns, after as many to warm up. */
function eachUs(work: () => unknown): number {
  const turns: number[] = []
  let seen: unknown
  for (let turn = 0; turn < 2 * TURNS; turn++) {
    const begun = process.cpuUsage()
    for (let time = 0; time < TIMES; time++) seen = work()
    const { user, system } = process.cpuUsage(begun)
    if (turn >= TURNS) turns.push((user + system) / TIMES)
  }
  if (seen === undefined) throw new Error('nothing was chosen')
  return median(turns)
}
