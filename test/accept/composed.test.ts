// What Elysia makes of our hooks. It reads their text to decide what each request pays for, and says
// nothing where it decides otherwise than they were meant: so what it has composed is looked at here.

import { expect, test } from 'bun:test'
import { gate } from '../../src/accept/app.ts'
import { partsWith } from '../support/routes.ts'

const app = gate(partsWith('tinfoil', 'anthropic', 'anthropic-oauth'))
const composed = (relayed: boolean): [string, string][] =>
  app.routes
    .filter(({ path }) => path.startsWith('/v1/') === relayed)
    .map((route) => [`${route.method} ${route.path}`, String(route.compile())])

test('no request waits before it is routed, by the text that is minified for the binary either', async () => {
  expect(app.fetch.constructor.name).toBe('Function')
  const built = await Bun.build({
    entrypoints: [new URL('../support/composed-app.ts', import.meta.url).pathname],
    target: 'bun',
    minify: { syntax: true, whitespace: true, identifiers: false },
  })
  const [bundle] = built.outputs
  const child = Bun.spawn([process.execPath, '-'], { stdin: bundle ?? null, stdout: 'pipe' })
  expect(await child.stdout.text()).toBe('Function\n')
})

test('a relayed request is routed, guarded and handled, and nothing else is done to it', () => {
  const routes = composed(true)
  expect(routes.length).toBeGreaterThan(20)
  for (const [route, text] of routes) {
    // The plugin of the control routes would copy every header and read the query of each request.
    expect([route, text.match(/c\.(?:headers|query|cookie|body)=/g)]).toEqual([route, null])
    expect([route, text.match(/c,'server'/g)]).toEqual([route, null])
    expect([route, text.match(/e\.transform\[\d+\]/g)]).toEqual([route, null])
    expect([route, text.match(/await e\.beforeHandle\[\d+\]/g)]).toEqual([
      route,
      ['await e.beforeHandle[0]'],
    ])
    expect([route, /await handler\(c\)/.test(text)]).toEqual([route, true])
    expect([route, text.includes('validator.params')]).toEqual([route, route.includes(':id')])
  }
})

test('each route of our own contains its guard', () => {
  const guards: Readonly<Record<string, number>> = {
    // Where it is from, whose words, how often, the body.
    'POST /bootstrap': 4,
    'POST /refresh': 3,
    'GET /attestation': 2,
    'POST /attestation': 2,
    'GET /.well-known/hpke-keys': 2,
    'POST /admin/revoke': 4,
    'GET /health': 1,
    'GET /healthz': 1,
    'GET /readyz': 1,
    'HEAD /': 1,
    'HEAD /api/hello': 1,
    'GET /device': 1,
    'POST /auth/device/submit': 3,
  }
  for (const [route, text] of composed(false)) {
    const others = route.includes(' /admin/') ? 3 : 2
    const hooks = text.match(/=(?:await )?e\.transform\[\d+\]\(c\)/g)
    expect([route, hooks?.length]).toEqual([route, guards[route] ?? others])
  }
})
