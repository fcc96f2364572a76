// Every kind of caller on every route, with several kinds of upstream beside one another in one binary: a
// request reaches an upstream that its policy names, on a route that its policy names, or none at all.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type DevIssuer, startIssuer } from '../../src/dev/issuer.ts'
import { RELAYED_ROUTES } from '../../src/accept/routes.ts'
import { KINDS } from '../../src/gate/upstreams.ts'
import {
  ANTHROPIC_GROUPS,
  type CallerKind,
  OPENAI_GROUPS,
  type RouteGroup,
  USUAL_GROUPS,
  UPSTREAM_KINDS,
  type UpstreamKind,
} from '../../src/names.ts'
import type { Dialect } from '../../src/refusal.ts'
import { loginScene, ok } from '../login/scene.ts'
import { type Running, runToEnd, start } from '../support/binary.ts'
import { devicesOf, HASH_KEY, UNLIMITED, usersOf } from '../support/settings.ts'
import { bearer, eventually } from '../support/sink.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'

/** Absent: all. */
interface May {
  readonly upstreams?: readonly UpstreamKind[]
  readonly routes?: readonly RouteGroup[]
}
type Policies = Readonly<Record<CallerKind, May>>

const ONES: Readonly<Record<string, Policies>> = {
  'that name one upstream, or one that the caller does not reach': {
    user: { upstreams: ['tinfoil'] },
    device: { upstreams: ['anthropic'] },
    key: { upstreams: ['openai'] },
    session: { upstreams: ['tinfoil', 'openai', 'anthropic'] },
  },
  'that name others, and routes': {
    user: { upstreams: ['anthropic', 'openai'], routes: ['messages', 'embeddings'] },
    device: { upstreams: ['tinfoil'], routes: ['chat', 'models', 'messages'] },
    key: { upstreams: ['anthropic', 'tinfoil'], routes: ['audio', 'batches', 'files', 'uploads'] },
    session: { upstreams: ['anthropic-oauth'], routes: ['messages'] },
  },
  'that name routes alone': {
    user: {
      routes: ['images', 'moderations', 'messages', 'models', 'vector_stores', 'fine_tuning'],
    },
    device: { routes: ['completions', 'responses', 'files', 'containers'] },
    key: { routes: ['chat'] },
    session: { routes: ['files', 'batches', 'models'] },
  },
  'that name nothing': { user: {}, device: {}, key: {}, session: {} },
}

/** One gate has one Anthropic: by a key, or by a sign-in. */
interface Gate {
  readonly url: () => string
  readonly tokens: Readonly<Partial<Record<CallerKind, string>>>
  /** Anew, with the policies of this file. */
  restart(config: string): Promise<void>
  /** What was asked since the last call. */
  reached(): readonly UpstreamKind[]
  close(): Promise<void>
}

let issuer: DevIssuer
let folder: string
let others: Readonly<Record<'tinfoil' | 'anthropic' | 'openai', Upstream>>
beforeAll(async () => {
  issuer = await startIssuer()
  folder = mkdtempSync(join(tmpdir(), 'postern-callers-'))
  const [tinfoil, anthropic, openai] = await Promise.all([1, 2, 3].map(() => startUpstream()))
  if (!tinfoil || !anthropic || !openai) throw new Error('unreachable')
  others = { tinfoil, anthropic, openai }
  for (const [id, each] of Object.entries(others)) {
    each.respond((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' })
      response.end(JSON.stringify({ object: 'list', data: [{ id, object: 'model' }] }))
    })
  }
})
afterAll(async () => {
  for (const each of Object.values(others)) await each.close()
  await issuer.close()
  rmSync(folder, { recursive: true, force: true })
})
const asked = (): UpstreamKind[] =>
  (['tinfoil', 'anthropic', 'openai'] as const).filter(
    (each) => others[each].seen.splice(0).length > 0,
  )

const settings = (...callers: readonly CallerKind[]) => ({
  ...usersOf(issuer),
  ...UNLIMITED,
  IDENTITY_HASH_KEY: HASH_KEY,
  TINFOIL_API_KEY: 'tinfoil-key-canary',
  TINFOIL_BASE_URL: others.tinfoil.url,
  TINFOIL_ATTESTATION_URL: others.tinfoil.url,
  REQUIRE_EHBP: 'false',
  TINFOIL_CALLERS: callers.join(','),
  OPENAI_UPSTREAM_URL: `${others.openai.url}/v1`,
  OPENAI_UPSTREAM_ROUTES: OPENAI_GROUPS.join(','),
  OPENAI_UPSTREAM_CALLERS: callers.join(','),
})

async function made(databaseFile: string, ...words: string[]): Promise<string> {
  const env = { DATABASE_URL: `sqlite:${databaseFile}`, IDENTITY_HASH_KEY: HASH_KEY }
  return (await runToEnd(words, env, folder)).stdout.trim()
}

