// Signing in over the wire: what each route says, to whom, and what nobody can make it do.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { html } from '../../src/accept/login/markup.ts'
import { loginPage } from '../../src/accept/login/page.ts'
import { type Random, seeded } from '../support/random.ts'
import { routesWith } from '../support/routes.ts'
import { type LoginGate, loginGate } from './gate-scene.ts'
import { LONG } from '../support/long.ts'

let returning: LoginGate
let pasting: LoginGate
beforeAll(async () => {
  ;[returning, pasting] = await Promise.all([loginGate(), loginGate({ paste: true })])
})
afterAll(() => Promise.all([returning.close(), pasting.close()]))

interface Asked {
  readonly method?: string
  readonly headers?: Record<string, string>
  readonly body?: string
}

/** No browser: it sends what it is told, and follows nothing. */
const ask = (gate: LoginGate, path: string, { headers = {}, ...init }: Asked = {}) =>
  fetch(`http://127.0.0.1:${gate.port}${path}`, {
    redirect: 'manual',
    headers: { host: `localhost:${gate.port}`, ...headers },
    ...init,
  })
const post = (gate: LoginGate, path: string, asked: Asked = {}) =>
  ask(gate, path, { method: 'POST', ...asked })

const HTML = { accept: 'text/html' }
const FORM = { 'content-type': 'application/x-www-form-urlencoded' }
const JSON_BODY = { 'content-type': 'application/json' }

type Said = Readonly<Record<string, unknown>>
const said = async (response: Response): Promise<Said> => (await response.json()) as Said
const codeOf = async (response: Response): Promise<unknown> =>
  ((await response.json()) as { error: { message: string } }).error.message

/** The value of a `Set-Cookie` by its name, and the whole line. */
function cookieOf(response: Response, name: string): { value: string; line: string } | undefined {
  const line = response.headers.getSetCookie().find((each) => each.startsWith(`${name}=`))
  return line === undefined
    ? undefined
    : { value: line.slice(name.length + 1).split(';')[0] ?? '', line }
}

async function begin(gate: LoginGate) {
  const response = await post(gate, '/auth/device/start')
  expect(response.status).toBe(200)
  const attempt = cookieOf(response, 'postern_login')?.value ?? ''
  return { response, attempt, told: await said(response) }
}

/** The redirect with which the authorization server ends a sign-in. */
const authorized = (gate: LoginGate, told: Said, deny = false): Promise<URL> =>
  gate.server.signIn(new URL(String(told['auth_url'])), { deny })

async function signIn(gate: LoginGate): Promise<{ key: string; response: Response; body: Said }> {
  const { attempt, told } = await begin(gate)
  const { searchParams } = await authorized(gate, told)
  const response = await post(gate, '/auth/device/submit', {
    headers: { ...JSON_BODY, cookie: `postern_login=${attempt}` },
    body: JSON.stringify({ code: `${searchParams.get('code')}#${searchParams.get('state')}` }),
  })
  expect(response.status).toBe(200)
  const body = await said(response)
  return { key: String(body['session_key']), response, body }
}

const bearer = (key: string) => ({ authorization: `Bearer ${key}` })
const status = async (gate: LoginGate, headers: Record<string, string>): Promise<Said> => {
  const response = await ask(gate, '/auth/status', { headers })
  expect(response.status).toBe(200)
  return said(response)
}

