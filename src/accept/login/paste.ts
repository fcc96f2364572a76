// What somebody brought back from the authorization server's page: `code#state`, the two apart, or
// the address that the browser was left at. It is taken apart here, and believed nowhere.

import { type Static, t } from 'elysia'
import { parseStrictObject } from '../../token/strict-json.ts'
import { OTHERS_TOO } from '../invalid.ts'

/** Codes are some hundred characters long; nobody's is this long. */
const MAX_PASTE_LENGTH = 4096
/** RFC 6749 appendix A.11. */
const CODE = /^[\x20-\x7e]+$/
const STATE = /^[A-Za-z0-9_-]+$/
/** The parameters of an answer (RFC 6749 §4.1.2, RFC 9207 §2); all others stay behind. */
const ANSWERED = new Set(['code', 'state', 'iss', 'error'])

/** Of a form or of JSON. */
export const PASTED_BODY = t.Object(
  {
    code: t.String({ maxLength: MAX_PASTE_LENGTH }),
    state: t.Optional(t.String({ maxLength: MAX_PASTE_LENGTH })),
  },
  OTHERS_TOO,
)

/** For the schema to judge; undefined where it is neither. */
export function pastedFields(text: string, isForm: boolean): object | undefined {
  if (!isForm) return parseStrictObject(text)
  const form = new URLSearchParams(text)
  const only = (name: string): unknown => {
    const all = form.getAll(name)
    return all.length < 2 ? all[0] : null
  }
  const state = only('state')
  return { code: only('code'), ...(state !== undefined && { state }) }
}

/** Undefined where nothing in it can be an answer. */
export function pastedAnswer(pasted: Static<typeof PASTED_BODY>): URLSearchParams | undefined {
  const { code, state } = pasted
  return state === undefined ? joinedAnswer(code.trim()) : answerOf(code.trim(), state.trim())
}

function joinedAnswer(text: string): URLSearchParams | undefined {
  if (/^https?:\/\//i.test(text)) {
    const given = URL.parse(text)?.searchParams ?? new URLSearchParams()
    // Doubled ones stay doubled, for the protocol's own reader to refuse.
    const kept = [...given].filter(([name]) => ANSWERED.has(name))
    return kept.length === 0 ? undefined : new URLSearchParams(kept)
  }
  // A code may hold a `#` (RFC 6749 appendix A.11), a state of ours does not.
  const cut = text.lastIndexOf('#')
  return cut === -1 ? undefined : answerOf(text.slice(0, cut), text.slice(cut + 1))
}

function answerOf(code: string, state: string): URLSearchParams | undefined {
  return CODE.test(code) && STATE.test(state) ? new URLSearchParams({ code, state }) : undefined
}
