// Which caller reaches which upstream on which route: what the table says, and nothing else. Tables are
// drawn by chance and asked through the whole app; what a real environment says, the binary is asked.

import {
  CALLER_KINDS,
  type CallerKind,
  NAMED_GROUPS,
  ROUTE_GROUPS,
  type UpstreamKind,
  USUAL_GROUPS,
} from '../../src/names.ts'
import Anthropic from '@anthropic-ai/sdk'
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import OpenAI from 'openai'
import { gate } from '../../src/accept/app.ts'
import type { Admission } from '../../src/accept/door.ts'
import type { RelayedRoute } from '../../src/accept/relayed-route.ts'
import { RELAYED_ROUTES, servedRoutes } from '../../src/accept/routes.ts'
import type { Admitted } from '../../src/admit/admitted.ts'
import type { Reserved } from '../../src/budget/budget.ts'
import { bodies } from '../../src/dispatch/bodies.ts'
import { pickingByModel } from '../../src/dispatch/by-model.ts'
import { choicesOf, type Served } from '../../src/dispatch/choose.ts'
import { KINDS } from '../../src/gate/upstreams.ts'
import { makeKey } from '../../src/keys/format.ts'
import { type Policy, policy } from '../../src/policy/policy.ts'
import { pickingKept } from '../../src/dispatch/stored.ts'
import { type Dialect, granted, refused } from '../../src/refusal.ts'
import { openAiCost } from '../../src/upstream/reading/openai-cost.ts'
import type { Upstream } from '../../src/upstream/upstream.ts'
import { inspectPlain } from '../../src/upstream/inspected.ts'
import { fuzz } from '../fuzz/fuzz.ts'
import { anthropicScene, type DeviceScene, messages } from '../support/anthropic.ts'
import { nothingBehindTheDoor } from '../support/closed-gate.ts'
import type { Random } from '../support/random.ts'
import { unreached } from '../support/served.ts'
import { eventually } from '../support/sink.ts'

const NAMES: readonly (readonly [string, UpstreamKind])[] = [
  ['t1', 'tinfoil'],
  ['t2', 'tinfoil'],
  ['a1', 'anthropic'],
  ['a2', 'anthropic'],
  ['o1', 'anthropic-oauth'],
  ['p1', 'openai'],
  ['p2', 'openai'],
]
const MODELS = ['m-1', 'm-2', 'other']
const PATTERNS = [undefined, ['m-*'], ['m-1'], ['other', 'm-2'], []]

const header = (typ: string): string =>
  Buffer.from(JSON.stringify({ alg: 'X', typ })).toString('base64url')
const TOKENS: Readonly<Record<CallerKind, string>> = {
  user: `${header('JWT')}.e30.e30`,
  device: `${header('postern-device+jwt')}.e30.e30`,
  key: makeKey(),
  session: 'pst_session',
}

const some = <T>(random: Random, from: readonly T[]): readonly T[] =>
  from.filter(() => random.int(2) === 0)

/** Of an upstream of that name: who reaches it, and for which models. */
interface Row extends Pick<Served, 'callers' | 'models'> {
  readonly upstream: string
}

interface Table {
  readonly rules: readonly Row[]
  readonly policies: Readonly<Record<CallerKind, Policy>>
  /** Of every stored response. */
  readonly owner: { readonly identity: CallerKind; readonly upstream: string } | undefined
}

function tableBy(random: Random): Table {
  const names = NAMES.map(([name]) => name)
  const rules = some(random, names)
    .toSorted(() => random.int(3) - 1)
    .map((upstream): Row => ({
      upstream,
      callers: some(random, CALLER_KINDS),
      models: random.pick(PATTERNS),
    }))
  const drawn = (name: string): Policy =>
    policy({
      name,
      upstreams: random.int(3) === 0 ? some(random, [...names, 'gone']) : undefined,
      routes: random.int(3) === 0 ? some(random, ROUTE_GROUPS) : undefined,
    })
  const [user, device, key, session] = CALLER_KINDS.map(drawn) as [Policy, Policy, Policy, Policy]
  const made = { identity: random.pick(CALLER_KINDS), upstream: random.pick(names) }
  const owner = random.int(4) === 0 ? undefined : made
  return { rules, policies: { user, device, key, session }, owner }
}

/** Of a body that names one model. */
const costOf: Upstream['costOf'] = (_path, body) => openAiCost('/v1/chat/completions', body)