describe('a program', () => {
  test('begins, pastes code#state, and has a session key', async () => {
    const { told, response } = await begin(pasting)
    expect(told).toEqual({
      auth_url: expect.stringContaining(pasting.server.issuer),
      state: expect.stringMatching(/^[A-Za-z0-9_-]{86}$/),
      expires_in: 600,
      paste: true,
    })
    expect(cookieOf(response, 'postern_login')?.line).toMatch(
      /^postern_login=[^;]+; Max-Age=600; Path=\/auth; SameSite=Strict; HttpOnly$/,
    )
    const signedIn = await signIn(pasting)
    expect(signedIn.body).toEqual({
      authenticated: true,
      expires_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      scope: pasting.server.scope,
      renewable: true,
      session_key: expect.stringMatching(/^pst_[A-Za-z0-9_-]{43}\.[A-Za-z0-9_-]{43}$/),
    })
    const { key, body, response: ended } = signedIn
    expect(cookieOf(ended, 'postern_session')?.line).toBe(
      `postern_session=${key}; Path=/; SameSite=Strict; HttpOnly`,
    )
    expect(cookieOf(ended, 'postern_login')?.line).toContain('Max-Age=0')
    for (const headers of [
      bearer(key),
      { 'x-api-key': key },
      { cookie: `postern_session=${key}` },
    ]) {
      const { session_key: _, ...shown } = body
      expect(await status(pasting, headers)).toEqual(shown)
    }
    expect(await status(pasting, {})).toEqual({ authenticated: false })
  })

  test('whose person signs in elsewhere gets the key once', async () => {
    const { told, attempt } = await begin(returning)
    expect(told['paste']).toBe(false)
    const openUrl = new URL(String(told['open_url']))
    expect(openUrl.origin).toBe(returning.url)
    const cookie = { cookie: `postern_login=${attempt}` }
    expect(await status(returning, cookie)).toEqual({ authenticated: false, pending: true })

    const opened = await ask(returning, openUrl.pathname + openUrl.search)
    expect(opened.status).toBe(303)
    const location = new URL(opened.headers.get('location') ?? '')
    expect(location.origin).toBe(returning.server.issuer)
    const browser = cookieOf(opened, 'postern_login')
    expect(browser?.line).toContain('; SameSite=Lax; HttpOnly')
    expect((await ask(returning, openUrl.pathname + openUrl.search)).status).toBe(400)

    const back = await returning.server.signIn(location)
    const landed = await ask(returning, back.pathname + back.search, {
      headers: { ...HTML, cookie: `postern_login=${browser?.value}` },
    })
    expect(landed.status).toBe(200)
    expect(await landed.text()).toContain('Signed in')

    const collected = await status(returning, cookie)
    expect(collected['session_key']).toMatch(/^pst_/)
    expect(await status(returning, cookie)).toEqual({ authenticated: false })
    expect(await status(returning, bearer(String(collected['session_key'])))).toMatchObject({
      authenticated: true,
    })
  })

  test('refreshes, and signs out on the server too', async () => {
    const { key } = await signIn(returning)
    const before = returning.server.counts.refreshed
    const refreshed = await post(returning, '/auth/refresh', { headers: bearer(key) })
    expect([refreshed.status, await said(refreshed)]).toEqual([
      200,
      expect.objectContaining({ authenticated: true, renewable: true }),
    ])
    expect(returning.server.counts.refreshed).toBe(before + 1)
    const out = await post(returning, '/auth/logout', { headers: bearer(key) })
    expect(await said(out)).toEqual({ authenticated: false })
    expect(await status(returning, bearer(key))).toEqual({ authenticated: false })
    const again = await post(returning, '/auth/refresh', { headers: bearer(key) })
    expect(again.status).toBe(401)
    expect(again.headers.get('www-authenticate')).toContain('error="invalid_token"')
    // It was over already, and is so now.
    expect((await post(returning, '/auth/logout', { headers: bearer(key) })).status).toBe(200)
  })

  test('learns that the authorization server cannot be reached; only the log has the reason', async () => {
    const { key } = await signIn(returning)
    returning.server.setFailing(503)
    const { attempt, told } = await begin(returning)
    const { search } = await authorized(returning, told)
    const failed = await ask(returning, `/auth/callback${search}`, {
      headers: { cookie: `postern_login=${attempt}` },
    })
    returning.server.setFailing(undefined)
    expect([failed.status, await codeOf(failed)]).toEqual([
      503,
      'the authorization server cannot be reached now',
    ])
    expect(await status(returning, bearer(key))).toMatchObject({ authenticated: true })
  })

  // Bun drops a connection that is silent for as long as ours to strangers may be.
  test.skipIf(!LONG)('waits for an authorization server that takes 15 seconds', async () => {
    const { attempt, told } = await begin(returning)
    const { search } = await authorized(returning, told)
    returning.server.setDelay(15_000)
    const response = await ask(returning, `/auth/callback${search}`, {
      headers: { cookie: `postern_login=${attempt}` },
    })
    expect(response.status).toBe(200)
    const { session_key: key } = await said(response)
    const refreshed = await post(returning, '/auth/refresh', { headers: bearer(String(key)) })
    expect(refreshed.status).toBe(200)
    returning.server.setDelay(0)
  })

  test.each([
    ['nothing', '', FORM],
    ['an empty code', 'code=', FORM],
    ['no state', 'code=abc', FORM],
    ['no code', 'code=%23state', FORM],
    ['two codes', 'code=a%23b&code=c%23d', FORM],
    ['a code without end', `code=${'a'.repeat(5000)}%23b`, FORM],
    ['a state with a space', 'code=a%23b+c', FORM],
    ['no state', '{"code":"abc"}', JSON_BODY],
    ['a number', '{"code":1}', JSON_BODY],
    ['a number for the state', '{"code":"a","state":7}', JSON_BODY],
    ['a code twice', '{"code":"a#b","code":"c#d"}', JSON_BODY],
    ['a NUL', '{"code":"a\\u0000#b"}', JSON_BODY],
    ['an address without an answer', '{"code":"https://evil.example/?x=1"}', JSON_BODY],
    ['a list', '[]', JSON_BODY],
    ['null', 'null', JSON_BODY],
    ['half of JSON', '{', JSON_BODY],
  ] as const)('may paste again after %s, which is no answer', async (_, body, headers) => {
    const { attempt, told } = await begin(pasting)
    const cookie = `postern_login=${attempt}`
    const wrong = await post(pasting, '/auth/device/submit', {
      headers: { ...headers, cookie, accept: 'application/json' },
      body,
    })
    expect(wrong.status).toBe(400)
    expect(cookieOf(wrong, 'postern_login')).toBeUndefined()
    const { searchParams } = await authorized(pasting, told)
    const [code, state] = [searchParams.get('code'), searchParams.get('state')]
    const right = await post(pasting, '/auth/device/submit', {
      headers: { ...JSON_BODY, cookie },
      body: JSON.stringify({ code, state }),
    })
    expect(right.status).toBe(200)
  })

  test('may paste the whole address that the browser was left at', async () => {
    const { attempt, told } = await begin(pasting)
    const { href } = await authorized(pasting, told)
    const response = await post(pasting, '/auth/device/submit', {
      headers: { ...JSON_BODY, cookie: `postern_login=${attempt}` },
      body: JSON.stringify({ code: ` ${href} ` }),
    })
    expect(response.status).toBe(200)
  })

  test('is refused a body that is too long for a code, before it is read', async () => {
    const body = `code=${'a'.repeat(20_000)}`
    const response = await post(pasting, '/auth/device/submit', { headers: FORM, body })
    expect(response.status).toBe(413)
  })

  test('with two keys that differ is refused, and is not signed out by it', async () => {
    const { key } = await signIn(returning)
    const headers = { ...bearer(key), 'x-api-key': `${key}x` }
    expect((await post(returning, '/auth/refresh', { headers })).status).toBe(400)
    expect(await status(returning, headers)).toEqual({ authenticated: false })
    expect(await status(returning, bearer(key))).toMatchObject({ authenticated: true })
  })
})

