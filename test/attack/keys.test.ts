// Attack 26 over the wire: a key set that was never there, and one that goes away.

import { afterAll, describe, expect, test } from 'bun:test'
import { type Running, start, until } from '../support/binary.ts'
import { type Forge, startForge } from '../support/forge.ts'
import { API_KEY } from '../support/gate.ts'
import { bearer, errorOf, eventually } from '../support/sink.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'

const open: { close(): Promise<unknown> }[] = []
afterAll(() => Promise.all(open.map((each) => each.close())))

interface Stage {
  readonly gate: Running
  readonly forge: Forge
  readonly upstream: Upstream
}

async function stage(
  prepare: (forge: Forge) => void,
  env: Readonly<Record<string, string>> = {},
): Promise<Stage> {
  const [forge, upstream] = await Promise.all([startForge(), startUpstream()])
  prepare(forge)
  const gate = await start({
    ...forge.env,
    TINFOIL_API_KEY: API_KEY,
    TINFOIL_BASE_URL: upstream.url,
    REQUIRE_EHBP: 'false',
    ...env,
  })
  open.push({ close: () => gate.stop() }, forge, upstream)
  return { gate, forge, upstream }
}

const models = ({ gate, forge }: Stage): Promise<Response> =>
  fetch(`${gate.url}/v1/models`, { headers: bearer(forge.token()) })

async function refusesForWantOfKeys(on: Stage): Promise<void> {
  const response = await models(on)
  expect(response.status).toBe(503)
  expect(Number(response.headers.get('retry-after'))).toBeGreaterThanOrEqual(1)
  expect(errorOf(await response.text())).toMatchObject({
    code: 'keys_unavailable',
    type: 'api_error',
  })
  const ready = await fetch(`${on.gate.url}/readyz`)
  expect(ready.status).toBe(503)
  expect(await ready.json()).toEqual({ status: 'not_ready', reason: 'keys_unavailable' })
  expect((await fetch(`${on.gate.url}/health`)).status).toBe(200)
  expect(on.upstream.connections.opened).toBe(0)
}

describe('attack 26: a key set that was never loaded is 503 keys_unavailable, and not ready', () => {
  const p384 = { kty: 'EC', crv: 'P-384', x: 'AA', y: 'AA', kid: 'a' }
  const sets: Readonly<Record<string, (forge: Forge) => string>> = {
    garbage: () => 'nonsense',
    'an empty body': () => '',
    'an empty set': () => '{"keys":[]}',
    'another document': () => '{"issuer":"x"}',
    'symmetric keys': () => '{"keys":[{"kty":"oct","k":"AAAA","kid":"a"}]}',
    'another curve': () => JSON.stringify({ keys: [p384] }),
    'a private key': ({ jwk }) => JSON.stringify({ keys: [{ ...jwk, d: 'AAAA' }] }),
    'a point off the curve': ({ jwk }) => JSON.stringify({ keys: [{ ...jwk, y: jwk['x'] }] }),
    'a member twice in the key': ({ jwk }) =>
      `{"keys":[${JSON.stringify(jwk).replace('{', '{"kid":"x",')}]}`,
    'a set with members twice': ({ jwk }) => `{"keys":[],"keys":${JSON.stringify([jwk])}}`,
    'more than 1 MiB': ({ jwk }) => JSON.stringify({ keys: [jwk], x: 'x'.repeat(1_100_000) }),
  }
  test.concurrent.each(Object.entries(sets))('%s', async (_name, body) => {
    const on = await stage((forge) => forge.respond((response) => response.end(body(forge))))
    await refusesForWantOfKeys(on)
  })

  test.concurrent('a 500', async () => {
    const on = await stage((forge) =>
      forge.respond((response) => void response.writeHead(500).end('broken')),
    )
    await refusesForWantOfKeys(on)
  })

  test.concurrent('a redirect, which nobody follows', async () => {
    const on = await stage((forge) =>
      forge.respond((response) => {
        response.writeHead(302, { location: `${forge.issuer}/elsewhere` }).end()
      }),
    )
    await refusesForWantOfKeys(on)
    expect(on.forge.asked).not.toContain('/elsewhere')
  })

  test.concurrent('a set that comes late is taken up without a restart', async () => {
    let up = false
    const on = await stage((forge) => {
      const body = JSON.stringify({ keys: [forge.jwk] })
      forge.respond((response) => void response.writeHead(up ? 200 : 503).end(up ? body : ''))
    })
    await refusesForWantOfKeys(on)
    up = true
    await eventually(async () => (await fetch(`${on.gate.url}/readyz`)).ok)
    expect((await models(on)).status).toBe(200)
  })
})

test.concurrent('attack 26: the last good keys serve on while the key set is out', async () => {
  let out = false
  const on = await stage(
    (forge) => {
      const body = JSON.stringify({ keys: [forge.jwk] })
      forge.respond((response) => {
        if (out) response.destroy()
        else response.end(body)
      })
    },
    { JWKS_REFRESH_SECONDS: '1' },
  )
  expect((await models(on)).status).toBe(200)
  out = true
  const failed = await until(
    () => on.gate.lines().find(({ msg }) => msg === 'key set cannot be read'),
    4500,
  )
  expect(failed).toMatchObject({ level: 'error', kept: 1 })
  expect((await models(on)).status).toBe(200)
  expect((await fetch(`${on.gate.url}/readyz`)).status).toBe(200)
  expect(on.gate.errors()).toBe('')
})
