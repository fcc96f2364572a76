// Random documents of several upstreams, policies and rules, and requests to a gate of each: what goes
// out, it goes to an upstream, for a model and on a route that the document allows, with that upstream's
// key; and where the document allows it, it goes out. What is allowed is worked out here from the
// document alone.

import { expect, test } from 'bun:test'
import { gate } from '../../src/accept/app.ts'
import type { Admission } from '../../src/accept/door.ts'
import type { RelayedRoute } from '../../src/accept/relayed-route.ts'
import { RELAYED_ROUTES, servedRoutes } from '../../src/accept/routes.ts'
import type { Admitted } from '../../src/admit/admitted.ts'
import type { Reserved } from '../../src/budget/budget.ts'
import { charges } from '../../src/budget/charge.ts'
import { bundledPrices } from '../../src/budget/price-table.ts'
import { readInvocation } from '../../src/config/command-line.ts'
import { readText } from '../../src/config/document/open.ts'
import { parseJson } from '../../src/config/document/yaml.ts'
import { bodies } from '../../src/dispatch/bodies.ts'
import { pickingByModel } from '../../src/dispatch/by-model.ts'
import { choicesOf } from '../../src/dispatch/choose.ts'
import { pickingKept } from '../../src/dispatch/stored.ts'
import { dispatching } from '../../src/dispatch/dispatch.ts'
import type { NamedFiles } from '../../src/gate/named-files.ts'
import { policies } from '../../src/gate/policies.ts'
import type { UpstreamSource } from '../../src/gate/sources.ts'
import { memoryCounters } from '../../src/gate/state.ts'
import { servedUpstreams } from '../../src/gate/served-upstreams.ts'
import { makeKey } from '../../src/keys/format.ts'
import type { Logger } from '../../src/log.ts'
import {
  ANTHROPIC_GROUPS,
  OPENAI_GROUPS,
  ROUTE_GROUPS,
  type RouteGroup,
  USUAL_GROUPS,
} from '../../src/names.ts'
import { granted, refused } from '../../src/refusal.ts'
import { nothingBehindTheDoor } from '../support/closed-gate.ts'
import type { Random } from '../support/random.ts'
import { HASH_KEY } from '../support/settings.ts'
import { chance, fuzz, FUZZ_MS } from './fuzz.ts'

const CALLERS = ['user', 'device', 'key'] as const
type Kind = (typeof CALLERS)[number]

interface UpstreamEntry {
  readonly kind: 'tinfoil' | 'anthropic' | 'openai'
  readonly name: string
  readonly base_url: string
  readonly api_key: string
  readonly callers: readonly Kind[]
  readonly models?: readonly string[]
  readonly require_ehbp?: false
}
interface PolicyEntry {
  readonly name: string
  readonly upstreams?: readonly string[]
  readonly routes?: readonly RouteGroup[]
  readonly models?: readonly string[]
}
interface RuleEntry {
  readonly policy: string
  readonly kind?: Kind
  readonly group?: string
  readonly organisation?: string
}
interface Drawn {
  readonly upstreams: readonly UpstreamEntry[]
  readonly policies: readonly PolicyEntry[]
  readonly rules: readonly RuleEntry[]
}
interface Caller {
  readonly kind: Kind
  readonly groups: readonly string[]
  readonly org: string | undefined
  /** The name of the policy of a key. */
  readonly policy: string | undefined
}

const MODELS = ['m-1', 'm-2', 'mini', 'other']
const PATTERNS = ['m-1', 'm-*', 'm*', 'other', 'mini', 'none']
const NAMES = ['a', 'b', 'c', 'd', 'e']
const GROUPS = ['staff', 'guests']

const maybe = <T>(random: Random, of: number, made: () => T): T | undefined =>
  chance(random, of) ? made() : undefined
/** One at least. */
function some<T>(random: Random, from: readonly T[]): readonly T[] {
  const found = from.filter(() => chance(random, 0.5))
  return found.length > 0 ? found : [random.pick(from)]
}
/** A member that is not there is not written. */
const given = <T extends object>(members: T): T =>
  Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as T

