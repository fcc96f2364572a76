// What the sign-in page loads, and all that it loads: part of the binary, from this origin alone.

import script from './page-script.js' with { type: 'text' }
import style from './page.css' with { type: 'text' }
import icon from './page.svg' with { type: 'text' }

export interface Asset {
  readonly text: string
  readonly contentType: string
  /**
   * Subresource Integrity: what another program that once listened on this port left in the
   * browser's cache under the same address is not taken for ours.
   */
  readonly integrity: string
}

export const ASSETS = {
  style: asset(style, 'text/css; charset=utf-8'),
  script: asset(script, 'text/javascript; charset=utf-8'),
  icon: asset(icon, 'image/svg+xml'),
} as const

function asset(text: string, contentType: string): Asset {
  const digest = new Bun.CryptoHasher('sha384').update(text).digest('base64')
  return { text, contentType, integrity: `sha384-${digest}` }
}