/** The app of a table, in which what would go out is noted and goes nowhere. */
function appOf({ rules, policies, owner }: Table, reached: string[]) {
  const served = rules.map(({ upstream: name, callers, models }): Served => {
    const [, kind = 'tinfoil'] = NAMES.find(([each]) => each === name) ?? []
    const { upstream, breaker } = unreached(kind, name)
    const inspect = (headers: Headers, hasBody: boolean) => inspectPlain(headers, hasBody, 1000)
    const plain = { ...upstream, bodies: 'plain', inspect, costOf } as const
    return { upstream: plain, breaker, callers, models, asks: false }
  })
  const admitting =
    (kind: CallerKind): Admission =>
    (authorization) =>
      authorization === `Bearer ${TOKENS[kind]}`
        ? granted({ identity: kind, kind, policy: policies[kind], groups: [] } as never as Admitted)
        : refused('invalid_token')
  const closed = nothingBehindTheDoor()
  const reserved = { release() {}, also() {} } as never as Reserved
  return gate({
    ...closed,
    routes: servedRoutes((endpoint) => choicesOf(endpoint, served)),
    inference: {
      ...closed.inference,
      admissions: {
        user: admitting('user'),
        device: admitting('device'),
        key: admitting('key'),
        session: admitting('session'),
      },
      budget: { spend: () => granted(undefined), reserve: () => granted(reserved), underWay: 0 },
      charges: {
        ...closed.inference.charges,
        needsBody: () => granted(false),
        unpriced: () => undefined,
      },
      ledger: { ...closed.inference.ledger, open: () => ({}) as never },
      pickByModel: pickingByModel(bodies(() => 1000)),
      mergeModels: async (among) => {
        reached.push(...among.map(({ upstream }) => upstream.name))
        return refused('upstream_unavailable')
      },
      listOwn: async (among) => {
        reached.push(...among.map(({ upstream }) => upstream.name))
        return refused('upstream_unavailable')
      },
      pickKept: pickingKept(
        bodies(() => 1000),
        () => granted(owner),
      ),
      ownerOf: () => granted(owner),
      dispatch: async (_permitted, { upstream }) => {
        reached.push(upstream.name)
        return refused('upstream_unavailable')
      },
    },
  })
}

const isListed = (model: string, patterns: readonly string[] | undefined): boolean =>
  patterns === undefined ||
  patterns.some((each) => (each === 'm-*' ? model.startsWith('m-') : each === model))

/** By the table alone, and by nothing of the code that is tested. */
function allowedBy(
  { rules, policies, owner }: Table,
  kind: CallerKind,
  { method, path, group, runsNothing, lists }: RelayedRoute,
  dialect: Dialect,
  model: string,
): readonly string[] {
  const { upstreams, routes } = policies[kind]
  const isOwned = path.includes('/:id') && !path.startsWith('/v1/models/')
  const names = (method === 'POST' && !isOwned && !runsNothing) || path.startsWith('/v1/models/:id')
  if (routes && !routes.includes(group)) return []
  const isNamed = NAMED_GROUPS.some((each) => each === group)
  const served = rules
    .filter((rule) => rule.callers.includes(kind))
    .filter((rule) => upstreams?.includes(rule.upstream) ?? true)
    .flatMap((rule) => {
      const [name, of] = NAMES.find(([each]) => each === rule.upstream) ?? []
      const serves = of && KINDS[of].serves({ dialect, method, path })
      return serves ? [{ name, isAccount: of === 'anthropic-oauth', models: rule.models }] : []
    })
  // What is kept there is the account's, of whom nobody else can make anything.
  const accounts = served.filter(({ isAccount }) => isAccount)
  const isOfAccount = (lists && accounts.length > 0) || (isNamed && !routes)
  const among = isOfAccount ? accounts : served
  const kept = among.filter(({ name }) => owner?.identity === kind && name === owner.upstream)
  const found = !isOwned ? among : kept.length > 0 ? kept : accounts.slice(0, 1)
  return found.filter((each) => !names || isListed(model, each.models)).map(({ name = '' }) => name)
}

const HEADERS = ['authorization', 'x-api-key', 'api-key'] as const

test(
  'a caller reaches the first upstream in the table, for lists each one, and no upstream if the table has none',
  fuzz('matrix', 40, async (random) => {
    const reached: string[] = []
    const table = tableBy(random)
    const app = appOf(table, reached)
    for (const route of RELAYED_ROUTES) {
      for (const kind of CALLER_KINDS) {
        const { method, path } = route
        const model = random.pick(MODELS)
        const [dialect = 'openai', ...others] = route.dialects
        const name = random.pick(HEADERS)
        // The dialect of a path with two of them is the request's own, and told by these.
        if (others.length > 0 && name === 'x-api-key') continue
        reached.length = 0
        const body = JSON.stringify({ model })
        const request = new Request(
          `http://gate.test${path.replace(':id', path.startsWith('/v1/models') ? model : 'an-id').replace(':item', 'an-item')}`,
          {
            method,
            headers: {
              host: 'gate.test',
              [name]: name === 'authorization' ? `Bearer ${TOKENS[kind]}` : TOKENS[kind],
              ...(method === 'POST' && { 'content-length': String(body.length) }),
            },
            ...(method === 'POST' && { body }),
          },
        )
        const { status } = await app.handle(request)
        // A gate that serves one dialect of a path answers in that.
        const isServed = (each: Dialect): boolean =>
          table.rules.some(
            (rule) =>
              rule.callers.length > 0 &&
              NAMES.some(
                ([upstream, of]) =>
                  upstream === rule.upstream && KINDS[of].serves({ dialect: each, method, path }),
              ),
          )
        const spoken = isServed(dialect) ? dialect : (others[0] ?? dialect)
        const named = path === '/v1/models/:id/:item' ? `${model}/an-item` : model
        const expected = allowedBy(table, kind, route, spoken, named)
        // Where nobody serves it, it is the id of a stored chat, which here is anybody's.
        if (path === '/v1/chat/completions/input_tokens' && expected.length === 0) continue
        const told = [kind, method, path, model, JSON.stringify(table)]
        // Several lists are made one, unless one is that of an account.
        const isMerged = (path === '/v1/models' || route.lists) && !expected.includes('o1')
        const all = isMerged ? [...expected] : expected.slice(0, 1)
        expect([...told, reached]).toEqual([...told, all])
        if (expected.length === 0) expect(status).toBeWithin(400, 500)
      }
    }
  }),
)