function drawn(random: Random): Drawn {
  const kinds = Array.from({ length: 1 + random.int(NAMES.length) }, () =>
    random.pick(['tinfoil', 'anthropic', 'openai'] as const),
  )
  // Devices come beside one of these alone.
  const callers = kinds.includes('anthropic') ? CALLERS : (['user', 'key'] as const)
  const listed = kinds.map((kind, at): UpstreamEntry => {
    const name = NAMES[at] ?? ''
    return given({
      kind,
      name,
      base_url: `https://${name}.example${kind === 'openai' ? '/v1' : ''}`,
      api_key: `key-of-${name}`,
      callers: some(random, callers),
      models: maybe(random, 0.6, () => some(random, PATTERNS)),
      ...(kind === 'tinfoil' && { require_ehbp: false as const }),
      ...(kind === 'openai' && chance(random, 0.5) && { routes: OPENAI_GROUPS }),
      ...(kind === 'anthropic' && chance(random, 0.5) && { routes: ANTHROPIC_GROUPS }),
    } as UpstreamEntry)
  })
  const names = listed.map(({ name }) => name)
  const policiesOf = ['p', 'q', 'r'].map((name) =>
    given({
      name,
      upstreams: maybe(random, 0.5, () => some(random, names)),
      routes: maybe(random, 0.3, () => some(random, ROUTE_GROUPS)),
      models: maybe(random, 0.4, () => some(random, PATTERNS)),
    } as PolicyEntry),
  )
  const rules = Array.from({ length: random.int(4) }, (): RuleEntry => {
    const group = maybe(random, 0.3, () => random.pick(GROUPS))
    return given({
      policy: random.pick(policiesOf).name,
      kind: group === undefined ? maybe(random, 0.5, () => random.pick(CALLERS)) : undefined,
      group,
      organisation: maybe(random, 0.3, () => 'acme'),
    } as RuleEntry)
  })
  return { upstreams: listed, policies: policiesOf, rules }
}

function settingsOf(document: Drawn) {
  const text = JSON.stringify({
    issuers: [
      {
        issuer: 'https://id.example',
        jwks_url: 'https://id.example/jwks',
        audiences: ['gate'],
        groups_claim: 'groups',
        organisation_claim: 'org',
      },
    ],
    ...document,
    devices: { signing_secrets: ['jb14c1c0cb6f6712bb79b1472159b7b51'] },
    ledger: { identity_hash_key: HASH_KEY },
  })
  const read = readInvocation(['--config', 'x.json'], {}, (name, env, devMode) =>
    readText(text, parseJson, { name, env, devMode, closing: undefined }),
  )
  if (read.kind !== 'run') throw new Error(`${Bun.inspect(read)}: ${text}`)
  return read.settings
}

interface Sent {
  readonly upstream: string
  readonly host: string
  readonly key: string | undefined
}

const header = (typ: string): string =>
  Buffer.from(JSON.stringify({ alg: 'X', typ })).toString('base64url')
const TOKENS: Readonly<Record<Kind, string>> = {
  user: `${header('JWT')}.e30.e30`,
  device: `${header('postern-device+jwt')}.e30.e30`,
  key: makeKey(),
}
const LOUD = {
  error(bug: object) {
    throw new Error(Bun.inspect(bug))
  },
} as never as Logger
const NOTHING_NAMED = {} as never as NamedFiles
const QUIET = { info: () => {}, warn: () => {} } as never as Logger

