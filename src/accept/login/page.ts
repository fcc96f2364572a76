// The pages of signing in, one for each thing that can be so. They work without a script, load
// nothing from elsewhere, and show a session key once, to whom it was made for. What a stranger may
// have sent, the parameters of a callback among it, is never part of one.

import type { SessionStatus } from '../../login/session-status.ts'
import type { RefusalCode } from '../../refusal.ts'
import { ASSETS } from './assets.ts'
import { html, type Markup } from './markup.ts'
import { ROUTES } from '../routes.ts'

export type View =
  | { readonly kind: 'signed_out'; readonly mayPaste: boolean; readonly justNow: boolean }
  | {
      readonly kind: 'under_way'
      readonly link: URL
      /** Whose page the link leads to in the end. */
      readonly provider: string
      readonly paste: boolean
      readonly minutes: number
    }
  | {
      readonly kind: 'signed_in'
      readonly status: SessionStatus
      /** Where it has just been made. */
      readonly key: string | undefined
      /** What programs are told. */
      readonly baseUrl: string
    }
  | {
      readonly kind: 'refused'
      readonly code: RefusalCode
      readonly mayPaste: boolean
      readonly retryAfterSeconds: number | undefined
    }

export function loginPage(view: View): string {
  const { title, main } = contentOf(view)
  const { style, script, icon } = ASSETS
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width" />
        <meta name="color-scheme" content="light dark" />
        <meta name="robots" content="noindex" />
        <title>${title} · postern</title>
        <link rel="icon" href="${ROUTES.loginIcon.path}" type="${icon.contentType}" />
        <link rel="stylesheet" href="${ROUTES.loginStyle.path}" integrity="${style.integrity}" />
        <script src="${ROUTES.loginScript.path}" integrity="${script.integrity}" defer></script>
      </head>
      <body>
        <header><img src="${ROUTES.loginIcon.path}" alt="" width="28" height="28" />postern</header>
        <p id="said" role="status" aria-live="polite"></p>
        <main>
          <h1 tabindex="-1">${title}</h1>
          ${main}
        </main>
        <footer>
          <h2>Who may use this</h2>
          <p>
            One person, on their own machine, with an account of their own. Whether you may use that
            account through a gate like this one is decided by your provider’s terms: read them
            first. Never share the session key, and never offer this gate to others.
          </p>
          <p>
            Your password belongs on your provider’s page alone. This page never asks for it, and
            loads nothing from anywhere but this gate.
          </p>
        </footer>
      </body>
    </html> `.html
}

interface PageContent {
  readonly title: string
  readonly main: Markup
}

function contentOf(view: View): PageContent {
  switch (view.kind) {
    case 'signed_out':
      return signedOut(view)
    case 'under_way':
      return underWay(view)
    case 'signed_in':
      return signedIn(view)
    case 'refused':
      return notAccepted(view)
  }
}

function signedOut({ mayPaste, justNow }: View & { kind: 'signed_out' }): PageContent {
  const start = html`<div class="actions">
    ${button(ROUTES.loginStart.path, justNow ? 'Sign in again' : 'Start sign-in', 'primary')}
  </div>`
  if (justNow) {
    return {
      title: 'Signed out',
      main: html`<p class="state">Not signed in</p>
        <p>The session has ended on this gate, and its key opens nothing any more.</p>
        ${start}`,
    }
  }
  return {
    title: 'Sign in',
    main: html`<p class="state">Not signed in</p>
      <p>
        Sign in, and programs on this machine can use the API through this gate. You do it on your
        provider’s own page, and come back here.
      </p>
      ${start} ${mayPaste ? backWithCode() : undefined}`,
  }
}

function backWithCode(): Markup {
  return html`<hr />
    <h2>Back with a code?</h2>
    ${pasteForm('button')}`
}

function underWay(view: View & { kind: 'under_way' }): PageContent {
  const { link, provider, paste, minutes } = view
  const good = html`<p class="quiet">Good once, for ${minutes} minutes, in this browser alone.</p>`
  // With a code to bring back, this page has to stay.
  const open = html`<a
    class="button primary"
    href="${link.href}"
    ${paste ? html` target="_blank" rel="noopener noreferrer"` : html` rel="noreferrer"`}
    >Open ${provider}</a
  >`
  if (!paste) {
    return {
      title: 'Sign in at your provider',
      main: html`<p>
          Sign in on the page of <strong>${provider}</strong>. It brings you back here by itself.
        </p>
        <div class="actions">${open}</div>
        ${good}`,
    }
  }
  return {
    title: 'Sign in at your provider',
    main: html`<ol>
        <li>
          <div>
            <p>
              Sign in on the page of <strong>${provider}</strong>. It opens in a new tab, and shows
              you a code in the end.
            </p>
            <div class="actions">${open}</div>
          </div>
        </li>
        <li><div>${pasteForm('button primary')}</div></li>
      </ol>
      ${good}`,
  }
}

function pasteForm(look: string): Markup {
  return html`<form class="paste" method="post" action="${ROUTES.loginSubmit.path}">
    <label for="code">Paste the code here</label>
    <input
      id="code"
      name="code"
      type="text"
      required
      maxlength="4096"
      pattern="\\s*(.+#[A-Za-z0-9_\\-]+|https?://.+)\\s*"
      title="two parts, with a # between them"
      aria-describedby="code-hint"
      autocomplete="off"
      autocapitalize="none"
      spellcheck="false"
    />
    <p id="code-hint" class="quiet">It has two parts with a # between them. Copy all of it.</p>
    <div class="actions"><button class="${look}">Finish sign-in</button></div>
  </form>`
}

function signedIn({ status, key, baseUrl }: View & { kind: 'signed_in' }): PageContent {
  const actions = html`<div class="actions">
    ${status.renewable ? button(ROUTES.loginRefresh.path, 'Refresh now') : undefined}
    ${button(ROUTES.loginLogout.path, 'Sign out')}
  </div>`
  const state = html`<p class="state on">${untilWhen(status)}</p>`
  if (key !== undefined) {
    return {
      title: 'Signed in',
      main: html`${state}${keyShown(key, baseUrl)}
        <hr />
        ${actions}`,
    }
  }
  return {
    title: 'Signed in',
    main: html`${state} ${actions}
      <hr />
      <h2>Lost the session key?</h2>
      <p>
        It was shown once, when you signed in. Sign in again for a new one: the old one then stops
        working.
      </p>
      <div class="actions">${button(ROUTES.loginStart.path, 'Sign in again')}</div>`,
  }
}

function untilWhen({ expiresAtMs, renewable }: SessionStatus): Markup {
  if (expiresAtMs === undefined) return html`<span>Your provider did not say until when.</span>`
  const iso = new Date(expiresAtMs).toISOString()
  const text = `${iso.slice(0, 10)} ${iso.slice(11, 16)} UTC`
  const after = renewable
    ? 'The gate renews it by itself.'
    : 'It cannot be renewed: after that, sign in again.'
  return html`<span>Until <time datetime="${iso}">${text}</time>. ${after}</span>`
}

function keyShown(key: string, baseUrl: string): Markup {
  const lines = `export ANTHROPIC_BASE_URL=${baseUrl}\nexport ANTHROPIC_AUTH_TOKEN=${key}\n`
  const trial = `curl "$ANTHROPIC_BASE_URL/v1/models" \\
  -H "Authorization: Bearer $ANTHROPIC_AUTH_TOKEN" \\
  -H "anthropic-version: 2023-06-01"\n`
  return html`${copyable('key', 'Your session key', key)}
    <p class="alarm">
      It is shown this once. Whoever has it uses your account through this gate: keep it like a
      password.
    </p>
    ${copyable('lines', 'In a terminal on this machine', lines)}
    ${copyable('trial', 'To see that it works', trial)}`
}

function copyable(id: string, title: string, text: string): Markup {
  return html`<div class="copyable">
      <h2 id="${id}-title">${title}</h2>
      <button
        type="button"
        class="button small"
        data-copy="${id}"
        aria-describedby="${id}-title"
        hidden
      >
        Copy
      </button>
    </div>
    <pre id="${id}" tabindex="0" role="group" aria-labelledby="${id}-title">${text}</pre>`
}

function button(action: string, text: string, look = ''): Markup {
  return html`<form method="post" action="${action}">
    <button class="button ${look}">${text}</button>
  </form>`
}

/** What a person is told, who has no use for the words that programs get. */
const TOLD: Readonly<Partial<Record<RefusalCode, readonly [title: string, text: string]>>> = {
  login_failed: [
    'The sign-in was not accepted',
    'It may have been cancelled, taken longer than ten minutes, or been answered before. Nothing was kept.',
  ],
  login_unavailable: [
    'Your provider cannot be reached',
    'The gate asked it, and got no answer that it could use. Try again in a moment.',
  ],
  session_invalid: ['You are not signed in', 'This browser holds no session that the gate knows.'],
  session_ended: ['Your sign-in has ended', 'Your provider takes it no longer.'],
  bad_request: [
    'That is not the whole code',
    'It has two parts with a # between them. Copy all of it, and paste it again.',
  ],
  foreign_origin: [
    'Refused',
    'Another page asked for this. If that was you, open this gate’s own page and begin there.',
  ],
  bad_host: [
    'This is not the gate’s address',
    'For your safety it answers under its own address alone. Type it in, as it is set up.',
  ],
  rate_limit_exceeded: ['Too many requests', 'The gate takes only so many in a minute.'],
}

/** Under these names there is nobody to offer anything to. */
const NO_WAY_ON: ReadonlySet<RefusalCode> = new Set([
  'bad_host',
  'foreign_origin',
  'rate_limit_exceeded',
])

function notAccepted(view: View & { kind: 'refused' }): PageContent {
  const { code, mayPaste, retryAfterSeconds } = view
  const [title, text] = TOLD[code] ?? ['That did not work', 'The gate could not do this.']
  const seconds = retryAfterSeconds === undefined ? undefined : Math.ceil(retryAfterSeconds)
  const wait = seconds && html`<p>Try again in ${seconds} seconds.</p>`
  const again = html`<div class="actions">
    ${button(ROUTES.loginStart.path, 'Start again', mayPaste ? '' : 'primary')}
    <a class="button" href="${ROUTES.loginPage.path}">See where things stand</a>
  </div>`
  return {
    title,
    main: html`<p class="alarm">${text}</p>
      ${wait || undefined}
      ${code === 'bad_request' && mayPaste ? pasteForm('button primary') : undefined}
      ${NO_WAY_ON.has(code) ? undefined : again}`,
  }
}
