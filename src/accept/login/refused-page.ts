// The page of a refusal: what happened, in words for a person, and what to do next.

import type { RefusalCode } from '../../refusal.ts'
import { html } from './markup.ts'
import { LOGIN_PATHS } from './paths.ts'
import { button, pasteForm } from './pieces.ts'
import type { PageContent, View } from './view.ts'

/** For a person; the messages of refusal.ts are for programs. */
const TOLD: Readonly<Partial<Record<RefusalCode, readonly [title: string, text: string]>>> = {
  login_failed: [
    'The sign-in was not accepted',
    'It may have been cancelled, taken longer than ten minutes, or been answered before. Nothing was kept.',
  ],
  login_unavailable: [
    'The sign-in is not available now',
    'The gate got no usable answer from your provider, or cannot use its own file. Try again in a moment.',
  ],
  session_invalid: ['You are not signed in', 'This browser holds no session that the gate knows.'],
  session_ended: ['Your sign-in has ended', 'Your provider no longer accepts it.'],
  bad_request: [
    'That is not the whole code',
    'It has two parts with a # between them. Copy all of it, and paste it again.',
  ],
  foreign_origin: [
    'Refused',
    'Another page requested this. If that was you, open this gate’s own page and begin there.',
  ],
  bad_host: [
    'This is not the gate’s address',
    'For your safety it answers only under its own address. Type in the one that was configured.',
  ],
  rate_limit_exceeded: ['Too many requests', 'The gate accepts a limited number in a minute.'],
}

/** After these the page offers no next step. */
const NO_WAY_ON: ReadonlySet<RefusalCode> = new Set([
  'bad_host',
  'foreign_origin',
  'rate_limit_exceeded',
])

export function notAccepted(view: View & { kind: 'refused' }): PageContent {
  const { code, mayPaste, retryAfterSeconds } = view
  const [title, text] = TOLD[code] ?? ['That did not work', 'The gate could not do this.']
  const seconds = retryAfterSeconds === undefined ? undefined : Math.ceil(retryAfterSeconds)
  const wait = seconds && html`<p>Try again in ${seconds} seconds.</p>`
  const again = html`<div class="actions">
    ${button(LOGIN_PATHS.start, 'Start again', mayPaste ? '' : 'primary')}
    <a class="button" href="${LOGIN_PATHS.page}">See where things stand</a>
  </div>`
  return {
    title,
    main: html`<p class="alarm">${text}</p>
      ${wait || undefined}
      ${code === 'bad_request' && mayPaste ? pasteForm('button primary') : undefined}
      ${NO_WAY_ON.has(code) ? undefined : again}`,
  }
}
