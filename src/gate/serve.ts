// Assembles the running gate: its parts, its listeners, reloads, and how it stops.

import type { AdminParts } from '../accept/admin/parts.ts'
import { type Answers, answers } from '../accept/answers.ts'
import { adminGate, answeringBy, gate, type Parts } from '../accept/app.ts'
import type { InferenceParts } from '../accept/inference.ts'
import { probes } from '../accept/probes.ts'
import { cors } from '../accept/cors.ts'
import type { RealtimeRoutes } from '../accept/realtime/route.ts'
import { sockets } from '../accept/realtime/sockets.ts'
import { LOGIN_PATHS } from '../accept/login/paths.ts'
import { CLIENT_SECRETS_ROUTE, REALTIME_ROUTE, servedRoutes } from '../accept/routes.ts'
import { budget } from '../budget/budget.ts'
import { charges } from '../budget/charge.ts'
import { waits } from '../budget/waits.ts'
import { bodies } from '../dispatch/bodies.ts'
import { notingKept } from './note-kept.ts'
import { owners } from '../stored/owners.ts'
import { pickingByModel } from '../dispatch/by-model.ts'
import { askedModels } from '../dispatch/asked-models.ts'
import { modelLists } from '../dispatch/model-lists.ts'
import { askingPages } from '../dispatch/object-pages.ts'
import { listingOwn } from '../dispatch/own-lists.ts'
import { mergingModels } from '../dispatch/merged-models.ts'
import { type Choices, choicesOf } from '../dispatch/choose.ts'
import { pickingKept } from '../dispatch/stored.ts'
import { running } from '../dispatch/load.ts'
import { dispatching } from '../dispatch/dispatch.ts'
import { ENROLL_PRAGMAS } from '../enroll/schema.ts'
import { sqliteRegister } from '../enroll/sqlite/register.ts'
import { relaying } from '../relay/relay.ts'
import { attemptSettlement, settlement } from '../settle/settle.ts'
import { allowLargeHeaders } from './header-limit.ts'
import { callers } from './callers.ts'
import { enclaveDocuments } from './enclave.ts'
import { watchUpstreams } from './watch.ts'
import { plansOf } from './fallback.ts'
import { drained } from './drain.ts'
import { fileTrouble } from './file-trouble.ts'
import { frontParts } from './front.ts'
import { live } from './live.ts'
import type { Configuration } from './reload-change.ts'
import type { Realtime } from './realtime.ts'
import { type Before, prepareAll, remade } from './remade.ts'
import { wayOut } from './way-out.ts'
import { type ServedUpstreams, servedUpstreams } from './served-upstreams.ts'
import { retune } from './upstreams.ts'
import { egressOf } from '../http1/egress.ts'
import { type Logger, setLevel } from '../log.ts'
import type { Sources } from './sources.ts'
import { store } from '../database/store.ts'
import { keyAbout } from './key-about.ts'
import { gateLedger } from './ledger.ts'
import { TABLES } from './migrations.ts'
import { restoreCaps } from './restore.ts'
import { forgetDaily } from './retention.ts'
import { memoryCounters } from './state.ts'
import { useSocketHandles } from './socket-handles.ts'
import { asking, askingAt } from '../http1/ask.ts'
import { settingNameOf } from '../config/upstreams.ts'
import { keyRefusals } from '../upstream/key-refused.ts'
import type { Endpoint } from '../upstream/upstream.ts'
import { transport } from '../http1/transport.ts'

export interface Gate {
  readonly url: URL
  readonly adminUrl: URL | undefined
  /** The page for signing in. */
  readonly signInUrl: URL | undefined
  /** Applies these settings; only those that config/table.ts marks may differ. */
  exchange(taken: Configuration): void
  /** Resolves when the last request has ended or was cut, and everything is written. */
  drain(): Promise<void>
}

interface Relayed {
  readonly realtime: RealtimeRoutes | undefined
  readonly upstreams: ServedUpstreams
  readonly app: ReturnType<typeof gate>
}

