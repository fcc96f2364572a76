// `just soak MINUTES`: the compiled binary under mixed load, with something going wrong every thirty
// seconds. At the end it must be as it was: no more memory, no more descriptors, nothing on stderr,
// and a ledger that says of every single request what the upstream's own accounts say. Exit code 1
// where anything is off. SOAK_SEED repeats a run's choices, SOAK_RATE is requests a second.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Counted, countingUpstream } from '../faults/counting-upstream.ts'
import { restingSockets, sockets } from '../faults/scene.ts'
import { toxicProxy } from '../faults/toxic.ts'
import { runToEnd, until } from '../support/binary.ts'
import { random } from '../support/random.ts'
import { HASH_KEY, devicesOf } from '../support/settings.ts'
import { eventually } from '../support/sink.ts'
import { accounts, type Sums } from './accounts.ts'
import { longRunning } from './gate.ts'
import { rotatingIssuer } from './issuer.ts'
import { crowd, DEVICES } from './load.ts'
import { type Sample, slopeOf } from './slope.ts'
import { type Trouble, type Troubled, TROUBLES } from './troubles.ts'

const minutes = Number(process.argv[2] ?? 10)
const seed = Number(process.env['SOAK_SEED'] ?? Math.floor(Math.random() * 2 ** 32))
const ratePerSecond = Number(process.env['SOAK_RATE'] ?? 10)
if (!(minutes > 0 && minutes <= 10_080 && ratePerSecond > 0)) {
  console.error('usage: soak MINUTES, up to a week; SOAK_RATE is more than 0')
  process.exit(2)
}

const LINE_MS = 10_000
const TROUBLE_EVERY_MS = 30_000
/** After a trouble until all of it has shown: timeouts, an open circuit, and its probes. */
const AFTERMATH_MS = 14_000
/** A user's token serves so long before another is asked for. */
const TOKEN_MS = 20_000
/** What is filled once, as caches and compiled code are, is no leak. */
const WARM_UP_MS = Math.min(minutes * 60_000 * 0.3, 180_000)
/** Memory may have grown by this, as surely as 95 %, in the whole time after that. */
const GROWTH_BYTES = 24 * 1024 * 1024
const MAX_RSS_BYTES = 256 * 1024 * 1024
/** SQLite opens and closes files of its own. */
const SPARE_DESCRIPTORS = 3
/** Idle connections to the upstream are kept for fifteen seconds. */
const REST_MS = 60_000
/** Seconds whose least is one sample: what a collection would free in a moment is no leak. */
const TICKS_OF_SAMPLE = 5
const MB = 1_048_576

const folder = mkdtempSync(join(tmpdir(), 'postern-soak-'))
const database = join(folder, 'postern.db')
const counted = new Map<string, Counted>()
const doubled: string[] = []
const issuer = await rotatingIssuer()
let upstream = await countingUpstream({ counted, doubled })
const back = await toxicProxy(upstream.port, seed)
const keys = await toxicProxy(issuer.port, seed + 1)
const common = { DATABASE_URL: `sqlite:${database}`, IDENTITY_HASH_KEY: HASH_KEY }
const gate = await longRunning(
  {
    HOST: '127.0.0.1',
    PORT: '0',
    LOG_FORMAT: 'json',
    TMPDIR: folder,
    JWKS_URL: `${keys.url}/jwks.json`,
    ISSUER: issuer.issuer,
    AUDIENCES: issuer.audience,
    JWKS_REFRESH_SECONDS: '5',
    TINFOIL_API_KEY: 'tinfoil-key-canary',
    TINFOIL_BASE_URL: back.url,
    ...devicesOf(back.url),
    REQUIRE_EHBP: 'false',
    RATE_LIMIT_RPM: '1000000',
    RATE_LIMIT_BURST: '1000000',
    MAX_IDENTITY_CONCURRENCY: '10000',
    MAX_UPSTREAM_CONCURRENCY: '10000',
    CONNECT_TIMEOUT_SECONDS: '2',
    HEADERS_TIMEOUT_SECONDS: '5',
    IDLE_TIMEOUT_SECONDS: '5',
    CIRCUIT_OPEN_SECONDS: '2',
    ...common,
  },
  folder,
)
const front = await toxicProxy(gate.port, seed + 2)
await eventually(async () => (await fetch(`${gate.url}/readyz`, { keepalive: false })).ok)

const devices = await Promise.all(
  Array.from({ length: DEVICES }, async (_, index) => {
    const { stdout } = await runToEnd(['enrol'], common, folder)
    return post('/bootstrap', { device_id: `device-${index}`, enrollment_code: stdout.trim() })
  }),
)

