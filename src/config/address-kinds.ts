// The kinds of settings about the gate itself: its own URLs and its file. Pure, like kinds.ts.

import { isLoopback } from '../hosts.ts'
import { exactly, outboundUrl } from './egress-kinds.ts'
import { type Kind, TEXT, value, wrong } from './kinds.ts'

/** https, or http on loopback: anything else would send secrets or trust in clear text. */
export const secureUrl: Kind<URL> = {
  ...outboundUrl,
  read: (text) => {
    const url = outboundUrl.read(text)
    if (!url.ok || url.value.protocol === 'https:' || isLoopback(url.value.hostname)) return url
    return wrong('is not https', 'use https; plain http is for loopback (127.0.0.1) only')
  },
}

export const exactUrl = exactly(secureUrl)

/** Where the ledger and the enrolments are. */
export interface DatabaseAddress {
  readonly engine: 'sqlite'
  /** `:memory:` for one that goes with the process. */
  readonly file: string
}

/** `sqlite:<path>`. */
export const databaseUrl: Kind<DatabaseAddress> = {
  placeholder: '<url>',
  shape: TEXT,
  read: (text) => {
    const file = /^sqlite:(?:\/\/)?(.+)$/.exec(text)?.[1]
    return file === undefined
      ? wrong('is not a sqlite: URL', 'give sqlite:/var/lib/postern/postern.db')
      : value({ engine: 'sqlite', file })
  },
}
