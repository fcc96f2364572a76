// slowhttptest in its four modes, with more connections than one client would ever have. Others are
// served meanwhile, measured, and every connection is closed within its bound.

import { rawUpstream } from '../../stream/raw-upstream.ts'
import { lane } from '../lane.ts'
import { type QuietScene, quietScene } from '../quiet.ts'
import { judged, MIB, ms, type Own, percentile, type Size } from '../own.ts'
import type { Finding } from '../table.ts'

const CONNECTIONS = 500
const TEST_SECONDS = { full: 40, quick: 25 }
/** Ten seconds may any of them stand still; opening them takes two, and Bun's timer ticks every four. */
const BOUND_SECONDS = 20
const PLACES = 16
/** On a machine that the tool itself keeps busy. */
const P95_MS = 500

interface Mode {
  readonly id: string
  readonly attack: string
  readonly path: string
  readonly flags: (token: string) => readonly string[]
  /** For most of its time, so that others may run beside it. */
  readonly waits?: true
}

/** A window of 256 to 512 bytes, 32 of them read each second. */
const PACE = ['-w', '256', '-y', '512', '-n', '1', '-z', '32']

const MODES: readonly Mode[] = [
  {
    id: 'H',
    attack: 'slowhttptest -H: slow headers (slowloris), 500 connections',
    path: '/v1/models',
    flags: () => ['-H', '-i', '2'],
    waits: true,
  },
  {
    id: 'B',
    attack: 'slowhttptest -B: slow bodies, of an admitted client, 500 connections',
    path: '/v1/chat/completions',
    flags: (token) => ['-B', '-i', '2', '-s', '8192', '-j', cookie(token)],
  },
  {
    id: 'R',
    attack: 'slowhttptest -R: a thousand ranges, 500 connections',
    path: '/v1/models',
    flags: (token) => ['-R', '-t', 'GET', '-a', '1', '-b', '2000', '-j', cookie(token)],
  },
  {
    id: 'X',
    attack: 'slowhttptest -X: slow reading of 4 MiB, of an admitted client, 500 connections',
    path: '/v1/models?large',
    flags: (token) => ['-X', ...PACE, '-j', cookie(token)],
    waits: true,
  },
]
/** The tool has no flag for a credential: the value of the cookie is sent as it stands. */
const cookie = (token: string): string => `a=b\r\nAuthorization: Bearer ${token}`

export const SLOW_HTTP: readonly {
  readonly id: string
  readonly attack: string
  readonly expected: string
  readonly own: Own
}[] = MODES.map((mode) => ({
  id: mode.id,
  attack: mode.attack,
  expected: `others served, p95 ${P95_MS} ms; closed in ${BOUND_SECONDS} s but for its ${PLACES} places`,
  own: {
    name: `${mode.id}: ${mode.attack}`,
    needs: 'slowhttptest',
    ...(mode.waits && { beside: true }),
    run: (size) => attacked(mode, size),
  },
}))