async function post(path: string, body: object, token?: string): Promise<string> {
  const response = await fetch(gate.url + path, {
    method: 'POST',
    keepalive: false,
    body: JSON.stringify(body),
    headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
  })
  const { wrapper_token: minted } = (await response.json()) as { wrapper_token?: string }
  if (minted === undefined) throw new Error(`${path}: ${response.status}`)
  return minted
}

const troubled: Troubled = {
  front,
  back,
  keys,
  issuer,
  async restartUpstream() {
    await upstream.close()
    await Bun.sleep(2000)
    upstream = await countingUpstream({ counted, doubled })
    back.target(upstream.port)
  },
  async refreshDevices() {
    for (const [index, token] of devices.entries()) {
      devices[index] = await post('/refresh', {}, token)
    }
  },
}

const tokens = new Map<number, { readonly token: string; readonly atMs: number }>()
function userToken(user: number): string {
  const now = performance.now()
  const known = tokens.get(user)
  if (known && now - known.atMs < TOKEN_MS) return known.token
  const token = issuer.token(`user-${user}`)
  tokens.set(user, { token, atMs: now })
  return token
}

/** The last trouble that could harm a request; a running one has no end yet. */
let harm = { beganMs: -Infinity, overMs: -Infinity }
const book = accounts(database, counted)
const people = crowd({
  random: random(seed),
  port: front.port,
  userToken,
  deviceToken: (device) => devices[device] ?? '',
  finish: book.finish,
  circumstances(beganMs) {
    // Well only where it began after the last trouble's aftermath, and none has come since.
    const well = beganMs > harm.overMs + AFTERMATH_MS
    return { clientWell: well, upstreamWell: well }
  },
})

const samples: Sample[] = []
const socketsAtRest = await restingSockets(gate.pid)
const descriptorsAtRest = gate.descriptors()
const started = performance.now()
const elapsed = (): number => performance.now() - started
let peakBytes = 0
let least = Infinity
let ticks = 0
let troubles = 0
let current = '-'
const stop = new AbortController()

function line(): void {
  const came = [...people.came.values()].reduce((sum, each) => sum + each, 0)
  const ended = (name: string): string => `${name} ${book.ends.get(name) ?? 0}`
  const seconds = String(Math.round(elapsed() / 1000)).padStart(6)
  console.log(
    `${seconds} s  asked ${came}  in flight ${people.inFlight}  ` +
      `${['complete', 'client_gone', 'upstream_error', 'timeout'].map(ended).join('  ')}  ` +
      `RSS ${mb(gate.rssBytes())} MB  descriptors ${gate.descriptors()}  ` +
      `problems ${problemCount()}  now: ${current}`,
  )
}

const mb = (bytes: number): string => (bytes / MB).toFixed(1)
const problemCount = (): number =>
  book.problemCount +
  doubled.length +
  people.stalled.length +
  people.wronglyAnswered.length +
  gate.alarms.length

/** Each once, in an order of the seed's, before any comes again. */
function* order(): Generator<Trouble> {
  const { int } = random(seed + 3)
  for (;;) {
    const left = [...TROUBLES]
    while (left.length > 0) yield* left.splice(int(left.length), 1)
  }
}

async function makeTrouble(): Promise<void> {
  for (const trouble of order()) {
    const due = (troubles + 1) * TROUBLE_EVERY_MS
    while (elapsed() < due && !stop.signal.aborted) await Bun.sleep(100)
    if (stop.signal.aborted || elapsed() + trouble.seconds * 1000 > minutes * 60_000) return
    troubles += 1
    current = trouble.name
    if (!trouble.harmless) harm = { beganMs: performance.now(), overMs: Infinity }
    await trouble.begin(troubled)
    await Bun.sleep(trouble.seconds * 1000)
    await trouble.end(troubled)
    if (!trouble.harmless) harm = { ...harm, overMs: performance.now() }
    current = '-'
  }
}

async function come(): Promise<void> {
  const { next } = random(seed + 4)
  while (!stop.signal.aborted) {
    people.come()
    // Arrivals that know nothing of each other.
    await Bun.sleep((-Math.log(1 - next()) / ratePerSecond) * 1000)
  }
}

console.log(`soak: ${minutes} min, ${ratePerSecond} requests/s, SOAK_SEED=${seed}, pid ${gate.pid}`)
const sampling = setInterval(() => {
  if (gate.exited) return
  const value = gate.rssBytes()
  peakBytes = Math.max(peakBytes, value)
  least = Math.min(least, value)
  if ((ticks += 1) % TICKS_OF_SAMPLE > 0) return
  if (elapsed() > WARM_UP_MS) samples.push({ atMs: elapsed(), value: least })
  least = Infinity
}, 1000)
const reviewing = setInterval(() => {
  book.review(performance.now())
  for (const proxy of [front, back, keys]) proxy.forget()
}, 2000)
const telling = setInterval(() => {
  if (!gate.exited) line()
}, LINE_MS)
const running = Promise.all([come(), makeTrouble()])
while (elapsed() < minutes * 60_000 && !gate.exited) await Bun.sleep(200)
stop.abort()
await running
clearInterval(sampling)
clearInterval(telling)

