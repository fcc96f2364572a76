// Headers that are added to every request to an upstream, written as `Name: value`.

import { type Kind, LIST } from './kinds.ts'

/** Names in lower case. */
export type HeaderLines = readonly (readonly [name: string, value: string])[]

const LINE = /^([A-Za-z0-9-]{1,64}):[ \t]*([\x21-\x7e](?:[\x20-\x7e]{0,510}[\x21-\x7e])?)$/
/** The gate sets these itself: framing, host and credentials. */
const RESERVED =
  /^(?:authorization|api-key|x-api-key|proxy-.*|cookie|host|connection|keep-alive|te|trailer|transfer-encoding|upgrade|expect|content-.*|accept.*|user-agent)$/

export const headerLines: Kind<HeaderLines> = {
  placeholder: '<name: value,...>',
  shape: LIST,
  read(text) {
    const lines: (readonly [string, string])[] = []
    for (const entry of text.split(',')) {
      const [, name, value] = LINE.exec(entry.trim()) ?? []
      if (name === undefined || value === undefined) {
        return {
          ok: false,
          message: 'has an entry that is not a header',
          hint: 'give them as OpenAI-Project: proj_1, without a comma in a value',
        }
      }
      const lower = name.toLowerCase()
      if (RESERVED.test(lower) || lines.some(([other]) => other === lower)) {
        return {
          ok: false,
          message: 'has a header twice, or one that the gate itself sets',
          hint: 'leave it out; the key has a setting of its own',
        }
      }
      lines.push([lower, value])
    }
    return { ok: true, value: lines }
  },
}
