// The sign-in page in a real browser: with its script and without, with a code to paste and with a
// redirect that comes back, and against pages of others that would use it.

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core'
import { until } from '../support/binary.ts'
import { hasBrowser, startBrowser } from '../support/browser.ts'
import { type LoginGate, loginGate } from './gate-scene.ts'
import { LONG } from '../support/long.ts'

// All visits go on at once, each in a context of its own, and other tests may run beside them.

const STEP_MS = 60_000
// On a machine that does much else, a browser takes its time.
setDefaultTimeout(300_000)

describe.skipIf(!(await hasBrowser()))('the page', () => {
  let browser: Browser
  beforeAll(async () => {
    browser = await startBrowser()
  })
  afterAll(() => browser?.close())

  interface Visit {
    /** Of this visit alone: it serves one person, and who signs in anew ends what was before. */
    readonly gate: LoginGate
    readonly page: Page
    readonly context: BrowserContext
    /** What the browser forbade by the page's policy, and errors of its script. */
    readonly wrong: string[]
    /** Of each request to the gate, by its path: what it said of where it came from. */
    readonly sites: Map<string, string | undefined>
  }

  async function visiting(
    mode: 'paste' | 'return',
    options: BrowserContextOptions,
    visit: (visit: Visit) => Promise<void>,
  ): Promise<void> {
    const gate = await loginGate({ paste: mode === 'paste' })
    const context = await browser.newContext({
      permissions: ['clipboard-read', 'clipboard-write'],
      ...options,
    })
    context.setDefaultTimeout(STEP_MS)
    const wrong: string[] = []
    const sites: Visit['sites'] = new Map()
    await context.exposeFunction('violated', (what: string) => wrong.push(what))
    await context.addInitScript({ content: TELL_VIOLATIONS })
    const ours = (url: string): boolean => new URL(url).port === String(gate.port)
    context.on('console', (message) => {
      if (/content security|trusted ?type|refused to/i.test(message.text()))
        wrong.push(message.text())
    })
    context.on('weberror', (error) => wrong.push(String(error.error())))
    context.on('requestfailed', (request) => {
      const why = request.failure()?.errorText
      // What a next page has overtaken is nobody's fault.
      if (ours(request.url()) && why !== 'net::ERR_ABORTED') wrong.push(`${request.url()}: ${why}`)
    })
    context.on('response', async (response) => {
      if (!ours(response.url())) return
      const headers = await response.request().allHeaders()
      sites.set(new URL(response.url()).pathname, headers['sec-fetch-site'])
    })
    try {
      await visit({ gate, page: await context.newPage(), context, wrong, sites })
      expect(wrong).toEqual([])
    } finally {
      await context.close()
      await gate.close()
    }
  }

  const titled = (page: Page, title: string) =>
    page.getByRole('heading', { level: 1, name: title }).waitFor()

  /** At the authorization server: who one is, and that one agrees. */
  async function agree(page: Page): Promise<void> {
    const next = { name: 'Continue' }
    await page.locator('form:has(input)').getByRole('button', next).click()
    await page.locator('form:not(:has(input))').getByRole('button', next).click()
  }

  async function signIn({ gate, page, context }: Visit, at = gate.url): Promise<string> {
    // It would not ask again who one is.
    await context.clearCookies({ domain: '127.0.0.1' })
    await page.goto(`${at}/auth/device`)
    await page.getByRole('button', { name: /^(Start sign-in|Sign in again)$/ }).click()
    await titled(page, 'Sign in at your provider')
    expect(await cookieOf(context, 'postern_login')).toMatchObject({
      domain: new URL(at).hostname,
      path: '/auth',
      httpOnly: true,
      // A Strict one would stay behind on the way back from another site.
      sameSite: gate.pastes ? 'Strict' : 'Lax',
    })
    const open = page.getByRole('link', { name: /^Open 127\.0\.0\.1:/ })
    if (!gate.pastes) {
      await open.click()
      await agree(page)
    } else {
      const [there] = await Promise.all([context.waitForEvent('page'), open.click()])
      await agree(there)
      const code = await there.locator('#code').textContent()
      await there.close()
      await page.getByLabel('Paste the code here').fill(` ${code} `)
      await page.getByRole('button', { name: 'Finish sign-in' }).click()
    }
    await titled(page, 'Signed in')
    return (await page.locator('#key').textContent()) ?? ''
  }

  const statusOf = async (gate: LoginGate, key: string): Promise<unknown> => {
    const response = await fetch(`http://127.0.0.1:${gate.port}/auth/status`, {
      headers: { host: `localhost:${gate.port}`, 'x-api-key': key },
    })
    return ((await response.json()) as { authenticated: unknown }).authenticated
  }
  const cookieOf = async (context: BrowserContext, name: string) =>
    (await context.cookies()).find((each) => each.name === name)

  // The other two sign in below, and do the rest of it with `POSTERN_LONG=1`.
  for (const [javaScriptEnabled, paste, always] of [
    [true, true, true],
    [false, false, true],
    [true, false, LONG],
    [false, true, LONG],
  ] as const) {
    const script = javaScriptEnabled ? 'a script' : 'no script'
    const mode = paste ? 'a code to paste' : 'a redirect that comes back'
    test.concurrent.if(always)(
      `attack 40: signs in, rotates, refreshes and signs out, with ${script} and ${mode}`,
      async () => {
        await visiting(paste ? 'paste' : 'return', { javaScriptEnabled }, async (visit) => {
          const { gate, page, context, sites } = visit
          await page.goto(`${gate.url}/auth/device`)
          await page.getByText('Not signed in').waitFor()
          await page.getByText('One person, on their own machine').waitFor()

          const first = await signIn(visit)
          expect(first).toMatch(/^pst_/)
          if (!paste) {
            await until(() => sites.has('/auth/callback'))
            expect(sites.get('/auth/callback')).toBe('cross-site')
          }
          const session = await cookieOf(context, 'postern_session')
          expect(session).toMatchObject({
            value: first,
            domain: 'localhost',
            path: '/',
            httpOnly: true,
            sameSite: 'Strict',
            expires: -1,
          })
          expect(await cookieOf(context, 'postern_login')).toBeUndefined()
          expect(await page.locator('#lines').textContent()).toBe(
            `export ANTHROPIC_BASE_URL=${gate.url}\nexport ANTHROPIC_AUTH_TOKEN=${first}\n`,
          )
          expect(await page.locator('#trial').textContent()).toStartWith('curl "$ANTHROPIC_BASE')

          // The Strict cookie goes along from our own page on, and the key is shown no more.
          await page.goto(`${gate.url}/auth/device`)
          await titled(page, 'Signed in')
          expect(await page.content()).not.toContain(first)

          const second = await signIn(visit)
          expect(second).not.toBe(first)
          expect((await cookieOf(context, 'postern_session'))?.value).toBe(second)
          expect([await statusOf(gate, first), await statusOf(gate, second)]).toEqual([false, true])

          const { refreshed } = gate.server.counts
          await page.getByRole('button', { name: 'Refresh now' }).click()
          // What says that the answer is there: the key is not in it.
          await page.locator('#key').waitFor({ state: 'detached' })
          await titled(page, 'Signed in')
          expect(gate.server.counts.refreshed).toBe(refreshed + 1)

          await page.getByRole('button', { name: 'Sign out' }).click()
          await titled(page, 'Signed out')
          expect(await cookieOf(context, 'postern_session')).toBeUndefined()
          expect(await statusOf(gate, second)).toBe(false)
        })
      },
    )
  }

  test.concurrent(
    'begins on the host that the redirect comes back to, wherever it was opened',
    async () => {
      await visiting('return', {}, async (visit) => {
        const { gate } = visit
        const key = await signIn(visit, `http://127.0.0.1:${gate.port}`)
        expect(new URL(visit.page.url()).hostname).toBe('localhost')
        expect(await statusOf(gate, key)).toBe(true)
      })
    },
  )

  test.concurrent('says that the sign-in was not accepted, and shows a next step', async () => {
    await visiting('return', { javaScriptEnabled: false }, async ({ gate, page, context }) => {
      await page.goto(`${gate.url}/auth/device`)
      await page.getByRole('button', { name: 'Start sign-in' }).click()
      await page.getByRole('link', { name: /^Open/ }).click()
      await page.getByRole('button', { name: 'Deny' }).click()
      await titled(page, 'The sign-in was not accepted')
      expect(await page.content()).not.toMatch(/access_denied|not today/)
      expect(await cookieOf(context, 'postern_session')).toBeUndefined()
      await page.getByRole('button', { name: 'Start again' }).click()
      await titled(page, 'Sign in at your provider')
    })
  })

  test.concurrent('does not lose a sign-in to half a code', async () => {
    await visiting('paste', { javaScriptEnabled: false }, async ({ gate, page, context }) => {
      await page.goto(`${gate.url}/auth/device`)
      await page.getByRole('button', { name: 'Start sign-in' }).click()
      const open = page.getByRole('link', { name: /^Open/ })
      const [there] = await Promise.all([context.waitForEvent('page'), open.click()])
      await agree(there)
      const code = (await there.locator('#code').textContent()) ?? ''
      const field = page.getByLabel('Paste the code here')
      await field.fill(code.split('#')[0] ?? '')
      await page.getByRole('button', { name: 'Finish sign-in' }).click()
      // The browser itself says what is missing.
      expect(
        await field.evaluate((each: { checkValidity(): boolean }) => each.checkValidity()),
      ).toBe(false)
      await field.evaluate((each: { removeAttribute(name: string): void }) =>
        each.removeAttribute('pattern'),
      )
      await page.getByRole('button', { name: 'Finish sign-in' }).click()
      await titled(page, 'That is not the whole code')
      await field.fill(code)
      await page.getByRole('button', { name: 'Finish sign-in' }).click()
      await titled(page, 'Signed in')
    })
  })

  test.concurrent('copies, informs screen readers, and works with a keyboard alone', async () => {
    await visiting('return', {}, async ({ gate, page }) => {
      await page.goto(`${gate.url}/auth/device`)
      const focused = () => page.locator(':focus')
      await page.keyboard.press('Tab')
      expect(await focused().textContent()).toBe('Start sign-in')
      const outline = await page.evaluate('getComputedStyle(document.activeElement).outlineWidth')
      expect(outline).toBe('3px')
      await page.keyboard.press('Enter')
      await titled(page, 'Sign in at your provider')
      expect(await page.getByRole('status').textContent()).toBe('Sign in at your provider')
      expect(await focused().textContent()).toBe('Sign in at your provider')
      await page.keyboard.press('Tab')
      await page.keyboard.press('Enter')
      await agree(page)
      await titled(page, 'Signed in')
      // The code is out of the address, and of what a reload would send.
      expect(new URL(page.url()).pathname + new URL(page.url()).search).toBe('/auth/device')
      await page.keyboard.press('Tab')
      await page.keyboard.press('Enter')
      await page.getByRole('status').getByText('Copied').waitFor({ state: 'attached' })
      const copied = await page.evaluate('navigator.clipboard.readText()')
      expect(copied).toBe((await page.locator('#key').textContent()) ?? '-')
      await page.reload()
      await titled(page, 'Signed in')
      expect(await page.locator('#key').count()).toBe(0)
    })
  })

  test.concurrent('says that the gate is gone', async () => {
    await visiting('return', {}, async ({ gate, page, wrong }) => {
      await page.goto(`${gate.url}/auth/device`)
      await gate.close()
      await page.getByRole('button', { name: 'Start sign-in' }).click()
      await page.getByRole('status').getByText('Is it still running?').waitFor()
      const refused = wrong.splice(0)
      expect(refused).toContain(`${gate.url}/auth/device/start: net::ERR_CONNECTION_REFUSED`)
      // The page's icon is fetched when the browser likes.
      expect(refused.filter((each) => !each.endsWith('net::ERR_CONNECTION_REFUSED'))).toEqual([])
    })
  })

  test.concurrent('can be read in light and in dark, and on a narrow phone', async () => {
    await visiting('paste', { viewport: { width: 320, height: 640 } }, async (visit) => {
      const { gate, page } = visit
      const look = async (): Promise<void> => {
        for (const colorScheme of ['light', 'dark'] as const) {
          await page.emulateMedia({ colorScheme })
          expect([colorScheme, await page.evaluate(LOW_CONTRAST)]).toEqual([colorScheme, []])
        }
        expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(320)
      }
      await page.goto(`${gate.url}/auth/device`)
      await look()
      await page.getByRole('button', { name: 'Start sign-in' }).click()
      await titled(page, 'Sign in at your provider')
      await look()
      await page.goto(`${gate.url}/auth/callback?error=x`)
      await look()
      await signIn(visit)
      await look()
    })
  })

  describe('attack 40: a page of another', () => {
    /** On another port of the gate's own name, which browsers hold to be the same site. */
    async function elsewhere(body: string, hostname: 'localhost' | '127.0.0.1') {
      const server = Bun.serve({
        hostname: '127.0.0.1',
        port: 0,
        fetch: () =>
          new Response(`<!doctype html>${body}`, { headers: { 'content-type': 'text/html' } }),
      })
      return { url: `http://${hostname}:${server.port}/`, stop: () => server.stop(true) }
    }

    test.concurrent('signs nobody out, and begins nothing, on any site', async () => {
      await visiting('paste', {}, async (visit) => {
        const { gate, page, context, sites } = visit
        const key = await signIn(visit)
        for (const [hostname, site] of [
          ['localhost', 'same-site'],
          ['127.0.0.1', 'cross-site'],
        ] as const) {
          for (const path of ['/auth/logout', '/auth/device/start', '/auth/refresh']) {
            sites.delete(path)
            const evil = await elsewhere(
              `<form method="post" action="${gate.url}${path}"><button>x</button></form>`,
              hostname,
            )
            await page.goto(evil.url)
            await page.getByRole('button').click()
            await titled(page, 'Refused')
            await until(() => sites.has(path))
            expect([hostname, path, sites.get(path)]).toEqual([hostname, path, site])
            await evil.stop()
          }
          expect((await cookieOf(context, 'postern_session'))?.value).toBe(key)
          expect(await cookieOf(context, 'postern_login')).toBeUndefined()
          expect(await statusOf(gate, key)).toBe(true)
        }
      })
    })

    test.concurrent('neither frames it nor reads it', async () => {
      await visiting('paste', {}, async (visit) => {
        const { gate, page, wrong } = visit
        await signIn(visit)
        const evil = await elsewhere(`<iframe src="${gate.url}/auth/device"></iframe>`, 'localhost')
        await page.goto(evil.url)
        const read = await page.evaluate(
          (url) =>
            fetch(`${url}/auth/status`, { credentials: 'include' }).then(
              () => 'read',
              () => 'refused',
            ),
          gate.url,
        )
        expect(read).toBe('refused')
        expect(await page.frames()[1]?.content()).not.toContain('postern')
        await evil.stop()
        expect(wrong.splice(0).join('\n')).toMatch(/frame|ERR_BLOCKED_BY_RESPONSE/i)
      })
    })

    test.concurrent('runs no script on it through the address', async () => {
      const attack = '"><img src=x onerror=pwned=1><script>pwned=1</script>'
      await visiting('return', {}, async ({ gate, page }) => {
        for (const path of ['/auth/callback', '/auth/device', '/auth/device/open']) {
          const names = ['error', 'error_description', 'code', 'state', 'iss', 'ticket', 'next']
          const query = new URLSearchParams(Object.fromEntries(names.map((name) => [name, attack])))
          await page.goto(`${gate.url}${path}?${query}`)
          expect(await page.content()).not.toContain('onerror')
          expect(await page.evaluate('globalThis.pwned')).toBeUndefined()
        }
      })
    })
  })

  test.concurrent(
    'the control: an inline style and a foreign image violate the policy',
    async () => {
      await visiting('paste', {}, async ({ gate, page, wrong }) => {
        await page.goto(`${gate.url}/auth/device`)
        await page.evaluate(BREAK_POLICY)
        await until(() => wrong.some((each) => each.startsWith('img-src')))
        await until(() => wrong.some((each) => each.startsWith('style-src')))
        await until(() => wrong.some((each) => /Content Security Policy/.test(each)))
        const seen = wrong.splice(0).join('\n')
        expect(seen).toContain('style-src')
        expect(seen).toContain('img-src: http://127.0.0.1:1')
        expect(seen).toMatch(/Content Security Policy/)
      })
    },
  )
})

