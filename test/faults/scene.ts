// The compiled binary with a proxy on each of its ways out and in: to its clients, to its upstreams,
// to its key set. A ledger in a file, and three accounts of each request to hold against each other.

import { Database } from 'bun:sqlite'
import { mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type DevIssuer, startIssuer } from '../../src/dev/issuer.ts'
import { type Running, start } from '../support/binary.ts'
import { runCommand } from '../support/command.ts'
import { HASH_KEY, devicesOf, UNLIMITED } from '../support/settings.ts'
import { eventually } from '../support/sink.ts'
import { soon } from '../support/patience.ts'
import { type Wire, wire } from '../stream/wire.ts'
import { type CountingUpstream, countingUpstream } from './counting-upstream.ts'
import { type Circumstances, judge, type Outcome, type Row, UNADMITTED } from './judge.ts'
import { type Asking, isDevice, pathOf, requestBody, requestHeaders, type Shape } from './shapes.ts'
import { type ToxicProxy, toxicProxy } from './toxic.ts'

export interface FaultScene {
  readonly gate: Running
  readonly upstream: CountingUpstream
  readonly issuer: DevIssuer
  /** Before the gate, the upstream and the key set. */
  readonly front: ToxicProxy
  readonly back: ToxicProxy
  readonly keys: ToxicProxy
  /** One request, through `front` or another proxy before the same gate. */
  ask(shape: Shape, more?: AskOptions): Asked
  rows(): Row[]
  /** Until every row is closed and the gate holds as many sockets as it did at rest. */
  rest(): Promise<void>
  /** All that is wrong with these, once the gate has come to rest. */
  judged(outcomes: readonly Outcome[], circumstances: Circumstances): Promise<string[]>
  close(): Promise<void>
}

export interface AskOptions extends Partial<Omit<Asking, 'id' | 'shape'>> {
  readonly through?: ToxicProxy
  readonly token?: string
  /** No `Connection: close`: the connection stays. */
  readonly keep?: boolean
}

export interface Asked {
  readonly asking: Asking
  readonly wire: Wire
  /** When it has ended; leaves by itself then. */
  readonly outcome: Promise<Outcome>
  leave(how: 'fin' | 'reset'): void
}

export interface FaultSceneOptions {
  readonly env?: Readonly<Record<string, string>>
  /** Before the gate starts; its first look at the key set may already fail. */
  readonly ail?: (proxies: Pick<FaultScene, 'front' | 'back' | 'keys'>) => void | Promise<void>
  /** Does not wait for a gate that is ready. */
  readonly unready?: boolean
}

/** For scenes in which the gate itself must end what stands still. */
export const HASTY = {
  HEADERS_TIMEOUT_SECONDS: '2',
  BODY_TIMEOUT_SECONDS: '2',
  IDLE_TIMEOUT_SECONDS: '2',
} as const

/** However it ends, it has ended by then: after 4 s a break shows; the rest is for busy machines. */
/** And a little more. */
const FLUSH_MS = 300
const IDENTITY_KEY = HASH_KEY

let scenes = 0

/** More gates at once would only keep each other waiting. */
const MOST_SCENES = 8
const places: (() => void)[] = []
let open = 0

/** Resolves when there is a place for a scene, with the function that gives it back. */
async function place(): Promise<() => void> {
  if (open === MOST_SCENES) await new Promise<void>((resolve) => places.push(resolve))
  else open += 1
  return () => {
    const next = places.shift()
    if (next) next()
    else open -= 1
  }
}

export async function faultScene(options: FaultSceneOptions = {}): Promise<FaultScene> {
  const giveBack = await place()
  try {
    const scene = await openScene(options)
    return { ...scene, close: () => scene.close().finally(giveBack) }
  } catch (error) {
    giveBack()
    throw error
  }
}

