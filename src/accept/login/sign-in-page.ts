// The pages before a sign-in: its start, and its way to the provider.

import { html, type Markup } from './markup.ts'
import { LOGIN_PATHS } from './paths.ts'
import { button, pasteForm } from './pieces.ts'
import type { PageContent, View } from './view.ts'

export function signedOut({ mayPaste, justNow }: View & { kind: 'signed_out' }): PageContent {
  const start = html`<div class="actions">
    ${button(LOGIN_PATHS.start, justNow ? 'Sign in again' : 'Start sign-in', 'primary')}
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

export function underWay(view: View & { kind: 'under_way' }): PageContent {
  const { link, provider, paste, minutes } = view
  const good = html`<p class="quiet">Good once, for ${minutes} minutes, in this browser alone.</p>`
  // The person must come back to this page with the code, so it has to stay open.
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
