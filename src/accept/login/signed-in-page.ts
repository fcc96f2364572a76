// The page after a sign-in: until when it lasts, and the session key, shown once.

import type { SessionStatus } from '../../login/session-status.ts'
import { html, type Markup } from './markup.ts'
import { LOGIN_PATHS } from './paths.ts'
import { button, copyable } from './pieces.ts'
import type { PageContent, View } from './view.ts'

export function signedIn({ status, key, baseUrl }: View & { kind: 'signed_in' }): PageContent {
  const actions = html`<div class="actions">
    ${status.renewable ? button(LOGIN_PATHS.refresh, 'Refresh now') : undefined}
    ${button(LOGIN_PATHS.logout, 'Sign out')}
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
      <div class="actions">${button(LOGIN_PATHS.start, 'Sign in again')}</div>`,
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
      This is the only time it is shown. Anyone who has it can use your account through this gate:
      keep it like a password.
    </p>
    ${copyable('lines', 'In a terminal on this machine', lines)}
    ${copyable('trial', 'To see that it works', trial)}`
}
