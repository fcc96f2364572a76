// Parts of several pages: a button that posts, the form for a code, a text to copy.

import { html, type Markup } from './markup.ts'
import { LOGIN_PATHS } from './paths.ts'

export function pasteForm(look: string): Markup {
  return html`<form class="paste" method="post" action="${LOGIN_PATHS.submit}">
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

export function copyable(id: string, title: string, text: string): Markup {
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

export function button(action: string, text: string, look = ''): Markup {
  return html`<form method="post" action="${action}">
    <button class="button ${look}">${text}</button>
  </form>`
}