/** The gate of a document, in which what would go out is noted and goes nowhere. */
function gateOf(
  document: Drawn,
  callerNow: () => Caller,
  /** What keeps each stored response of the caller. */
  owningNow: () => string,
  sent: Sent[],
) {
  const settings = settingsOf(document)
  const { policyOf } = policies(settings)
  const sources = settings.upstreams as readonly UpstreamSource[]
  const parts = { settings: () => settings, way: { proxyTo: () => undefined } }
  const { served } = servedUpstreams({ settings, named: NOTHING_NAMED }, undefined, {
    first: sources,
    parts,
    log: QUIET,
  })
  const closed = nothingBehindTheDoor()
  const admit: Admission = () => {
    const { kind, groups, org, policy: named } = callerNow()
    const issuer = kind === 'user' ? 'default' : undefined
    const policy = policyOf({ kind, issuer, groups, org, policy: named })
    if (!policy) return refused('policy_unknown')
    return granted({ identity: kind, kind, groups, org, policy } as never as Admitted)
  }
  const reading = bodies(() => 1000)
  const reserved = { release() {}, also() {} } as never as Reserved
  return {
    served,
    app: gate({
      ...closed,
      log: LOUD,
      routes: servedRoutes((endpoint) => choicesOf(endpoint, served)),
      inference: {
        ...closed.inference,
        admissions: { user: admit, device: admit, key: admit, session: undefined },
        budget: { spend: () => granted(undefined), reserve: () => granted(reserved), underWay: 0 },
        charges: charges({ caps: memoryCounters.spendCaps(), prices: bundledPrices() }),
        ledger: { ...closed.inference.ledger, open: () => ({}) as never },
        pickByModel: pickingByModel(reading),
        pickKept: pickingKept(reading, () => granted(undefined)),
        ownerOf: () => granted({ identity: callerNow().kind, upstream: owningNow() }),
        async mergeModels(among) {
          for (const { upstream } of among) {
            const to = await upstream.destination(LISTED, 0)
            const host = to.ok ? to.value.origin.hostname : ''
            sent.push({ upstream: upstream.name, host, key: `key-of-${upstream.name}` })
          }
          return granted(new Uint8Array())
        },
        async listOwn(among) {
          for (const { upstream } of among) {
            const to = await upstream.destination(LISTED, 0)
            const host = to.ok ? to.value.origin.hostname : ''
            sent.push({ upstream: upstream.name, host, key: `key-of-${upstream.name}` })
          }
          return granted(new Uint8Array())
        },
        dispatch: dispatching(reading),
        relay: {
          ...closed.inference.relay,
          async send({ upstream, call }, { charge }, _exchange, client) {
            const { 'x-api-key': apiKey, authorization } = call.headers
            const key = apiKey ?? authorization?.replace('Bearer ', '')
            sent.push({ upstream: upstream.name, host: call.to.origin.hostname, key })
            charge.pass.report('neutral', 0)
            client.release()
            return new Response('{}')
          },
        },
      },
    }),
  }
}

const LISTED = { method: 'GET', path: '/v1/models', search: '', sealed: false }

const isListed = (model: string, patterns: readonly string[] | undefined): boolean =>
  patterns === undefined ||
  patterns.some((each) =>
    each.endsWith('*') ? model.startsWith(each.slice(0, -1)) : model === each,
  )

/** Nothing is kept from whom no rule fits. */
function policyOf({ policies: listed, rules }: Drawn, caller: Caller): Partial<PolicyEntry> {
  const fits = ({ kind, group, organisation }: RuleEntry): boolean =>
    (kind === undefined || kind === caller.kind) &&
    (group === undefined || caller.groups.includes(group)) &&
    (organisation === undefined || organisation === caller.org)
  const name = caller.policy ?? rules.find(fits)?.policy
  return listed.find((each) => each.name === name) ?? {}
}

interface Asked {
  readonly route: RelayedRoute
  readonly path: string
  readonly body: string | undefined
  /** Every model that it names. */
  readonly models: readonly string[]
  readonly isPlain: boolean
}

/** Without the one that is the id of a stored chat where no enclave is. */
const ROUTES = RELAYED_ROUTES.filter(({ path }) => path !== '/v1/chat/completions/input_tokens')