async function byKey(): Promise<Gate> {
  const databaseFile = join(folder, 'by-key.db')
  const env = {
    ...settings('user', 'device', 'key'),
    ...devicesOf(others.anthropic.url),
    ANTHROPIC_CALLERS: 'user,device,key',
    ANTHROPIC_ROUTES: ANTHROPIC_GROUPS.join(','),
    DATABASE_URL: `sqlite:${databaseFile}`,
  }
  let gate: Running = await start(env)
  const enrolled = await fetch(`${gate.url}/bootstrap`, {
    method: 'POST',
    body: JSON.stringify({
      device_id: 'one',
      enrollment_code: await made(databaseFile, 'enrol'),
    }),
  })
  return {
    url: () => gate.url,
    tokens: {
      user: await issuer.token(),
      device: ((await enrolled.json()) as { wrapper_token: string }).wrapper_token,
      key: await made(databaseFile, 'key', 'add', 'server'),
    },
    async restart(config) {
      await gate.stop('SIGTERM')
      gate = await start({ ...env, POSTERN_CONFIG: config })
    },
    reached: asked,
    close: async () => void (await gate.stop()),
  }
}

async function bySignIn(): Promise<Gate> {
  const at = await loginScene({ env: settings('user', 'key') })
  at.respond(ok)
  return {
    url: () => at.gate.url,
    tokens: {
      user: await issuer.token(),
      key: await made(at.databaseFile, 'key', 'add', 'server'),
      session: await at.signIn(),
    },
    restart: (config) => at.restart({ POSTERN_CONFIG: config }),
    reached: () => [...(at.seen().length > 0 ? ['anthropic-oauth' as const] : []), ...asked()],
    close: () => at.close(),
  }
}

interface Kind {
  readonly makes: () => Promise<Gate>
  readonly callers: readonly CallerKind[]
  readonly upstreams: Readonly<Partial<Record<UpstreamKind, readonly CallerKind[]>>>
}
const GATES: Readonly<Record<string, Kind>> = {
  'with a key of Anthropic': {
    makes: byKey,
    callers: ['user', 'device', 'key'],
    upstreams: {
      tinfoil: ['user', 'device', 'key'],
      anthropic: ['user', 'device', 'key'],
      openai: ['user', 'device', 'key'],
    },
  },
  'with a sign-in': {
    makes: bySignIn,
    callers: ['user', 'key', 'session'],
    upstreams: {
      tinfoil: ['user', 'key'],
      openai: ['user', 'key'],
      'anthropic-oauth': ['session'],
    },
  },
}

/** By the tables of this file, and by nothing of the code that is tested but what a kind serves. */
function allowed(
  { upstreams: there }: Kind,
  { upstreams = UPSTREAM_KINDS, routes }: May,
  caller: CallerKind,
  { method, path, group }: (typeof RELAYED_ROUTES)[number],
  dialect: Dialect,
): readonly UpstreamKind[] {
  if (routes && !routes.includes(group)) return []
  // What is kept is there for the caller whose request made it, and here nobody made any but the account's.
  const isKept = path.includes('/:id') && !path.startsWith('/v1/models/')
  const isUnnamed = !routes && !USUAL_GROUPS.includes(group)
  return UPSTREAM_KINDS.filter(
    (each) =>
      (each === 'anthropic-oauth' || !(isKept || isUnnamed)) &&
      there[each]?.includes(caller) &&
      upstreams.includes(each) &&
      KINDS[each].serves({ dialect, method, path }),
  )
}

/** The policies as a document has them, each for one kind of caller. */
function documentOf({ callers, upstreams: there }: Kind, policies: Policies): string {
  const entries = callers.map((name) => {
    const { upstreams, ...rest } = policies[name]
    return {
      name,
      ...rest,
      ...(upstreams && { upstreams: upstreams.filter((each) => there[each]) }),
    }
  })
  return JSON.stringify({
    policies: entries,
    rules: callers.map((name) => ({ kind: name, policy: name })),
  })
}

describe.each(Object.entries(GATES))('a gate %s', (_gate, kind) => {
  let gate: Gate
  beforeAll(async () => {
    gate = await kind.makes()
  })
  afterAll(() => gate.close())

  describe.each(Object.entries(ONES))('under policies %s', (_name, policies) => {
    beforeAll(async () => {
      const config = join(folder, 'postern.json')
      writeFileSync(config, documentOf(kind, policies))
      await gate.restart(config)
      await eventually(async () => (await fetch(`${gate.url()}/readyz`)).ok)
    })

    test.each(kind.callers)('lets a %s reach the named upstreams, and nothing else', async (of) => {
      for (const route of RELAYED_ROUTES) {
        for (const dialect of route.dialects) {
          gate.reached()
          const answer = await fetch(
            gate.url() + route.path.replace(':id', 'an-id').replace(':item', 'an-item'),
            {
              method: route.method,
              headers: {
                ...bearer(gate.tokens[of] ?? ''),
                ...(dialect === 'anthropic' && { 'anthropic-version': '2023-06-01' }),
              },
              ...(route.method === 'POST' && { body: '{}' }),
            },
          )
          const said = await answer.text()
          const may = allowed(kind, policies[of], of, route, dialect)
          const went = gate.reached()
          const about = [of, route.method, route.path, dialect, answer.status, ...went]
          expect([...about, went.filter((each) => !may.includes(each))]).toEqual([...about, []])
          // The lists of several are one list, and kept for a while whoever asked.
          if (may.length > 1 && route.path === '/v1/models') {
            const { data } = JSON.parse(said) as { data: readonly { id: string }[] }
            expect(data.map(({ id }) => id).toSorted()).toEqual([...may].toSorted())
          } else expect([...about, went.length > 0]).toEqual([...about, may.length > 0])
          if (may.length === 0) expect(answer.status).toBeOneOf([401, 403, 404])
        }
      }
    })
  })
})
