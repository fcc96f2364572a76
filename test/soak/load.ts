// A crowd at a modest pace: users and devices, whole answers and streams, sealed ones, uploads,
// clients that leave, clients that read slowly, and those that must be refused.

import type { Circumstances } from '../faults/judge.ts'
import {
  type Asking,
  isDevice,
  pathOf,
  requestBody,
  requestHeaders,
  type Shape,
} from '../faults/shapes.ts'
import type { Random } from '../support/random.ts'
import { type Wire, wire, type WireRequest } from '../stream/wire.ts'
import type { Finished } from './accounts.ts'

export interface Crowd {
  /** One more client; it is told of when it has finished. */
  come(): void
  readonly inFlight: number
  /** By kind. */
  readonly came: ReadonlyMap<string, number>
  readonly stalled: readonly string[]
  readonly wronglyAnswered: readonly string[]
}

export interface CrowdOptions {
  readonly random: Random
  readonly port: number
  readonly userToken: (user: number) => string
  readonly deviceToken: (device: number) => string
  /** How things stand; told again when the client has finished. */
  readonly circumstances: (beganMs: number) => Circumstances
  readonly finish: (finished: Finished) => void
}

type Manner = 'patient' | 'leaves' | 'slow'

interface Kind {
  readonly name: string
  readonly weight: number
  readonly shape?: Shape
  readonly manner?: Manner
}

const KINDS: readonly Kind[] = [
  { name: 'user, whole', weight: 18, shape: 'chat_whole' },
  { name: 'user, streamed', weight: 18, shape: 'chat' },
  { name: 'user, sealed', weight: 14, shape: 'sealed' },
  { name: 'user, upload', weight: 6, shape: 'upload' },
  { name: 'device, streamed', weight: 22, shape: 'message' },
  { name: 'device, whole', weight: 6, shape: 'message_whole' },
  { name: 'user, leaves', weight: 4, shape: 'chat', manner: 'leaves' },
  { name: 'device, leaves', weight: 4, shape: 'message', manner: 'leaves' },
  { name: 'device, reads slowly', weight: 3, shape: 'message', manner: 'slow' },
  { name: 'refused', weight: 5 },
]

/** Whoever has waited so long was left standing: no trouble here lasts that long. */
const STALLED_MS = 40_000
const USERS = 40
export const DEVICES = 4
const SLOW_BYTES = 150_000
const SLOW_PAUSE_MS = 150

export function crowd(options: CrowdOptions): Crowd {
  const { random, port, circumstances, finish } = options
  const came = new Map<string, number>()
  const stalled: string[] = []
  const wronglyAnswered: string[] = []
  let inFlight = 0
  let number = 0

  const end = async (one: Wire, id: string): Promise<void> => {
    const late = setTimeout(() => {
      stalled.push(id)
      one.socket.destroy()
    }, STALLED_MS)
    await Promise.race([one.finished, one.end])
    clearTimeout(late)
    one.socket.destroy()
  }

  const ask = async (shape: Shape, manner: Manner): Promise<void> => {
    const large = manner === 'slow'
    const asking: Asking = {
      id: `soak-${number}`,
      shape,
      number,
      events: large ? 300 : 5 + random.int(40),
      eventBytes: large ? 5000 : 40 + random.int(400),
      gapMs: large ? 0 : 5 + random.int(60),
      uploadBytes: 50_000 + random.int(400_000),
    }
    const beganMs = performance.now()
    const device = isDevice(shape)
    const one = wire(port, {
      token: device
        ? options.deviceToken(random.int(DEVICES))
        : options.userToken(random.int(USERS)),
      path: pathOf(asking),
      headers: [...requestHeaders(asking), ...(random.next() < 0.5 ? ['Connection: close'] : [])],
      body: requestBody(asking),
    })
    let left = false
    if (manner === 'leaves') {
      const how = random.next()
      setTimeout(() => {
        left = true
        if (how < 0.5) one.socket.destroy()
        else one.socket.resetAndDestroy()
      }, random.int(700))
    }
    if (large) readSlowly(one)
    await end(one, asking.id)
    finish({
      kind: 'asked',
      outcome: { asking, status: one.status, body: one.body(), whole: one.whole, left },
      circumstances: circumstances(beganMs),
      atMs: performance.now(),
    })
  }

  const beRefused = async (): Promise<void> => {
    const id = `soak-${number}`
    const [name, status, request] = random.pick(refusals(options, random))
    const beganMs = performance.now()
    const headers = [`X-Request-Id: ${id}`, ...(request.headers ?? [])]
    const one = wire(port, { ...request, headers })
    await end(one, id)
    const { clientWell } = circumstances(beganMs)
    const missed = one.status === 0 && !clientWell
    if (one.status !== status && !missed) wronglyAnswered.push(`${id}: ${name}: ${one.status}`)
    finish({ kind: 'refused', id, atMs: performance.now() })
  }

  return {
    come() {
      number += 1
      const { name, shape, manner = 'patient' } = weighted(random)
      came.set(name, (came.get(name) ?? 0) + 1)
      inFlight += 1
      void (shape ? ask(shape, manner) : beRefused()).finally(() => {
        inFlight -= 1
      })
    },
    get inFlight() {
      return inFlight
    },
    came,
    stalled,
    wronglyAnswered,
  }
}

function weighted({ next }: Random): Kind {
  let at = next() * KINDS.reduce((total, { weight }) => total + weight, 0)
  return KINDS.find(({ weight }) => (at -= weight) < 0) ?? (KINDS[0] as Kind)
}

function readSlowly(one: Wire): void {
  let until = SLOW_BYTES
  one.socket.on('data', () => {
    if (one.bodyBytes < until) return
    until += SLOW_BYTES
    one.socket.pause()
    setTimeout(() => one.socket.resume(), SLOW_PAUSE_MS)
  })
}

function refusals(
  { userToken, deviceToken }: CrowdOptions,
  random: Random,
): readonly (readonly [name: string, status: number, request: WireRequest])[] {
  const [user, device] = [userToken(random.int(USERS)), deviceToken(random.int(DEVICES))]
  const chat = { path: '/v1/chat/completions', body: '{}' }
  const messages = { path: '/v1/messages', body: '{}' }
  const broken = `${user.slice(0, -9)}AAAAAAAAA`
  return [
    ['no credential', 401, chat],
    ['a broken signature', 401, { ...chat, token: broken }],
    ['a token of another kind', 401, { ...chat, token: device }],
    ['a user on a device route', 401, { ...messages, token: user }],
    ['no token at all', 401, { ...messages, token: `x${random.int(1e9)}` }],
    ['an unknown route', 404, { path: `/v2/${random.int(1e9)}`, token: user }],
    ['a wrong method', 405, { path: '/v1/messages', token: device }],
  ]
}
