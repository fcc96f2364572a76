// Where this gate itself is: its own addresses, and its file. Pure, like kinds.ts.

import { isLoopback } from '../hosts.ts'
import { exactly, outboundUrl } from './egress-kinds.ts'
import { type Kind, TEXT, value, wrong } from './kinds.ts'

/** https anywhere, http on loopback alone: everything else would carry secrets or trust in clear. */
export const secureUrl: Kind<URL> = {
  ...outboundUrl,
  read: (text) => {
    const url = outboundUrl.read(text)
    if (!url.ok || url.value.protocol === 'https:' || isLoopback(url.value.hostname)) return url
    return wrong('is not https', 'use https; plain http is for loopback (127.0.0.1) only')
  },
}

export const exactUrl = exactly(secureUrl)

/** The file of `sqlite:<path>`; `:memory:` for none. */
export const sqliteUrl: Kind<string> = {
  placeholder: '<url>',
  shape: TEXT,
  read: (text) => {
    const path = /^sqlite:(?:\/\/)?(.+)$/.exec(text)?.[1]
    return path === undefined
      ? wrong('is not a sqlite: URL', 'give sqlite:/var/lib/postern/postern.db')
      : value(path)
  },
}