describe('attack 39: an answer that is not ours', () => {
  const finish = (gate: LoginGate, search: string, attempt?: string) =>
    ask(gate, `/auth/callback${search}`, {
      headers: { ...HTML, ...(attempt !== undefined && { cookie: `postern_login=${attempt}` }) },
    })

  test.each([
    ['without the cookie of who began', (search: string) => [search, undefined] as const],
    ['without a state', (search: string, own: string) => [without(search, 'state'), own] as const],
    ['with a state of another', (search: string, own: string) => [tampered(search), own] as const],
    ['with another issuer', (search: string, own: string) => [mixedUp(search), own] as const],
    ['twice over', (search: string, own: string) => [`${search}&state=x&code=y`, own] as const],
    ['without a code', (search: string, own: string) => [without(search, 'code'), own] as const],
  ])('%s signs nobody in', async (_, change) => {
    const { attempt, told } = await begin(returning)
    const before = returning.server.asked
    const { search } = await authorized(returning, told)
    const [changed, from] = change(search, attempt)
    const response = await finish(returning, changed, from)
    expect(response.status).toBe(400)
    expect(cookieOf(response, 'postern_session')).toBeUndefined()
    expect(await response.text()).not.toContain('pst_')
    expect(returning.server.asked).toBe(before)
  })

  test("with another browser's cookie signs nobody in, and does not use up its attempt", async () => {
    const [mine, theirs] = [await begin(returning), await begin(returning)]
    const { search } = await authorized(returning, mine.told)
    expect((await finish(returning, search, theirs.attempt)).status).toBe(400)
    expect((await finish(returning, search, mine.attempt)).status).toBe(200)
  })

  test('that was used once is used up', async () => {
    const { attempt, told } = await begin(returning)
    const { search } = await authorized(returning, told)
    expect((await finish(returning, search, attempt)).status).toBe(200)
    const again = await finish(returning, search, attempt)
    expect(again.status).toBe(400)
    expect(cookieOf(again, 'postern_session')).toBeUndefined()
    expect(cookieOf(again, 'postern_login')?.line).toContain('Max-Age=0')
  })

  test('two cookies of one name count as none: another port may have added one', async () => {
    const { attempt, told } = await begin(returning)
    const { search } = await authorized(returning, told)
    const twice = `${attempt}; postern_login=${attempt}`
    expect((await finish(returning, search, twice)).status).toBe(400)
    expect((await finish(returning, search, attempt)).status).toBe(200)
  })

  test('no reason stands in the answer, and the reason is in the log', async () => {
    const { attempt, told } = await begin(returning)
    const { search } = await authorized(returning, told, true)
    expect(search).toContain('error=access_denied')
    const response = await finish(returning, search, attempt)
    const text = await response.text()
    expect(text).toContain('The sign-in was not accepted')
    for (const word of ['access_denied', 'not today']) expect(text).not.toContain(word)
    const line = returning.lines().findLast(({ route }) => route === '/auth/callback')
    expect(line).toMatchObject({ status: 400, code: 'login_failed', reason: expect.any(String) })
  })
})