function asked(random: Random): Asked {
  const route = random.pick(ROUTES)
  // What is asked of a stored response runs no model, and goes to the upstream that keeps it.
  const isStored =
    route.runsNothing === true || route.lists === true || route.path.startsWith('/v1/responses/:id')
  const model = random.pick(MODELS)
  if (route.method !== 'POST') {
    const isModel = route.path.startsWith('/v1/models/:id')
    const name = route.path.endsWith('/:item') ? `${model}/an-item` : model
    const path = route.path.replace(':id', isModel ? model : 'an-id').replace(':item', 'an-item')
    return {
      route,
      path,
      body: undefined,
      models: isModel ? [name] : [],
      isPlain: !isStored,
    }
  }
  const other = random.pick(MODELS)
  const more = random.pick([
    '',
    '',
    '',
    `,"fallback_model":"${other}"`,
    `,"Model":"${other}"`,
    `,"x":{"model":"${other}"}`,
    `,"mod\\u0065l":"${other}"`,
  ])
  const input = route.path.endsWith('messages') ? '"max_tokens":1,"messages":[]' : '"input":"x"'
  return {
    route,
    path: route.path.replace(':id', 'an-id').replace(':item', 'an-item'),
    body: `{"model":"${model}",${input}${more}}`,
    models: isStored ? [] : more === '' ? [model] : [model, other],
    isPlain: more === '' && !isStored,
  }
}

test(
  'a request goes where the document allows it, and nowhere else',
  fuzz('reach', 20, async (random) => {
    const document = drawn(random)
    const sent: Sent[] = []
    let caller: Caller
    const { app, served } = gateOf(
      document,
      () => caller,
      () => random.pick(document.upstreams).name,
      sent,
    )
    for (let request = 0; request < 170; request += 1) {
      const kind = random.pick(CALLERS)
      caller = {
        kind,
        groups: kind === 'user' ? GROUPS.filter(() => chance(random, 0.5)) : [],
        org: maybe(random, 0.5, () => 'acme'),
        policy:
          kind === 'user' ? undefined : maybe(random, 0.3, () => random.pick(['p', 'q', 'r'])),
      }
      const { route, path, body, models, isPlain } = asked(random)
      const { method, group, dialects } = route
      sent.length = 0
      const answer = await app.handle(
        new Request(`http://gate.test${path}`, {
          method,
          headers: {
            host: 'gate.test',
            authorization: `Bearer ${TOKENS[kind]}`,
            ...(body && { 'content-length': String(body.length) }),
          },
          ...(body && { body }),
        }),
      )
      const told = JSON.stringify({ document, caller, method, path, body, status: answer.status })
      const policy = policyOf(document, caller)
      const serves = ({ name, callers, models: only }: UpstreamEntry): boolean =>
        callers.includes(kind) &&
        (policy.upstreams?.includes(name) ?? true) &&
        models.every((model) => isListed(model, only))
      const isAllowed =
        (policy.routes ?? USUAL_GROUPS).includes(group) &&
        models.every((model) => isListed(model, policy.models))
      for (const out of sent) {
        const entry = document.upstreams.find(({ name }) => name === out.upstream)
        if (!entry || !serves(entry) || !isAllowed) throw new Error(`${Bun.inspect(out)}: ${told}`)
        expect([out.host, out.key]).toEqual([`${out.upstream}.example`, `key-of-${out.upstream}`])
      }
      const [out] = sent
      // A form, and a path of two dialects, need more than this to be asked.
      if (
        !isPlain ||
        dialects.length > 1 ||
        /audio|images\/edits|batches|fine_tuning|convert/.test(path)
      )
        continue
      const [dialect = 'openai'] = dialects
      const first = document.upstreams.find(
        (entry, at) =>
          serves(entry) && served[at]?.upstream.serves({ dialect, method, path: route.path }),
      )
      const expected = first && isAllowed ? first.name : undefined
      if (out?.upstream !== expected) throw new Error(`not ${expected}, ${out?.upstream}: ${told}`)
    }
  }),
  FUZZ_MS,
)