async function openScene({
  env = {},
  ail,
  unready = false,
}: FaultSceneOptions): Promise<FaultScene> {
  const seed = Number(process.env['FAULT_SEED'] ?? 20_261) + scenes++
  const folder = mkdtempSync(join(tmpdir(), 'postern-faults-'))
  const issuer = await startIssuer()
  const upstream = await countingUpstream({ closing: true })
  const back = await toxicProxy(upstream.port, seed)
  const keys = await toxicProxy(Number(new URL(issuer.jwksUrl).port), seed + 1)
  // The gate's port is not known yet, and nobody asks before it is.
  const front = await toxicProxy(upstream.port, seed + 2)
  await ail?.({ front, back, keys })
  const common = {
    DATABASE_URL: `sqlite:${folder}/postern.db`,
    IDENTITY_HASH_KEY: IDENTITY_KEY,
  }
  const gate = await start({
    JWKS_URL: issuer.jwksUrl.replace(/:\d+\//, `:${keys.port}/`),
    ISSUER: issuer.issuer,
    AUDIENCES: issuer.audience,
    TINFOIL_API_KEY: 'tinfoil-key-canary',
    TINFOIL_BASE_URL: back.url,
    ...devicesOf(back.url),
    REQUIRE_EHBP: 'false',
    ...UNLIMITED,
    CIRCUIT_FAILURES: '1000',
    ...common,
    ...env,
  })
  front.target(gate.port)
  if (!unready)
    await eventually(async () => (await fetch(`${gate.url}/readyz`, { keepalive: false })).ok)
  const device = await enrol(gate, folder, common)
  const user = await issuer.token()
  const database = new Database(`${folder}/postern.db`, { readonly: true })
  const socketsAtRest = await restingSockets(gate.process.pid)
  let asked = 0

  const rows = (): Row[] => database.query<Row, []>('SELECT * FROM ledger').all()
  const scene: FaultScene = {
    gate,
    upstream,
    issuer,
    front,
    back,
    keys,
    ask(shape, { through = front, token, keep = false, ...more } = {}) {
      asked += 1
      const asking: Asking = {
        id: `${shape}-${asked}`,
        shape,
        number: asked,
        events: 20,
        eventBytes: 300,
        gapMs: 10,
        uploadBytes: 400_000,
        ...more,
      }
      const headers = [...requestHeaders(asking), ...(keep ? [] : ['Connection: close'])]
      const one = wire(through.port, {
        token: token ?? (isDevice(shape) ? device : user),
        path: pathOf(asking),
        headers,
        body: requestBody(asking),
      })
      let left = false
      const finish = async (): Promise<Outcome> => {
        await soon(Promise.race([one.finished, one.end]), `${asking.id}: an end`)
        one.socket.destroy()
        return { asking, status: one.status, body: one.body(), whole: one.whole, left }
      }
      return {
        asking,
        wire: one,
        outcome: finish(),
        leave(how) {
          left = true
          if (how === 'reset') one.socket.resetAndDestroy()
          else one.socket.destroy()
        },
      }
    },
    rows,
    async rest() {
      await eventually(async () => rows().every((row) => row.end_reason !== null))
      await eventually(async () => sockets(gate.process.pid) <= socketsAtRest).catch(() => {
        const now = sockets(gate.process.pid)
        throw new Error(`${now} sockets are open, ${socketsAtRest} were at rest`)
      })
    },
    async judged(outcomes, circumstances) {
      const ids = new Set(outcomes.map(({ asking }) => asking.id))
      const found = new Map<string, Row>()
      const isDue = ({ asking: { id }, status }: Outcome): boolean =>
        upstream.counted.has(id) || (status !== 0 && !UNADMITTED.has(status))
      // A row is written a quarter of a second after its request, and its end may come later yet.
      await Bun.sleep(FLUSH_MS)
      await eventually(async () => {
        for (const row of rows()) if (ids.has(row.request_id)) found.set(row.request_id, row)
        const waiting = outcomes.some((each) => isDue(each) && !found.has(each.asking.id))
        return !waiting && [...found.values()].every((row) => row.end_reason !== null)
      }).catch(() => {
        // What is missing is told of each request.
      })
      const doubled = upstream.doubled.map((id) => `${id}: asked of the upstream twice`)
      const problems = outcomes.flatMap((outcome) => {
        const { id } = outcome.asking
        return judge(outcome, upstream.counted.get(id), found.get(id), circumstances)
      })
      return [...doubled, ...problems]
    },
    async close() {
      database.close()
      await gate.stop()
      for (const proxy of [front, back, keys]) await proxy.close()
      await upstream.close()
      await issuer.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
  return scene
}

async function enrol(
  gate: Running,
  folder: string,
  env: Readonly<Record<string, string>>,
): Promise<string> {
  const { stdout } = await runCommand(['enrol'], env, folder)
  const response = await fetch(`${gate.url}/bootstrap`, {
    method: 'POST',
    keepalive: false,
    body: JSON.stringify({ device_id: 'device', enrollment_code: stdout.trim() }),
  })
  return ((await response.json()) as { wrapper_token: string }).wrapper_token
}

/** Of a process, its listeners among them; Linux. */
export function sockets(pid: number): number {
  const folder = `/proc/${pid}/fd`
  return readdirSync(folder).filter((name) => {
    try {
      return readlinkSync(`${folder}/${name}`).startsWith('socket:')
    } catch {
      // Closed since it was listed.
      return false
    }
  }).length
}

/** Once the connections of its own start are gone, which a client here keeps for no one. */
export async function restingSockets(pid: number): Promise<number> {
  let least = sockets(pid)
  for (let quiet = 0; quiet < 10; quiet += 1) {
    await Bun.sleep(10)
    const now = sockets(pid)
    if (now < least) quiet = 0
    least = Math.min(least, now)
  }
  return least
}

/** What a scene must have left behind when its tests are over. */
export async function leftNothing({ gate }: FaultScene): Promise<string[]> {
  const bugs = gate
    .lines()
    .filter(({ msg }) => /^un(?:handled|caught) |internal/.test(String(msg)))
    .map((line) => JSON.stringify(line))
  return [...bugs, ...(gate.errors() === '' ? [] : [gate.errors()])]
}
