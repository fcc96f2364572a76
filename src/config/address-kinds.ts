// Where this gate itself is: its own addresses, and its file. Pure, like kinds.ts.

import { isLoopback } from '../hosts.ts'
import { type Kind, TEXT, value, wrong } from './kinds.ts'

/** https anywhere, http on loopback alone: everything else would carry secrets or trust in clear. */
export const secureUrl: Kind<URL> = {
  placeholder: '<url>',
  shape: TEXT,
  read: (text) => {
    const url = URL.canParse(text) ? new URL(text) : undefined
    if (!url) return wrong('is not a URL', 'give a full URL, https://host/path')
    if (url.username !== '' || url.password !== '') {
      return wrong('carries a user or password', 'credentials have settings of their own')
    }
    if (url.search !== '' || url.hash !== '') {
      return wrong('carries a query or fragment', 'give scheme, host and path alone')
    }
    const secure =
      url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url.hostname))
    return secure
      ? value(url)
      : wrong('is not https', 'use https; plain http is for loopback (127.0.0.1) only')
  },
}

/** The same, for what is compared letter by letter elsewhere: no slash is added to it. */
export const exactUrl: Kind<string> = {
  placeholder: '<url>',
  shape: TEXT,
  read: (text) => {
    const url = secureUrl.read(text)
    return url.ok ? value(text.trim()) : url
  },
}

/** The file of `sqlite:<path>`; `:memory:` for none. */
export const sqliteUrl: Kind<string> = {
  placeholder: '<url>',
  shape: TEXT,
  read: (text) => {
    const path = /^sqlite:(?:\/\/)?(.+)$/.exec(text)?.[1]
    return path === undefined
      ? wrong('is no sqlite: URL', 'give sqlite:/var/lib/postern/postern.db')
      : value(path)
  },
}
