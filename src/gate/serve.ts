// The running gate: its parts put together, its listeners, and how it stops.

import { type AddressKey, addressKey, proxyCheck } from '../accept/address.ts'
import type { AdminParts } from '../accept/admin/routes.ts'
import { type Answers, answers } from '../accept/answers.ts'
import { adminGate, gate } from '../accept/app.ts'
import { publicCounter } from '../accept/count-address.ts'
import { probes } from '../accept/probes.ts'
import { idleSeconds } from '../accept/keep-alive.ts'
import { cors } from '../accept/cors.ts'
import { ALL_ROUTES, isServed, type Need, type Route, ROUTES } from '../accept/routes.ts'
import { userAdmission } from '../admit/admit.ts'
import { derivedIdentityKey, identifier } from '../token/identity.ts'
import { jwksSource } from '../admit/jwks.ts'
import { type Breaker, breaker } from '../budget/breaker.ts'
import { budget } from '../budget/budget.ts'
import { charges, deviceKey, orgKey } from '../budget/charge.ts'
import type { Prices } from '../budget/prices.ts'
import { monthOf, type SpendCaps, spendCaps } from '../state/memory/spend.ts'
import type { Settings } from '../config/read.ts'
import type { Secret } from '../secret.ts'
import { dispatching } from '../dispatch/dispatch.ts'
import { register } from '../enroll/register.ts'
import { ENROLL_PRAGMAS } from '../enroll/schema.ts'
import { instant } from '../turn/instant.ts'
import type { Logger } from '../log.ts'
import { relaying } from '../relay/relay.ts'
import { watchStalls } from '../relay/stalls.ts'
import { atOnce } from '../ledger/in-pieces.ts'
import { DAY_MS } from '../ledger/sqlite/schema.ts'
import type { Reports, Spent } from '../ledger/reports.ts'
import { settlement } from '../settle/settle.ts'
import { followCorrections } from '../ledger/sqlite/spend-corrections.ts'
import { sqliteLedger } from '../ledger/writer.ts'
import { sqliteReports } from '../ledger/sqlite/reports.ts'
import { spentInPieces } from '../ledger/sqlite/usage-report.ts'
import type { SigningIn } from './signing-in.ts'
import type { Sources } from './sources.ts'
import type { Followed } from '../database/follow.ts'
import { store } from '../database/store.ts'
import { TABLES } from './migrations.ts'
import { anthropic } from '../upstream/anthropic/anthropic.ts'
import { type Ask, asking } from '../http1/ask.ts'
import { documents } from '../upstream/tinfoil/documents.ts'
import { type Egress, egress } from '../http1/egress.ts'
import { keyRefusals } from '../upstream/key-refused.ts'
import { tinfoil } from '../upstream/tinfoil/tinfoil.ts'
import { transport } from '../http1/transport.ts'
import type { Upstream } from '../upstream/upstream.ts'

export interface Gate {
  readonly url: URL
  readonly adminUrl: URL | undefined
  /** The page on which the one person signs in. */
  readonly signInUrl: URL | undefined
  /** Resolves when the last request has ended or was broken; never before the drain is over. */
  drain(): Promise<void>
}

/** For what broken streams still hold to reach the kernel; the exit then closes them in order. */
const BREAK_MS = 250

/** How long a probe that has a connection keeps others from trying. */
const PROBE_ANSWER_SECONDS = 5

/** How long an upstream may answer nobody before it is asked whether it is there. */
const MAX_STALL_MS = 40_000
const MIN_STALL_MS = 2000
/** And how long it then has. */
const MAX_ANSWER_MS = 10_000

/** Well within the time that requests have for their answers. */
const stallMs = ({ headersTimeoutSeconds }: Settings): number =>
  Math.min(MAX_STALL_MS, Math.max(MIN_STALL_MS, (headersTimeoutSeconds * 1000) / 3))

/** One visit of the page is four requests, and a sign-in a few more. */
const SIGN_IN_BURST = 30