/** Rejects if an address cannot be bound, or the database of enrolments cannot be used. */
export async function serve(first: Configuration, from: Sources, log: Logger): Promise<Gate> {
  const { settings } = first
  const of = live(first)
  const { timeouts, bodyTimeoutMs, prices } = of
  const ways = wayOut(first)
  const way = egressOf(ways.now)
  const wire = transport(way)
  const ask = asking(wire, timeouts)
  const file = store(settings.databaseUrl.file, TABLES).follow(log)
  const connection = file.connect({ busyTimeoutMs: 50, pragmas: ENROLL_PRAGMAS, standing: true })
  const kept = gateLedger({
    address: settings.databaseUrl,
    file,
    connection,
    log,
    nowMs: Date.now(),
  })
  const { ledger, reports } = kept
  const settling = { log, ledger, prices }
  const settle = settlement(settling)
  const keyRefused = keyRefusals(log, (upstream) => settingNameOf(upstream, 'apiKey'))
  const stored = owners({ connection, log })
  const relay = relaying({
    transport: wire,
    timeouts,
    idleMs: of.idleMs,
    settle,
    settleAttempt: attemptSettlement(settling),
    ...notingKept(stored, () => relayed.now().upstreams.keepers),
    keyRefused,
  })
  const caps = memoryCounters.spendCaps()
  let listeningAt = new URL('http://127.0.0.1')
  const at = (): URL => listeningAt
  const who = await callers({
    first,
    from,
    ask,
    file,
    connection,
    caps,
    noteFormer: kept.formerNames.note,
    log,
    listeningAt: at,
  })
  const { users, enrolled, signIn, apiKeys } = who
  const devices = enrolled?.enrollment
  const ownListener = settings.adminPort !== undefined
  const front = frontParts(first, memoryCounters)
  const { countedBy, countAddress } = front
  const said: Answers = answers(settle)
  const restored = await restoreCaps({ caps, ledger: kept, log })
  file.onFile(() => {
    who.poll()
    void restored.again()
  })
  const charging = charges({ caps, prices })
  const admin: AdminParts = {
    charges: charging,
    answers: said,
    adminToken: () => of.settings().adminToken,
    admitDevice: enrolled?.admitDevice,
    enrollment: devices,
    reports,
    register: sqliteRegister(connection),
    breakers: () =>
      Object.fromEntries(
        relayed.now().upstreams.served.map(({ upstream, breaker }) => [upstream.name, breaker]),
      ),
    bodyTimeoutMs,
  }
  const fallback = remade(first, ({ settings }) => plansOf(settings.fallback))
  const reading = bodies(bodyTimeoutMs)
  const askAt = askingAt(wire, timeouts)
  const lists = modelLists(askAt)
  let draining = false
  let listener: ReturnType<typeof gate>['server'] = null

  const inference: InferenceParts = {
    answers: said,
    admissions: who.admissions,
    budget: budget({
      counters: memoryCounters,
      maxUpstreamConcurrency: () => of.settings().maxUpstreamConcurrency,
    }),
    charges: charging,
    dispatch: dispatching(reading),
    pickByModel: pickingByModel(reading),
    pickKept: pickingKept(reading, stored.ownerOf),
    mergeModels: mergingModels(lists),
    listOwn: listingOwn(askingPages(askAt, keyRefused), stored.ownerOf),
    askedModels: askedModels(lists),
    ownerOf: stored.ownerOf,
    plans: fallback.now,
    waits: waits(),
    bodies: reading,
    running: running(),
    relay,
    ledger,
    setIdleTimeout: (request, seconds) => listener?.timeout(request, seconds),
  }
  let realtime: Promise<Realtime> | undefined
  const loadRealtime = async (): Promise<Realtime> =>
    (await import('./on-demand.ts')).realtime({
      ...inference,
      cors: front.cors,
      settle,
      keyRefused,
      transport: wire,
      timeouts,
      settings: of.settings,
      bodyTimeoutMs,
      log,
      servedNow: () => relayed.now().realtime?.sessions,
      upgrade: (request, options) => listener?.upgrade(request, options as never) ?? false,
    })

  const parts: Omit<Parts, 'routes' | 'open' | 'realtime'> = {
    answers: said,
    listener: () => listener,
    cors: front.cors,
    countAddress,
    idleSeconds: front.idleSeconds,
    log,
    inference,
    realtimeDoors: async () => (await (realtime ??= loadRealtime())).doors,
    about: {
      answers: said,
      counters: memoryCounters,
      admissions: who.admissions,
      charges: charging,
      enrollment: devices,
      aboutKey(key) {
        const found = apiKeys.find(key)
        return found && keyAbout(found.row)
      },
      claimsOf: users?.enrolling,
    },
    devices: enrolled?.routes({
      answers: said,
      enrollingUser: users?.enrolling,
      addressKey: countedBy,
      countAddress,
      bodyTimeoutMs,
    }),
    login: signIn?.routes({
      answers: said,
      countAddress: front.countSignIn,
      bodyTimeoutMs,
    }),
    admin: ownListener ? undefined : admin,
  }
  const appFor = (
    { served, sources }: ServedUpstreams,
    choose: (endpoint: Endpoint) => Choices,
    realtimeNow: RealtimeRoutes | undefined,
  ) =>
    gate({
      ...parts,
      routes: servedRoutes(choose),
      realtime: realtimeNow,
      open: {
        answers: said,
        probes: probes({
          answers: said,
          backend: served.map(({ upstream }) => upstream.name).join('+'),
          keys: users,
          ledger,
          draining: () => draining,
          fileTrouble: () => fileTrouble(file, Date.now()),
        }),
        countAddress,
        documents: enclaveDocuments(sources, ask),
        bodyTimeoutMs,
      },
    })
  const upstreamOptions = {
    first: from.upstreams,
    parts: { settings: of.settings, way, signIn },
    log,
  }
  /** The upstreams, and an app with the routes that they serve. */
  const relayed = remade(first, (configuration, before: Before<Relayed> | undefined): Relayed => {
    const former = before && { ...before, made: before.made.upstreams }
    const upstreams = servedUpstreams(configuration, former, upstreamOptions)
    if (before && upstreams === before.made.upstreams) return before.made
    const choose = (endpoint: Endpoint) => choicesOf(endpoint, upstreams.served, who.kinds)
    const [sessions, secrets] = servedRoutes(choose, [REALTIME_ROUTE, CLIENT_SECRETS_ROUTE])
    const realtimeNow = sessions && secrets && { sessions, secrets }
    const app = appFor(upstreams, choose, realtimeNow)
    // Here, where a bug leaves everything as it was. The first one is compiled where it listens.
    if (before) app.compile()
    return { upstreams, realtime: realtimeNow, app }
  })
  const stalls = watchUpstreams(wire, () => relayed.now().upstreams.served, timeouts)
  const { app } = relayed.now()
  await allowLargeHeaders()
  app.listen({ hostname: settings.host, port: settings.port, websocket: sockets as never })
  const operator = ownListener
    ? adminGate({
        answers: said,
        cors: cors([]),
        countAddress,
        idleSeconds: front.idleSeconds,
        log,
        admin,
      })
    : undefined
  operator?.listen({ hostname: '127.0.0.1', port: settings.adminPort ?? 0 })
  const { server } = app
  listener = server
  if (!server) throw new Error('not listening')
  listeningAt = new URL(server.url)
  void useSocketHandles(wire, log)
  who.start()
  const noteStored = (): void => {
    if (relayed.now().upstreams.keepers.size > 0) stored.start()
  }
  noteStored()
  forgetDaily(ledger, of.settings)

  return {
    url: listeningAt,
    adminUrl: operator?.server ? new URL(operator.server.url) : undefined,
    exchange(next) {
      const before = ways.now()
      const { app: appBefore } = relayed.now()
      const prepares = [
        ...who.prepares,
        ...front.prepares,
        ways.prepare,
        fallback.prepare,
        relayed.prepare,
      ]
      const commit = prepareAll(prepares, next)
      commit()
      of.take(next)
      setLevel(log, next.settings.logLevel)
      const { app: appNow, upstreams } = relayed.now()
      retune(upstreams.served, next.settings)
      if (appNow !== appBefore) {
        server.reload(answeringBy(appNow))
        noteStored()
      }
      if (ways.now() !== before) wire.renew()
      who.prepared()
      // For a new cap, spending may not have been counted.
      void restored.again()
    },
    signInUrl: signIn && new URL(LOGIN_PATHS.page, signIn.publicUrl()),
    async drain() {
      draining = true
      const talking = await realtime
      await drained({
        settings: of.settings,
        relay,
        realtime: talking?.sessions,
        log,
        stopOperator: () => operator?.server?.stop(),
        stopListening: () => server.stop(),
      })
      talking?.sessions.stop()
      stalls.stop()
      restored.stop()
      stored.stop()
      await who.stop()
      wire.close()
      await kept.formerNames.stop()
      await ledger.stop(Date.now())
      file.stop()
    },
  }
}