// What runs in the browser is text here, since it knows other globals than the tests do.

const TELL_VIOLATIONS = `
  document.addEventListener('securitypolicyviolation', (event) => {
    violated(event.effectiveDirective + ': ' + event.blockedURI)
  })
`

const BREAK_POLICY = `(() => {
  const style = document.createElement('style')
  style.append('p { color: red }')
  const image = document.createElement('img')
  image.src = 'http://127.0.0.1:1/x.png'
  document.body.append(style, image)
})()`

/** Texts with less than WCAG's 4.5:1 against what is behind them. */
const LOW_CONTRAST = `(() => {
  const channels = (color) => (color.match(/[\\d.]+/g) ?? []).map(Number)
  const luminance = (color) => {
    const [r, g, b] = channels(color).map((each) => {
      const part = each / 255
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4
    })
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const behind = (element) => {
    if (!element) return 'rgb(255, 255, 255)'
    const { backgroundColor } = getComputedStyle(element)
    return channels(backgroundColor)[3] === 0 ? behind(element.parentElement) : backgroundColor
  }
  const hasText = (node) => node.nodeType === 3 && node.nodeValue.trim() !== ''
  return [...document.querySelectorAll('body *')]
    .filter((each) => [...each.childNodes].some(hasText))
    .flatMap((each) => {
      const pair = [luminance(getComputedStyle(each).color), luminance(behind(each))]
      const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05)
      return ratio >= 4.5 ? [] : [each.textContent.trim().slice(0, 30) + ': ' + ratio.toFixed(2)]
    })
})()`