const without = (search: string, name: string): string => {
  const query = new URLSearchParams(search)
  query.delete(name)
  return `?${query}`
}
const tampered = (search: string): string => {
  const query = new URLSearchParams(search)
  const state = query.get('state') ?? ''
  query.set('state', (state.startsWith('A') ? 'B' : 'A') + state.slice(1))
  return `?${query}`
}
const mixedUp = (search: string): string => {
  const query = new URLSearchParams(search)
  query.set('iss', 'https://evil.example')
  return `?${query}`
}

const NAMES =
  'return return_to returnTo return_url returnUrl next continue redirect redirect_to redirect_uri redirect_url redirectUri url u uri dest destination target to go goto out view path file host domain origin callback callback_url cb service rurl r ref referer success_url failure_url logout post_logout_redirect_uri open_url auth_url link href action location forward page site html ticket state code iss error error_uri error_description'
    .split(' ')
    .filter((each) => each !== '')

/** Shapes that parsers disagree about, as lists of open redirects have them. */
const SHAPES: readonly ((host: string) => string)[] = [
  (host) => `https://${host}`,
  (host) => `http://${host}/auth/callback`,
  (host) => `//${host}`,
  (host) => `///${host}`,
  (host) => `////${host}/%2f..`,
  (host) => `/\\${host}`,
  (host) => `\\\\${host}`,
  (host) => `/\t/${host}`,
  (host) => `https:${host}`,
  (host) => `https:/${host}`,
  (host) => `https:\\\\${host}`,
  (host) => `https://localhost@${host}`,
  (host) => `https://127.0.0.1.${host}`,
  (host) => `https://${host}#localhost`,
  (host) => `https://${host}?localhost`,
  (host) => `https://${host}\\@localhost`,
  (host) => `javascript:alert('${host}')`,
  (host) => `data:text/html,<script>location='//${host}'</script>`,
  (host) => `"><meta http-equiv=refresh content=0;//${host}>`,
  (host) => `" formaction="//${host}`,
  (host) => `'><base href='//${host}'>`,
  (host) => `</title><script src=//${host}></script>`,
  (host) => `\r\nLocation: https://${host}`,
  (host) => `%0d%0aLocation:%20//${host}`,
  (host) => `〱${host}`,
  (host) => `https://${host}%E3%80%82`,
  (host) => `.${host}`,
  (host) => `;@${host}`,
  (host) => `${host}%00.localhost`,
]

interface Payload {
  readonly name: string
  readonly value: string
  readonly host: string
}

function payloads(random: Random): Payload[] {
  return SHAPES.flatMap((shape) =>
    Array.from({ length: 20 }, () => {
      const host = `evil-${random.int(1e9)}.example`
      const value = shape(host)
      const coded = random.int(4) === 0 ? encodeURIComponent(value) : value
      return { name: random.pick(NAMES), value: coded, host }
    }),
  )
}