/** Rejects where an address cannot be bound, or the file of enrolments cannot be used. */
export async function serve(
  settings: Settings,
  from: Sources,
  prices: Prices,
  log: Logger,
): Promise<Gate> {
  const timeouts = {
    connectMs: settings.connectTimeoutSeconds * 1000,
    headersMs: settings.headersTimeoutSeconds * 1000,
    bodyMs: settings.bodyTimeoutSeconds * 1000,
  }
  const bodyTimeoutMs = timeouts.bodyMs
  const way = egress(settings, from.certificates)
  const wire = transport(way)
  const ask = asking(wire, timeouts)
  const file = store(settings.databaseUrl, TABLES).follow(log)
  const ledger = sqliteLedger(file.connect({ busyTimeoutMs: 0 }), { log, nowMs: Date.now() })
  const settle = settlement({ log, ledger, prices })
  const relay = relaying({
    transport: wire,
    timeouts,
    idleMs: settings.idleTimeoutSeconds * 1000,
    settle,
    keyRefused: keyRefusals(log),
  })
  const identify = identifier(identityKey(settings, from))
  const keys = from.users && keySource(settings, from.users.jwksUrl, ask, log)
  const users = keys && from.users && userAdmission(keys, from.users.rules, identify)
  const connection = file.connect({ busyTimeoutMs: 50, pragmas: ENROLL_PRAGMAS })
  let listeningAt = new URL('http://127.0.0.1')
  const enrolled =
    from.anthropic &&
    // Loaded only there.
    (await import('./enrolling.ts')).enrolling({
      settings,
      from,
      connection,
      identify,
      log,
      listeningAt: () => listeningAt,
    })
  const devices = enrolled?.enrollment
  const admitDevice = enrolled?.admitDevice
  const signIn =
    from.login &&
    // Loaded only there.
    (await import('./signing-in.ts')).signingIn({
      ask,
      settings,
      from: from.login,
      file,
      identify,
      log,
      listeningAt: () => listeningAt,
    })
  const served = upstreams(settings, from, way, signIn, log)
  const stalls = watchStalls({
    transport: wire,
    watched: Object.values(served),
    connectMs: timeouts.connectMs,
    answerMs: Math.min(MAX_ANSWER_MS, timeouts.headersMs / 4),
  })
  const isOn = (need: Need): boolean => (need === 'login' ? signIn : served[need]) !== undefined
  const routes = ALL_ROUTES.filter((route) => isServed(route, isOn))
  const ownListener = settings.adminPort !== undefined
  const isAdmin = ({ access }: Route): boolean => access === 'own' || access === 'operator'
  const countedBy: AddressKey = addressKey(settings.trustedProxies ?? [])
  const { publicRateLimitRpm: publicRpm, rateLimitBurst } = settings
  const countAddress = publicCounter(publicRpm, rateLimitBurst, countedBy)
  const idle = idleSeconds(
    settings.keepAliveSeconds,
    settings.trustedProxies && proxyCheck(settings.trustedProxies),
  )
  const said: Answers = answers(settle)
  const caps = spendCaps()
  const reports = sqliteReports(file.connect({ busyTimeoutMs: 0 }))
  const startedMs = Date.now()
  // Before the first request, and so in one go.
  restoreCaps(caps, atOnce(spentInPieces(connection.get(), monthStart(startedMs))), startedMs)
  const corrections = followCorrections({ connection, caps, log })
  file.onFile(() => {
    devices?.poll(instant())
    void restoreAgain(caps, reports, log)
  })
  const charging = charges({
    caps,
    prices,
    orgSpendCapMicroUsd: microUsd(settings.orgSpendCap),
  })
  const admin: AdminParts = {
    answers: said,
    adminToken: settings.adminToken,
    admitDevice,
    enrollment: devices,
    reports,
    register: register(connection),
    breakers: Object.fromEntries(Object.entries(served).map(([name, on]) => [name, on.breaker])),
    bodyTimeoutMs,
  }
  let draining = false
  let listener: ReturnType<typeof gate>['server'] = null

  const app = gate({
    answers: said,
    cors: cors(settings.corsOrigins ?? []),
    countAddress,
    idleSeconds: idle,
    log,
    routes: ownListener ? routes.filter((route) => !isAdmin(route)) : routes,
    open: {
      answers: said,
      probes: probes({
        answers: said,
        backend: Object.keys(served).join('+'),
        keys,
        ledger,
        draining: () => draining,
        fileTrouble: () => fileTrouble(file, Date.now()),
      }),
      countAddress,
      documents: from.tinfoil && documents({ ask, ...from.tinfoil }),
      bodyTimeoutMs,
    },
    inference: {
      answers: said,
      admitUser: users?.admit,
      admitDevice,
      admitSession: signIn?.admitSession,
      budget: budget(settings),
      charges: charging,
      rules: { ...settings, enclaveHosts: settings.tinfoilEnclaveHosts },
      dispatch: dispatching(bodyTimeoutMs),
      relay,
      ledger,
      setIdleTimeout: (request, seconds) => listener?.timeout(request, seconds),
      served,
    },
    devices: enrolled?.routes({
      answers: said,
      admitUser: users?.admit,
      charges: charging,
      enrollingUser: users?.enrolling,
      addressKey: countedBy,
      countAddress,
      bodyTimeoutMs,
    }),
    login: signIn?.routes({
      answers: said,
      // Of its own: neither a page's assets nor a terminal that waits use up what others may ask.
      countAddress: publicCounter(publicRpm, Math.max(rateLimitBurst, SIGN_IN_BURST), countedBy),
      bodyTimeoutMs,
    }),
    admin: ownListener ? undefined : admin,
  })
  app.listen({ hostname: settings.host, port: settings.port })
  const operator = ownListener
    ? adminGate({
        answers: said,
        cors: cors([]),
        countAddress,
        idleSeconds: idle,
        log,
        routes: routes.filter(isAdmin),
        admin,
      })
    : undefined
  operator?.listen({ hostname: '127.0.0.1', port: settings.adminPort ?? 0 })
  const { server } = app
  listener = server
  if (!server) throw new Error('not listening')
  listeningAt = new URL(server.url)
  keys?.start()
  devices?.start()
  const forget = (): void => {
    const now = Date.now()
    // A cap is restored from this month's sums, so that these outlive a shorter retention.
    void ledger.deleteBefore(now - settings.ledgerRetentionDays * DAY_MS, monthStart(now))
  }
  forget()
  const daily = setInterval(forget, DAY_MS)
  daily.unref()

  return {
    url: listeningAt,
    adminUrl: operator?.server ? new URL(operator.server.url) : undefined,
    signInUrl: signIn && new URL(ROUTES.loginPage.path, signIn.publicUrl()),
    async drain() {
      draining = true
      await Bun.sleep(settings.drainDelaySeconds * 1000)
      void operator?.server?.stop()
      const stopped = server.stop()
      await Promise.race([stopped, Bun.sleep(settings.drainTimeoutSeconds * 1000)])
      if (relay.running > 0) {
        log.warn({ streams: relay.running }, 'drain time is over, breaking what still runs')
        relay.breakAll()
        await Promise.race([stopped, Bun.sleep(BREAK_MS)])
      }
      stalls.stop()
      keys?.stop()
      corrections.stop()
      devices?.stop()
      await signIn?.close()
      wire.close()
      ledger.stop(Date.now())
      file.stop()
    },
  }
}