interface Environment {
  readonly env: Readonly<Record<string, string>>
  readonly reaches: Readonly<Record<'user' | 'device' | 'key', readonly UpstreamKind[]>>
}

const BOTH: readonly UpstreamKind[] = ['tinfoil', 'anthropic']
const ENVIRONMENTS: Readonly<Record<string, Environment>> = {
  'as it always was': {
    env: {},
    reaches: { user: ['tinfoil'], device: ['anthropic'], key: ['anthropic'] },
  },
  'open to everybody': {
    env: { TINFOIL_CALLERS: 'user,device,key', ANTHROPIC_CALLERS: 'key,device,user' },
    reaches: { user: BOTH, device: BOTH, key: BOTH },
  },
  'the other way round': {
    env: { TINFOIL_CALLERS: 'device', ANTHROPIC_CALLERS: 'user' },
    reaches: { user: ['anthropic'], device: ['tinfoil'], key: [] },
  },
}

for (const [name, { env, reaches }] of Object.entries(ENVIRONMENTS)) {
  describe(`the binary, ${name}`, () => {
    let on: DeviceScene
    let tokens: Readonly<Record<'user' | 'device' | 'key', string>>
    beforeAll(async () => {
      on = await anthropicScene({ users: true, env })
      const { stdout } = await on.command(['key', 'add', 'server'])
      tokens = {
        user: (await on.issuer?.token()) ?? '',
        device: await on.device(),
        key: stdout.trim(),
      }
      // Made by another process.
      await eventually(async () => {
        const { error } = (await (await messages(on.gate, tokens.key)).json()) as {
          error?: { message: string }
        }
        return error?.message !== 'no such API key'
      })
    })
    afterAll(() => on.close())

    for (const kind of ['user', 'device', 'key'] as const) {
      test(`opens to a ${kind} the routes of its upstreams, and nothing else`, async () => {
        for (const { method, path, dialects, group } of RELAYED_ROUTES) {
          // Where one dialect alone is served, it is what everybody speaks.
          const served = dialects.filter((dialect) =>
            BOTH.some((to) => KINDS[to].serves({ dialect, method, path })),
          )
          for (const dialect of served.length === 0 ? dialects : served) {
            on.upstream.seen.length = 0
            const answer = await fetch(
              on.gate.url + path.replace(':id', 'an-id').replace(':item', 'an-item'),
              {
                method,
                headers: {
                  authorization: `Bearer ${tokens[kind]}`,
                  ...(dialect === 'anthropic' && { 'anthropic-version': '2023-06-01' }),
                },
                ...(method === 'POST' && { body: '{}' }),
              },
            )
            await answer.body?.cancel()
            const isOpen =
              USUAL_GROUPS.includes(group) &&
              reaches[kind].some((to) => KINDS[to].serves({ dialect, method, path }))
            const seen = on.upstream.seen.length
            expect([method, path, dialect, seen]).toEqual([method, path, dialect, isOpen ? 1 : 0])
            // A group that has to be named is served, and refused by the policy.
            const refusals = USUAL_GROUPS.includes(group) ? [401, 404, 405] : [401, 403, 404, 405]
            if (!isOpen) expect(answer.status).toBeOneOf(refusals)
          }
        }
      })
    }

    test('gives the SDKs of both APIs the same errors', async () => {
      on.upstream.seen.length = 0
      for (const [kind, apiKey] of Object.entries(tokens)) {
        const openai = new OpenAI({ apiKey, baseURL: `${on.gate.url}/v1`, maxRetries: 0 })
        const anthropic = new Anthropic({ apiKey, baseURL: on.gate.url, maxRetries: 0 })
        const status = (asked: Promise<Response>): Promise<number> =>
          asked.then(
            (answer) => answer.status,
            (error: { readonly status?: number }) => error.status ?? 0,
          )
        const of = (to: UpstreamKind): number =>
          reaches[kind as keyof typeof tokens].includes(to) ? 200 : 401
        const said = await status(
          openai.chat.completions.create({ model: 'm', messages: [] }).asResponse(),
        )
        expect([kind, 'openai', said]).toEqual([kind, 'openai', of('tinfoil')])
        const answered = await status(
          anthropic.messages.create({ model: 'm', max_tokens: 1, messages: [] }).asResponse(),
        )
        expect([kind, 'anthropic', answered]).toEqual([kind, 'anthropic', of('anthropic')])
      }
    })
  })
}