describe('attack 39: an open redirect', () => {
  /** Where the answer would lead anybody. */
  const leadsTo = (text: string, response: Response): string[] => [
    ...[...text.matchAll(/(?:href|action|src|formaction|content|url)\s*=\s*"?([^">]*)/gi)].map(
      ([, to = '']) => to,
    ),
    ...['location', 'refresh', 'link', 'set-cookie'].flatMap(
      (name) => response.headers.get(name) ?? [],
    ),
  ]

  test(
    'is in no parameter: 580 payloads come back in no header, link or form, nor anywhere else',
    seeded(async (random) => {
      const all = payloads(random)
      expect(all).toHaveLength(580)
      const { key } = await signIn(pasting)
      const begun = await begin(pasting)
      for (const [at, { name, value, host }] of all.entries()) {
        const query = new URLSearchParams({ [name]: value }).toString()
        const cookie = `postern_session=${key}; postern_login=${begun.attempt}`
        const headers = { ...HTML, cookie }
        const form = { headers: { ...headers, ...FORM }, body: query }
        const response = await [
          () => ask(pasting, `/auth/device?${query}`, { headers }),
          () => ask(pasting, `/auth/device?${query}`, { headers: HTML }),
          () => ask(pasting, `/auth/callback?${query}`, { headers }),
          () => ask(pasting, `/auth/device/open?${query}`, { headers: HTML }),
          () => ask(pasting, `/auth/status?${query}`, { headers }),
          () => post(pasting, `/auth/refresh?${query}`, form),
          () =>
            post(pasting, `/auth/device/submit?${query}`, {
              ...form,
              headers: { ...HTML, ...FORM },
            }),
          () => post(pasting, '/auth/logout', { ...form, headers: { ...HTML, ...FORM } }),
          () => ask(pasting, `/auth/assets/login.css?${query}`, { headers }),
        ][at % 9]?.()
        if (!response) throw new Error('asked nothing')
        const text = await response.text()
        expect([value, response.status >= 300 && response.status < 400]).toEqual([value, false])
        const places = leadsTo(text, response).filter((to) => to.includes(host))
        expect([value, places, text.includes(host)]).toEqual([value, [], false])
        for (const to of text.matchAll(/(?:href|action|src)="([^"]*)"/g)) {
          expect([value, to[1]]).toEqual([value, expect.stringMatching(/^\/auth\/[a-z/.]+$/)])
        }
        expect([...response.headers.values()].join('\n')).not.toContain(host)
      }
    }),
    30_000,
  )

  test(
    'is in no parameter of a start, whose one link leads to the authorization server',
    seeded(async (random) => {
      for (const { name, value, host } of payloads(random).filter((_, at) => at % 10 === 0)) {
        const query = new URLSearchParams({ [name]: value }).toString()
        const response = await post(returning, `/auth/device/start?${query}`, {
          headers: { ...HTML, ...FORM },
          body: query,
        })
        const text = await response.text()
        expect([value, response.status, text.includes(host)]).toEqual([value, 200, false])
        const links = [...text.matchAll(/<a\s[^>]*href="([^"]*)"/g)].map(([, to = '']) => to)
        expect(links).toHaveLength(1)
        expect(links[0]).toStartWith(returning.server.issuer)
        // Nor of what a good ticket opens, the one redirect that there is.
        const openUrl = new URL(String((await begin(returning)).told['open_url']))
        // In front of it: of two tickets the last one counts.
        const opened = await ask(
          returning,
          `${openUrl.pathname}?${query}&${openUrl.search.slice(1)}`,
        )
        const location = opened.headers.get('location')
        expect([value, location]).toEqual([
          value,
          expect.stringContaining(returning.server.authorizeUrl.href),
        ])
        expect(location).not.toContain(host)
      }
    }),
  )

  test('is not in the Host: another name is refused, and stands in no answer', async () => {
    for (const host of [
      'evil.example',
      'localhost.evil.example',
      'evil.example:80',
      '127.0.0.1.evil.example',
      '127.0.0.2',
      '0.0.0.0',
      '[::2]',
      'localhost.',
      '2130706433',
    ]) {
      for (const path of ['/auth/device', '/auth/status', '/auth/assets/login.js']) {
        const response = await ask(returning, path, { headers: { ...HTML, host } })
        const text = await response.text()
        expect([host, response.status, text.includes('evil')]).toEqual([host, 400, false])
        expect(text).not.toMatch(/<form|<a /)
      }
      const started = await post(returning, '/auth/device/start', { headers: { host } })
      expect([host, started.status, started.headers.getSetCookie()]).toEqual([host, 400, []])
    }
    for (const host of ['localhost', '127.0.0.1:1234', '[::1]:80', 'LOCALHOST']) {
      const response = await ask(returning, '/auth/device', { headers: { host } })
      expect([host, response.status]).toEqual([host, 200])
    }
  })
})