async function attacked(mode: Mode, size: Size): Promise<Finding> {
  const seconds = TEST_SECONDS[size]
  const large = Buffer.alloc(4 * MIB, 120)
  const upstream = await rawUpstream(({ head, socket }) => {
    const body = head.includes('?large') ? large : Buffer.from('ok')
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.byteLength}\r\n\r\n`)
    socket.write(body)
  })
  const at = await quietScene({
    TINFOIL_BASE_URL: upstream.url,
    HEADERS_TIMEOUT_SECONDS: '6',
    BODY_TIMEOUT_SECONDS: '6',
    IDLE_TIMEOUT_SECONDS: '10',
    KEEP_ALIVE_SECONDS: '10',
    MAX_IDENTITY_CONCURRENCY: String(PLACES),
  })
  const flags = mode.flags(await at.token('attacker'))
  const own = at.gate.descriptors()
  const child = Bun.spawn(
    [
      'slowhttptest',
      ...flags,
      ...'-r 250 -p 3 -v 1'.split(' '),
      `-c${CONNECTIONS}`,
      `-l${seconds}`,
      `-u${at.gate.url}${mode.path}`,
    ],
    { stdout: 'pipe', stderr: 'inherit', env: { ...process.env, TERM: 'dumb' } },
  )
  const timer = setTimeout(() => child.kill('SIGKILL'), (seconds + 20) * 1000)
  const output = new Response(child.stdout).text()
  const started = performance.now()
  const others = await served(at, upstream, own, () => child.exitCode !== null)
  const took = (performance.now() - started) / 1000
  clearTimeout(timer)
  const alive = at.gate.alive()
  await at.close()
  await upstream.close()

  // oxlint-disable-next-line no-control-regex
  const text = (await output).replace(/\u001b\[[0-9;]*[A-Za-z]/g, '')
  const end = /Exit status:\s*(.+)/.exec(text)?.[1]?.trim()
  if (child.exitCode !== 0 || end === undefined) {
    return { state: 'not run', seen: `slowhttptest exited ${child.exitCode} after ${took} s` }
  }
  const available = [...text.matchAll(/service available:\s*(YES|NO)/g)].map(([, said]) => said)
  const { times, statuses, connections, busyUntilSeconds, left, carried } = others
  const p95 = percentile(times, 0.95)
  const told = Object.entries(statuses).map(([status, count]) => `${count} x ${status}`)
  return judged(
    `others ${told.join(', ')}, p50 ${ms(percentile(times, 0.5))}, p95 ${ms(p95)}, longest ${ms(Math.max(...times))}; ` +
      `${connections} connections at the most, gone after ` +
      `${busyUntilSeconds.toFixed(0)} s but for ${left}; ${carried} to the upstream; tool after ` +
      `${took.toFixed(0)} s: "${end}", available ${[...new Set(available)].join()}`,
    size,
    {
      'others served': Object.keys(statuses).join() === '200' && !available.includes('NO'),
      'in time': p95 < P95_MS,
      'no more of it upstream than its places': carried <= PLACES + 2,
      'closed within the bound': busyUntilSeconds < BOUND_SECONDS,
      alive: alive,
    },
  )
}

interface Others {
  readonly times: readonly number[]
  readonly statuses: Readonly<Record<string, number>>
  readonly connections: number
  /** When it last held more connections than an identity has places. */
  readonly busyUntilSeconds: number
  /** At the end. */
  readonly left: number
  readonly carried: number
}

/** Somebody else, who asks twenty times a second, each time on a connection of his own. */
async function served(
  at: QuietScene,
  upstream: { readonly connections: { readonly open: number } },
  own: number,
  over: () => boolean,
): Promise<Others> {
  const token = await at.token('somebody-else')
  const request = [
    'GET /v1/models HTTP/1.1',
    'Host: gate.test',
    `Authorization: Bearer ${token}`,
    'Connection: close',
  ]
  const times: number[] = []
  const statuses: Record<string, number> = {}
  let [connections, carried, left, busyUntilSeconds] = [0, 0, 0, 0]
  const started = performance.now()
  while (!over()) {
    const asked = performance.now()
    const one = await lane(at.gate.port)
    const status = await one.ask(`${request.join('\r\n')}\r\n\r\n`)
    one.close()
    times.push(performance.now() - asked)
    statuses[status] = (statuses[status] ?? 0) + 1
    left = at.gate.descriptors() - own - upstream.connections.open
    connections = Math.max(connections, left)
    if (left > PLACES + 2) busyUntilSeconds = (performance.now() - started) / 1000
    carried = Math.max(carried, upstream.connections.open)
    await Bun.sleep(50)
  }
  await Bun.sleep(500)
  left = at.gate.descriptors() - own - upstream.connections.open
  return { times, statuses, connections, busyUntilSeconds, left, carried }
}