function keySource(settings: Settings, url: URL, ask: Ask, log: Logger) {
  return jwksSource({
    ask,
    url,
    refreshMs: settings.jwksRefreshSeconds * 1000,
    maxStaleMs: settings.jwksMaxStaleSeconds * 1000,
    log,
  })
}

function upstreams(
  settings: Settings,
  from: Sources,
  way: Egress,
  signIn: SigningIn | undefined,
  log: Logger,
): Partial<Record<Need, { readonly upstream: Upstream; readonly breaker: Breaker }>> {
  const isProxied = (hostname: string, port: number): boolean =>
    way.proxyTo(hostname, port) !== undefined
  const served = (upstream: Upstream) => ({
    upstream,
    breaker: breaker({
      failureThreshold: settings.circuitFailures,
      successThreshold: settings.circuitSuccesses,
      openMs: settings.circuitOpenSeconds * 1000,
      probeMs: (settings.connectTimeoutSeconds + PROBE_ANSWER_SECONDS) * 1000,
      stallMs: stallMs(settings),
      onChange: (state, of) => {
        const change = { upstream: upstream.name, state, of }
        if (of === 'caller') log.info(change, 'circuit breaker')
        else log.warn(change, 'circuit breaker')
      },
    }),
  })
  return {
    ...(from.tinfoil && { tinfoil: served(tinfoil({ ...from.tinfoil, isProxied })) }),
    ...(from.anthropic && { anthropic: served(anthropic(from.anthropic)) }),
    ...(signIn && { 'anthropic-oauth': served(signIn.upstream) }),
  }
}

/** Who signs in sets one secret, and no second one for the names in their own log. */
function identityKey({ identityHashKey }: Settings, { login }: Sources): Secret | undefined {
  const [first] = login?.secrets ?? []
  return identityHashKey ?? (first && derivedIdentityKey(first))
}

/**
 * What a month has already cost each, so that neither a restart nor another file revives a cap. It
 * only ever raises what is known.
 */
function restoreCaps(caps: SpendCaps, spent: Spent, now: number): void {
  const month = monthOf(now)
  for (const [device, sums] of spent.device) {
    caps.restore(deviceKey(device), sums.chargedMicroUsd, month, sums.estimatedMicroUsd)
  }
  for (const [org, sums] of spent.org) {
    caps.restore(orgKey(org), sums.chargedMicroUsd, month, sums.estimatedMicroUsd)
  }
}

async function restoreAgain(caps: SpendCaps, reports: Reports, log: Logger): Promise<void> {
  const now = Date.now()
  const spent = await reports.spent(monthStart(now))
  if (spent.ok) restoreCaps(caps, spent.value, now)
  else log.error({ reason: spent.reason }, 'what the database says was spent could not be read')
}

/** For long enough that whatever polls `/readyz` finds it. */
const TELL_LEFT_MS = 600_000

function fileTrouble({ away, left }: Followed, now: number): string | undefined {
  return away ?? (left && now - left.atMs < TELL_LEFT_MS ? left.what : undefined)
}

const monthStart = (epochMs: number): number => Date.parse(`${monthOf(epochMs)}-01T00:00:00Z`)

const microUsd = (usd: number | undefined): number | undefined =>
  usd === undefined ? undefined : Math.round(usd * 1_000_000)