describe('attack 40: a session', () => {
  test('is new at each sign-in, and the old one is then unknown', async () => {
    const first = await signIn(returning)
    const second = await signIn(returning)
    expect(second.key).not.toBe(first.key)
    expect(await status(returning, bearer(first.key))).toEqual({ authenticated: false })
    expect(await status(returning, bearer(second.key))).toMatchObject({ authenticated: true })
  })

  test('cannot be fixed from outside: a browser gets another one than it brought', async () => {
    const { key: planted } = await signIn(returning)
    const { attempt, told } = await begin(returning)
    const { search } = await authorized(returning, told)
    const response = await ask(returning, `/auth/callback${search}`, {
      headers: { ...HTML, cookie: `postern_session=${planted}; postern_login=${attempt}` },
    })
    expect(cookieOf(response, 'postern_session')?.value).toMatch(/^pst_/)
    expect(cookieOf(response, 'postern_session')?.value).not.toBe(planted)
    expect(await status(returning, bearer(planted))).toEqual({ authenticated: false })
  })

  test('ends at the gate, not only in the browser', async () => {
    const { key } = await signIn(returning)
    const cookie = `postern_session=${key}`
    const own = { 'sec-fetch-site': 'same-origin' }
    const out = await post(returning, '/auth/logout', { headers: { cookie, ...FORM, ...own } })
    expect(await out.text()).toContain('Signed out')
    expect(cookieOf(out, 'postern_session')?.line).toBe(
      'postern_session=; Max-Age=0; Path=/; SameSite=Strict; HttpOnly',
    )
    expect(await status(returning, { cookie })).toEqual({ authenticated: false })
    expect(await status(returning, bearer(key))).toEqual({ authenticated: false })
  })

  test('changes nothing by its cookie without an Origin; by its key it does', async () => {
    const { key } = await signIn(returning)
    const cookie = `postern_session=${key}`
    for (const path of ['/auth/refresh', '/auth/logout']) {
      for (const kind of [FORM, JSON_BODY, {}]) {
        const response = await post(returning, path, { headers: { cookie, ...kind } })
        expect(response.status).toBe(403)
        expect(await response.text()).toMatch(/Origin|Refused/)
        expect(cookieOf(response, 'postern_session')).toBeUndefined()
      }
    }
    expect(await status(returning, { cookie })).toMatchObject({ authenticated: true })
    for (const said of [
      { origin: returning.url },
      { 'sec-fetch-site': 'same-origin' },
      bearer(key),
    ]) {
      const response = await post(returning, '/auth/refresh', { headers: { cookie, ...said } })
      expect(response.status).toBe(200)
    }
    const out = await post(returning, '/auth/logout', {
      headers: { cookie, origin: returning.url },
    })
    expect(out.status).toBe(200)
    expect(await status(returning, { cookie })).toEqual({ authenticated: false })
  })

  test('that the gate does not know is taken from the browser again', async () => {
    const response = await ask(returning, '/auth/device', {
      headers: { ...HTML, cookie: 'postern_session=pst_made-up.value' },
    })
    expect(await response.text()).toContain('Not signed in')
    expect(cookieOf(response, 'postern_session')?.line).toContain('Max-Age=0')
  })

  describe('and a disk that fails', () => {
    const own = { 'sec-fetch-site': 'same-origin' }
    const unreadable = async (work: () => Promise<void>): Promise<void> => {
      returning.database.run('ALTER TABLE login_session RENAME TO away')
      try {
        await work()
      } finally {
        returning.database.run('ALTER TABLE away RENAME TO login_session')
      }
    }

    test('a session that cannot be read is not said to be signed out, and keeps its cookie', async () => {
      const { key } = await signIn(returning)
      const cookie = `postern_session=${key}`
      await unreadable(async () => {
        for (const headers of [{ cookie }, bearer(key)]) {
          const response = await ask(returning, '/auth/status', { headers })
          expect(response.status).toBe(503)
          expect(response.headers.get('retry-after')).toBe('5')
          expect(await codeOf(response)).toBe('the sign-in cannot be read now')
          expect(cookieOf(response, 'postern_session')).toBeUndefined()
        }
        const page = await ask(returning, '/auth/device', { headers: { ...HTML, cookie } })
        expect(page.status).toBe(503)
        expect(await page.text()).not.toContain('Not signed in')
        expect(cookieOf(page, 'postern_session')).toBeUndefined()
      })
      expect(await status(returning, { cookie })).toMatchObject({ authenticated: true })
    })

    test('a sign-out that cannot read the session is refused, and the key goes on', async () => {
      const { key } = await signIn(returning)
      const cookie = `postern_session=${key}`
      await unreadable(async () => {
        for (const headers of [{ cookie, ...own }, bearer(key), { cookie, ...own, ...HTML }]) {
          const response = await post(returning, '/auth/logout', { headers })
          expect(response.status).toBe(503)
          expect(await response.text()).not.toMatch(/"authenticated":false|Signed out/)
          expect(cookieOf(response, 'postern_session')).toBeUndefined()
        }
      })
      expect(await status(returning, bearer(key))).toMatchObject({ authenticated: true })
    })

    test('a sign-out that cannot write is refused, and the key goes on', async () => {
      const { key } = await signIn(returning)
      const cookie = `postern_session=${key}`
      returning.database.run('PRAGMA query_only = ON')
      try {
        const response = await post(returning, '/auth/logout', { headers: { cookie, ...own } })
        expect(response.status).toBe(503)
        expect(await codeOf(response)).toBe('the sign-in cannot be ended now')
        expect(cookieOf(response, 'postern_session')).toBeUndefined()
      } finally {
        returning.database.run('PRAGMA query_only = OFF')
      }
      expect(await status(returning, bearer(key))).toMatchObject({ authenticated: true })
      expect((await post(returning, '/auth/logout', { headers: bearer(key) })).status).toBe(200)
      expect(await status(returning, bearer(key))).toEqual({ authenticated: false })
    })
  })

  const POSTS = routesWith('anthropic-oauth').filter(
    ({ method, path }) => method === 'POST' && path.startsWith('/auth/'),
  )
  const FOREIGN: readonly Record<string, string>[] = [
    { origin: 'https://evil.example' },
    { origin: 'http://localhost' },
    { origin: 'http://localhost:1' },
    { origin: 'https://localhost:PORT' },
    { origin: 'http://127.0.0.1:PORT' },
    { origin: 'http://localhost:PORT.evil.example' },
    { origin: 'http://localhost:PORT, https://evil.example' },
    { origin: 'null' },
    { origin: '' },
    { origin: 'null', 'sec-fetch-site': 'cross-site' },
    { origin: 'null', 'sec-fetch-site': 'none' },
    { origin: 'https://allowed.example' },
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site' },
    { 'sec-fetch-site': 'Same-Origin' },
    { 'sec-fetch-site': '' },
    { 'sec-fetch-site': 'same-origin, cross-site' },
    { origin: 'http://localhost:PORT', 'sec-fetch-site': 'cross-site' },
    { origin: 'https://evil.example', 'sec-fetch-site': 'same-origin' },
  ]

  test('is neither begun, refreshed nor ended by another page', async () => {
    const gate = await loginGate({ corsOrigins: ['https://allowed.example'] })
    const { key } = await signIn(gate)
    const { attempt } = await begin(gate)
    const before = gate.server.asked
    expect(POSTS).toHaveLength(4)
    for (const { path } of POSTS) {
      for (const foreign of FOREIGN) {
        const own = Object.entries(foreign).map(
          ([name, value]) => [name, value.replace('PORT', String(gate.port))] as const,
        )
        const response = await post(gate, path, {
          headers: {
            ...Object.fromEntries(own),
            cookie: `postern_session=${key}; postern_login=${attempt}`,
          },
        })
        expect([path, own, response.status]).toEqual([path, own, 403])
        expect(response.headers.getSetCookie()).toEqual([])
        expect(await codeOf(response)).toBe('requests from other pages are refused')
      }
    }
    expect(gate.server.asked).toBe(before)
    expect(await status(gate, bearer(key))).toMatchObject({ authenticated: true })
    await gate.close()
  })

  test('is our own page’s to end, with and without a script', async () => {
    for (const own of [
      { origin: returning.url, 'sec-fetch-site': 'same-origin' },
      { origin: returning.url },
      { 'sec-fetch-site': 'same-origin' },
      { 'sec-fetch-site': 'none' },
      // A form of a page under `no-referrer`.
      { origin: 'null', 'sec-fetch-site': 'same-origin' },
    ]) {
      const response = await post(returning, '/auth/logout', { headers: { ...HTML, ...own } })
      expect([own, response.status]).toEqual([own, 200])
    }
  })

  test('is not shown to another page: its cookie does not count there', async () => {
    const { key } = await signIn(returning)
    const cookie = `postern_session=${key}`
    for (const site of ['cross-site', 'same-site']) {
      const headers = { cookie, 'sec-fetch-site': site }
      expect(await status(returning, headers)).toEqual({ authenticated: false })
    }
    const own = { cookie, 'sec-fetch-site': 'same-origin' }
    expect(await status(returning, own)).toMatchObject({ authenticated: true })
  })

  test('behind TLS is in a __Host- cookie, Secure, and no other name is read', async () => {
    const gate = await loginGate({ publicUrl: 'https://postern.internal' })
    const { key, response } = await signIn(gate)
    expect(cookieOf(response, '__Host-postern_session')?.line).toBe(
      `__Host-postern_session=${key}; Path=/; SameSite=Strict; HttpOnly; Secure`,
    )
    const begun = await begin(gate)
    expect(cookieOf(begun.response, 'postern_login')?.line).toEndWith('; HttpOnly; Secure')
    const host = { host: 'postern.internal' }
    expect(await status(gate, { cookie: `__Host-postern_session=${key}`, ...host })).toMatchObject({
      authenticated: true,
    })
    expect(await status(gate, { cookie: `postern_session=${key}`, ...host })).toEqual({
      authenticated: false,
    })
    for (const other of ['evil.postern.internal', 'xpostern.internal', 'postern.internal.evil']) {
      const asked = await ask(gate, '/auth/status', { headers: { host: other } })
      expect([other, asked.status]).toEqual([other, 400])
    }
    const own = { origin: 'https://postern.internal', ...host, ...bearer(key) }
    expect((await post(gate, '/auth/logout', { headers: own })).status).toBe(200)
    await gate.close()
  })
})