// To rest: all answered, all judged, all connections gone.
const rested = await until(() => people.inFlight === 0 && book.waiting === 0, REST_MS).then(
  () => true,
  () => false,
)
clearInterval(reviewing)
const still = (): boolean =>
  sockets(gate.pid) <= socketsAtRest && gate.descriptors() <= descriptorsAtRest + SPARE_DESCRIPTORS
const closed = gate.exited
  ? false
  : await until(still, REST_MS).then(
      () => true,
      () => false,
    )
const left = gate.exited ? 'gone' : `${gate.descriptors()}, ${sockets(gate.pid)} of them sockets`
const restBytes = gate.exited ? 0 : gate.rssBytes()
const diedEarly = gate.exited
const exitCode = await gate.stop()
const { rows, days } = book.sumsOfDays()
const slope = slopeOf(samples)
const grownBytes = (slope.perHour - slope.plusMinus) * slope.hours
const same = (one: Sums, other: Sums): boolean => Bun.deepEquals(one, other)
const said = ({ requests, input, output, cacheRead, cacheCreation }: Sums): string =>
  `${requests} requests, ${input} in, ${output} out, ${cacheRead} read, ${cacheCreation} written`

const checks: readonly (readonly [fact: string, ok: boolean, seen: string])[] = [
  [
    'every request judged, none left over',
    rested,
    `${book.waiting} left, ${people.inFlight} in flight`,
  ],
  ['each agrees in all three accounts', book.problemCount === 0, `${book.problemCount} do not`],
  ['none asked of the upstream twice', doubled.length === 0, `${doubled.length}`],
  ['none stood still', people.stalled.length === 0, `${people.stalled.length}`],
  [
    'all refusals as they should be',
    people.wronglyAnswered.length === 0,
    `${people.wronglyAnswered.length} were not`,
  ],
  [
    'exact usage is what the upstream counted',
    same(book.exact, book.exactUpstream),
    said(book.exact),
  ],
  ['sums of days are those of the rows', same(rows, days), said(days)],
  [
    'memory does not grow',
    grownBytes <= GROWTH_BYTES,
    `${mb(slope.perHour)} ± ${mb(slope.plusMinus)} MB/h over ${(slope.hours * 60).toFixed(1)} min`,
  ],
  [
    'memory is bounded',
    peakBytes <= MAX_RSS_BYTES,
    `${mb(peakBytes)} MB at most, ${mb(restBytes)} MB at rest`,
  ],
  [
    'descriptors are back',
    closed,
    `${left}; ${descriptorsAtRest} before, ${socketsAtRest} of them sockets`,
  ],
  ['no unhandled rejection, nothing on stderr', gate.alarms.length === 0, `${gate.alarms.length}`],
  [
    'it lived, and stopped when it was told to',
    !diedEarly && exitCode === 0,
    `exit code ${exitCode}`,
  ],
]

console.log(`\nrequests by end, with ${troubles} troubles on the way`)
for (const [end, number] of [...book.ends].toSorted()) console.log(`  ${end.padEnd(22)} ${number}`)
console.log('\nrequests by kind')
for (const [kind, number] of [...people.came].toSorted())
  console.log(`  ${kind.padEnd(22)} ${number}`)
console.log(`\nupstream's own count of exact ones: ${said(book.exactUpstream)}`)
console.log(`of broken ones, seen:    ${said(book.partial)}`)
console.log(`  the upstream's count:  ${said(book.partialUpstream)}`)
console.log(`  and ${book.unseen} asked of it that broke before any usage\n`)
for (const [fact, ok, seen] of checks) {
  console.log(`${ok ? 'ok ' : 'OFF'}  ${fact.padEnd(44)} ${seen}`)
}
for (const problem of [
  ...book.problems,
  ...doubled,
  ...people.stalled.map((id) => `${id}: stood still`),
  ...people.wronglyAnswered,
  ...gate.alarms,
]) {
  console.log(`  ${problem}`)
}
book.close()
for (const proxy of [front, back, keys]) await proxy.close()
await upstream.close()
await issuer.close()
rmSync(folder, { recursive: true, force: true })
console.log(
  `\nsoak: ${checks.every(([, ok]) => ok) ? 'nothing is off' : 'something is off'}, SOAK_SEED=${seed}`,
)
process.exit(checks.every(([, ok]) => ok) ? 0 : 1)
