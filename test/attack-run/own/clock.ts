// 28: the clock of the gate's host, set by faketime: apart from the issuer's, and moved back and
// forth while limits, circuits and keys are in force.

import { rmSync, writeFileSync } from 'node:fs'
import { startForge } from '../../support/forge.ts'
import { type Scene, scene } from '../../support/gate.ts'
import { bearer, eventually } from '../../support/sink.ts'
import { judged, type Own } from '../own.ts'
import { preload } from '../faketime.ts'

export const CLOCK: Own = {
  name: '28: clocks apart, and moving',
  needs: 'faketime',
  beside: true,
  async run(size) {
    const skew = await apart()
    const moved = await moving()
    return judged(`${skew.seen}; ${moved.seen}`, size === 'quick' ? 'full' : size, {
      ...skew.bounds,
      ...moved.bounds,
    })
  },
}

interface Part {
  readonly seen: string
  readonly bounds: Readonly<Record<string, boolean>>
}

/** The gate's clock stands still, so that 60 s are 60 s. */
async function apart(): Promise<Part> {
  const forge = await startForge()
  const now = Math.floor(Date.now() / 1000)
  const frozen = new Date(now * 1000).toISOString().slice(0, 19).replace('T', ' ')
  const at = await scene({ env: { ...forge.env, ...preload({ FAKETIME: frozen }) } })
  const statusOf = async (claims: Readonly<Record<string, number>>): Promise<number> => {
    const usual = { iat: now - 100, exp: now + 900 }
    const token = forge.token(forge.claims({ ...usual, ...claims }))
    return (await fetch(`${at.gate.url}/v1/models`, { headers: bearer(token) })).status
  }
  const within = [{ exp: now - 59 }, { iat: now + 60 }, { nbf: now + 60 }]
  const edge = await statusOf({ exp: now - 60 })
  const beyond = [{ exp: now - 61 }, { iat: now + 61 }, { nbf: now + 61 }]
  const good = await Promise.all(within.map(statusOf))
  const bad = await Promise.all(beyond.map(statusOf))
  await at.close()
  await forge.close()
  return {
    seen: `exp -59, iat +60, nbf +60: ${good.join()}; exp -60: ${edge}; 61: ${bad.join()}`,
    bounds: {
      '60 s pass': good.every((status) => status === 200) && edge === 200,
      '61 s refused': bad.every((status) => status === 401),
    },
  }
}

async function moving(): Promise<Part> {
  const file = `${process.env['POSTERN_TEST_FOLDER']}/clock-${crypto.randomUUID()}`
  const set = (offset: string): void => writeFileSync(file, offset)
  set('+0')
  const clock = preload({ FAKETIME_TIMESTAMP_FILE: file, FAKETIME_NO_CACHE: '1' })
  const limiting = await scene({ env: { ...clock, RATE_LIMIT_RPM: '30', RATE_LIMIT_BURST: '2' } })
  const breaking = await scene({
    env: { ...clock, RATE_LIMIT_RPM: '0', CIRCUIT_FAILURES: '2', CIRCUIT_OPEN_SECONDS: '3' },
  })
  const seen: string[] = []
  const bounds: Record<string, boolean> = {}
  for (const [name, offset] of [
    ['an hour back', '-1h'],
    ['an hour on', '+1h'],
  ] as const) {
    set('+0')
    const limited = await limitsWhile(limiting, () => set(offset), name)
    set('+0')
    const broken = await circuitWhile(breaking, () => set(offset))
    seen.push(`${name}: limit ${limited.join()}, circuit ${broken.join()}`)
    bounds[`${name}, a spent rate stays spent and comes back in time`] =
      limited.join() === '200,200,429,429,200'
    bounds[`${name}, an open circuit stays open and probes in time`] =
      broken.join() === '500,500,503,503,200'
  }
  await limiting.close()
  await breaking.close()
  rmSync(file)
  return { seen: seen.join('; '), bounds }
}

/** Valid on either side of an hour. */
async function ask(at: Scene, sub: string): Promise<number> {
  const iat = Math.floor(Date.now() / 1000) - 7200
  const headers = bearer(await at.issuer.token({ sub, iat }))
  const response = await fetch(`${at.gate.url}/v1/models`, { headers })
  await response.bytes()
  return response.status
}

/** Two that fit, one that does not, the clock moves, one that still does not; and in 2 s one. */
async function limitsWhile(at: Scene, move: () => void, sub: string): Promise<number[]> {
  const statuses = [await ask(at, sub), await ask(at, sub), await ask(at, sub)]
  move()
  await moved(at)
  statuses.push(await ask(at, sub))
  await Bun.sleep(2100)
  return [...statuses, await ask(at, sub)]
}

/**
 * Two who were answered fail, which opens it for all; then the clock moves. To those who have failed it
 * is shut until its time is over.
 */
async function circuitWhile(at: Scene, move: () => void): Promise<number[]> {
  const [first, second] = [crypto.randomUUID(), crypto.randomUUID()]
  at.upstream.respond((_request, response) => void response.end('{}'))
  await ask(at, first)
  await ask(at, second)
  at.upstream.respond((_request, response) => void response.writeHead(500).end())
  const statuses = [await ask(at, first), await ask(at, second), await ask(at, first)]
  move()
  await moved(at)
  statuses.push(await ask(at, second))
  at.upstream.respond((_request, response) => void response.end('{}'))
  await Bun.sleep(3100)
  statuses.push(await ask(at, first))
  // Two good probes close it for the next round.
  await ask(at, second)
  return statuses
}

/** The log's own clock says that the gate has seen it. */
async function moved(at: Scene): Promise<void> {
  await eventually(async () => {
    const response = await fetch(`${at.gate.url}/nowhere`)
    const line = await at.gate.logged(response.headers.get('x-request-id') ?? '')
    return Math.abs(Date.parse(String(line['time'])) - Date.now()) > 1_800_000
  })
}