describe('every answer', () => {
  test('forbids everything that the page does not need, and is not cached', async () => {
    const paths = routesWith('anthropic-oauth').filter(({ path }) => path.startsWith('/auth/'))
    expect(paths).toHaveLength(11)
    for (const { method, path } of paths) {
      for (const headers of [
        HTML,
        { accept: '*/*' },
        { ...HTML, origin: 'https://evil.example' },
      ]) {
        const response = await ask(returning, path, { method, headers })
        const policy = response.headers.get('content-security-policy') ?? ''
        expect([path, policy.split('; ')]).toEqual([
          path,
          [
            "default-src 'none'",
            "style-src 'self'",
            "script-src 'self'",
            "img-src 'self'",
            "connect-src 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
          ],
        ])
        expect(Object.fromEntries(response.headers)).toMatchObject({
          'cache-control': 'no-store',
          'cross-origin-opener-policy': 'same-origin',
          'cross-origin-resource-policy': 'same-origin',
          'referrer-policy': 'no-referrer',
          'x-content-type-options': 'nosniff',
          'x-frame-options': 'DENY',
        })
        expect(response.headers.has('access-control-allow-origin')).toBe(false)
      }
    }
  })

  test('to a person is a page, and to a program the error of the API', async () => {
    for (const [path, code] of [
      ['/auth/callback?code=a&state=b', 400],
      ['/auth/device/open?ticket=a', 400],
    ] as const) {
      const page = await ask(returning, path, { headers: HTML })
      expect([page.status, page.headers.get('content-type')]).toEqual([
        code,
        'text/html; charset=utf-8',
      ])
      expect(await page.text()).toStartWith('<!doctype html>')
      const wire = await ask(returning, path)
      expect([wire.status, await said(wire)]).toEqual([
        code,
        {
          type: 'error',
          error: {
            type: 'invalid_request_error',
            message: 'the sign-in was not accepted; start again',
          },
          request_id: expect.any(String),
        },
      ])
    }
  })

  test("serves the page's assets with the right type and hash", async () => {
    const page = await (await ask(returning, '/auth/device', { headers: HTML })).text()
    const hashes = [...page.matchAll(/(?:href|src)="([^"]+)"\s+integrity="(sha384-[^"]+)"/g)]
    expect(hashes.map(([, path]) => path).toSorted()).toEqual([
      '/auth/assets/login.css',
      '/auth/assets/login.js',
    ])
    for (const [, path = '', integrity = ''] of hashes) {
      const bytes = await (await ask(returning, path)).bytes()
      expect(`sha384-${new Bun.CryptoHasher('sha384').update(bytes).digest('base64')}`).toBe(
        integrity,
      )
    }
    const types = await Promise.all(
      ['css', 'js', 'svg'].map(async (kind) =>
        (await ask(returning, `/auth/assets/login.${kind}`)).headers.get('content-type'),
      ),
    )
    expect(types).toEqual([
      'text/css; charset=utf-8',
      'text/javascript; charset=utf-8',
      'image/svg+xml',
    ])
  })

  test('has nothing inline, and nothing from elsewhere', async () => {
    const page = await (await ask(returning, '/auth/device', { headers: HTML })).text()
    expect(page).not.toMatch(/<style|\sstyle=|\son[a-z]+=|javascript:|<script(?![^>]*\ssrc=)/i)
    expect(page).not.toMatch(/(?:src|href|action)="(?!\/auth\/)/)
    const style = await (await ask(returning, '/auth/assets/login.css')).text()
    expect(style).not.toMatch(/url\(|@import|https?:/)
  })

  test('escapes any text', () => {
    const hostile = `"'><script>&lt;x`
    const escaped = '&quot;&#39;&gt;&lt;script&gt;&amp;lt;x'
    const { html: text } = html`<p title="${hostile}">${hostile}</p>`
    expect(text).toBe(`<p title="${escaped}">${escaped}</p>`)
    expect(html`${undefined}${7}${[html`<b></b>`]}`.html).toBe('7<b></b>')
    const link = new URL('https://auth.example/?a=1&b="><script>')
    const status = { expiresAtMs: undefined, scope: hostile, renewable: false }
    for (const view of [
      { kind: 'under_way', link, provider: hostile, paste: true, minutes: 10 },
      { kind: 'under_way', link, provider: hostile, paste: false, minutes: 10 },
      { kind: 'signed_in', status, key: hostile, baseUrl: hostile },
    ] as const) {
      const page = loginPage(view)
      expect(page.match(/<script/g)).toHaveLength(1)
      expect(page).toContain(escaped)
      expect(page).not.toContain(hostile)
    }
  })

  test('is limited by address, a page for a person as well', async () => {
    const gate = await loginGate({ perMinute: 3 })
    const asked = async (headers: Record<string, string>) => {
      const response = await ask(gate, '/auth/device', { headers })
      return [response.status, response.headers.has('retry-after'), await response.text()] as const
    }
    for (let at = 0; at < 3; at += 1) expect((await asked(HTML))[0]).toBe(200)
    expect(await asked(HTML)).toEqual([429, true, expect.stringContaining('Too many requests')])
    expect(await asked({})).toEqual([429, true, expect.stringContaining('rate_limit_error')])
    await gate.close()
  })
})

test('neither a key, a code, a state nor an attempt gets into the log', async () => {
  const gate = await loginGate()
  const { attempt, told } = await begin(gate)
  const { searchParams, search } = await authorized(gate, told)
  await ask(gate, `/auth/callback${search}`, {
    headers: { ...HTML, cookie: `postern_login=${attempt}` },
  })
  await ask(gate, `/auth/callback${search}`, { headers: HTML })
  const { key } = await signIn(gate)
  await post(gate, '/auth/refresh', { headers: bearer(key) })
  await post(gate, '/auth/logout', { headers: bearer(key) })
  expect(gate.lines().length).toBeGreaterThan(6)
  for (const canary of [
    attempt,
    key,
    searchParams.get('code') ?? '-',
    String(told['state']),
    'auth_url',
    gate.server.issuer,
  ]) {
    expect(gate.log()).not.toContain(canary)
  }
  await gate.close()
})
