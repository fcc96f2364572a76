// `postern check`: tries everything that a start depends on, once, with a line for each. It listens on
// nothing and sends no inference.

import { discoverKeySet, discoveryUrl } from '../admit/discovery.ts'
import type { IssuerSettings } from '../admit/issuer-settings.ts'
import { byReason, fetchKeySet } from '../admit/jwks.ts'
import { type DroppedEntry, NOT_A_KEY_SET, parseKeySet } from '../admit/key-set.ts'
import { keyDefaults } from '../config/keys.ts'
import type { Settings } from '../config/read.ts'
import { stdout } from '../print.ts'
import type { LoginSource, Sources } from '../gate/sources.ts'
import { inspectRecords, withRecords } from '../gate/records.ts'
import { type Ask, asking } from '../http1/ask.ts'
import { egress, trusting } from '../http1/egress.ts'
import { type Destination, destinationOf, placeUnder } from '../http1/destination.ts'
import { type Timeouts, type Transport, transport } from '../http1/transport.ts'
import { discovered, issuerAdvice, keySetAdvice, notKeySetAdvice } from './check-advice.ts'
import { credentialTrouble } from './check-credentials.ts'
import type { CheckOutcome } from './check-outcome.ts'
import { checkRunning } from './check-running.ts'
import { checkUpstreams } from './check-upstreams.ts'
import { advised } from './egress-advice.ts'

/** True if all is well. */
export async function check(
  from: Sources,
  settings: Settings,
  warnings: readonly string[],
): Promise<boolean> {
  const say = (mark: 'ok' | '!!' | 'no', what: string): void => {
    stdout.write(`${mark}  ${what}\n`)
  }
  say('ok', 'settings')
  for (const warning of warnings) say('!!', warning)
  const way = egress(settings, trusting(from.certificates))
  const wire = transport(way)
  const timeouts = {
    connectMs: settings.connectTimeoutSeconds * 1000,
    headersMs: Math.min(settings.headersTimeoutSeconds * 1000, ANSWER_MS),
    bodyMs: ANSWER_MS,
  }
  // For this machine, without a proxy.
  const near = transport()
  const outcomes = [
    ...(await checkDatabase(settings)),
    ...(await checkCredentials(settings)),
    ...(await checkRunning(settings, asking(near, timeouts))),
    ...(await checkKeys(from, asking(wire, timeouts))),
    ...(await checkUpstreams({ settings: () => settings, from, way }, wire, timeouts)),
    ...(from.login ? await checkLogin(from.login, wire, timeouts) : []),
  ]
  wire.close()
  near.close()
  for (const { ok, warning, what } of outcomes) say(warning ? '!!' : ok ? 'ok' : 'no', what)
  return outcomes.every(({ ok }) => ok)
}

/** A healthy service answers these requests at once. */
const ANSWER_MS = 15_000

async function checkDatabase({ databaseUrl }: Settings): Promise<CheckOutcome[]> {
  const found = await inspectRecords(databaseUrl, Date.now())
  return found ? [{ ok: found.ok, what: `database: ${found.what}` }] : []
}

/** Empty if there is no database to look into; what is wrong with it has been reported. */
async function checkCredentials(settings: Settings): Promise<CheckOutcome[]> {
  const { databaseUrl, policies } = settings
  const names = policies.policies.map(({ name }) => name)
  const { maxLifetimeSeconds } = keyDefaults(settings)
  const rules = { policies: names, maxLifetimeSeconds }
  const trouble = await withRecords(databaseUrl, 'read', (records) =>
    credentialTrouble(records, rules, Date.now() / 1000),
  )
  return trouble.ok ? trouble.value.map((what) => ({ ok: true, warning: true, what })) : []
}

async function checkKeys({ issuers }: Sources, ask: Ask): Promise<CheckOutcome[]> {
  const outcomes: CheckOutcome[] = []
  for (const each of issuers) {
    const name = issuers.length === 1 ? 'key set' : `key set of ${each.name}`
    outcomes.push(...(await checkKeySet(each, name, ask)))
  }
  return outcomes
}

async function checkKeySet(by: IssuerSettings, name: string, ask: Ask): Promise<CheckOutcome[]> {
  let text: string | undefined
  const failed = (error: unknown): string => (error instanceof Error ? error.message : 'unreadable')
  try {
    text = await fetchKeySet(ask, by.jwksUrl ?? (await discoverKeySet(ask, by)))
  } catch (error) {
    const reason = failed(error)
    const todo = keySetAdvice(reason)
    const what = todo === undefined ? advised(reason) : `${reason}; ${todo}`
    return [{ ok: false, what: `${name}: ${what}` }]
  }
  try {
    const { keys, dropped } = await parseKeySet(text)
    const usable = keys.length === 1 ? '1 usable key' : `${keys.length} usable keys`
    const others = [...droppedKeys(dropped, name), ...(await checkIssuer(by, ask))]
    return [{ ok: true, what: `${name}: ${usable}` }, ...others]
  } catch (error) {
    const reason = failed(error)
    const what = reason === NOT_A_KEY_SET ? `${reason}; ${notKeySetAdvice(text)}` : reason
    return [{ ok: false, what: `${name}: ${what}` }]
  }
}

/**
 * Whether the provider's own issuer matches ISSUER, if its discovery document is beside its keys:
 * no host is asked that the settings do not name.
 */
async function checkIssuer({ issuer, jwksUrl }: IssuerSettings, ask: Ask): Promise<CheckOutcome[]> {
  const url = discoveryUrl(issuer)
  if (!jwksUrl || url?.origin !== jwksUrl.origin) return []
  try {
    const found = discovered(await fetchKeySet(ask, url))
    const lines = found ? issuerAdvice(found, { issuer, jwksUrl: jwksUrl.href }) : []
    return lines.map((what) => ({ ok: true, warning: true, what }))
  } catch {
    // Not every provider has one.
    return []
  }
}

/** A key set may be complete without them, so they are no failure. */
function droppedKeys(dropped: readonly DroppedEntry[], set: string): CheckOutcome[] {
  const broken = dropped.filter(({ foreign }) => !foreign)
  return [...byReason(broken)].map(([why, entries]) => {
    const names = entries.map(({ name }) => visible(name)).join(', ')
    return { ok: true, warning: true, what: `${set}: not used, because ${why}: ${names}` }
  })
}

/** Terminals obey escape sequences. */
const visible = (text: string): string => text.replace(/[^\x20-\x7e]/g, '?')

/**
 * Whether everything that a sign-in talks to can be reached. No token is requested or sent: one
 * refreshed here would be missing in the running gate.
 */
async function checkLogin(
  login: LoginSource,
  wire: Transport,
  timeouts: Timeouts,
): Promise<CheckOutcome[]> {
  const reach = async (what: string, to: Destination): Promise<CheckOutcome> => {
    const flight = wire.send({ method: 'GET', to, headers: {}, body: undefined }, timeouts)
    const head = await flight.head
    flight.cancel()
    const said = head.ok ? `reached, status ${head.status}` : head.reason
    return { ok: head.ok && head.status < 500, what: `${what}: ${head.ok ? said : advised(said)}` }
  }
  return [
    await reach('authorization endpoint', destinationOf(login.authorizeUrl)),
    await reach('token endpoint', destinationOf(login.tokenUrl)),
    await reach('anthropic-oauth /v1/models', placeUnder(login.apiBaseUrl, '/v1/models')),
  ]
}
