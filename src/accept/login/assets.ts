// All that the sign-in page loads. It is part of the binary, and served from this origin.

import script from './page-script.js' with { type: 'text' }
import style from './page.css' with { type: 'text' }
import icon from './page.svg' with { type: 'text' }

export interface Asset {
  readonly text: string
  readonly contentType: string
  /**
   * Subresource Integrity: another program that once listened on this port may have left a file of the
   * same address in the browser's cache.
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
