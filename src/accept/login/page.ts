// The frame of the sign-in pages. They work without a script, load nothing from elsewhere, and show a
// session key once, to the person it was made for. They never contain anything from the request, such as
// the parameters of a callback.

import { ASSETS } from './assets.ts'
import { html } from './markup.ts'
import { LOGIN_PATHS } from './paths.ts'
import { notAccepted } from './refused-page.ts'
import { signedOut, underWay } from './sign-in-page.ts'
import { signedIn } from './signed-in-page.ts'
import type { PageContent, View } from './view.ts'

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
        <link rel="icon" href="${LOGIN_PATHS.icon}" type="${icon.contentType}" />
        <link rel="stylesheet" href="${LOGIN_PATHS.style}" integrity="${style.integrity}" />
        <script src="${LOGIN_PATHS.script}" integrity="${script.integrity}" defer></script>
      </head>
      <body>
        <header><img src="${LOGIN_PATHS.icon}" alt="" width="28" height="28" />postern</header>
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
