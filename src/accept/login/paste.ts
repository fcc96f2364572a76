// Parses what a person copied from the authorization server's page: `code#state`, both apart, or the
// browser's last address. It is untrusted.

import { type Static, t } from 'elysia'
import { parseStrictObject } from '../../token/strict-json.ts'
import { OTHERS_TOO } from '../invalid.ts'

/** Codes are a few hundred characters long. */
const MAX_PASTE_LENGTH = 4096
/** RFC 6749 appendix A.11. */
const CODE = /^[\x20-\x7e]+$/
const STATE = /^[A-Za-z0-9_-]+$/
/** The parameters of an answer (RFC 6749 §4.1.2, RFC 9207 §2); others are dropped. */
const ANSWERED = new Set(['code', 'state', 'iss', 'error'])

/** Of a form or a JSON body. */
export const PASTED_BODY = t.Object(
  {
    code: t.String({ maxLength: MAX_PASTE_LENGTH }),
    state: t.Optional(t.String({ maxLength: MAX_PASTE_LENGTH })),
  },
  OTHERS_TOO,
)

/** The schema checks them; undefined if the body is neither. */
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

/** Undefined if it cannot be an answer. */
export function pastedAnswer(pasted: Static<typeof PASTED_BODY>): URLSearchParams | undefined {
  const { code, state } = pasted
  return state === undefined ? joinedAnswer(code.trim()) : answerOf(code.trim(), state.trim())
}

function joinedAnswer(text: string): URLSearchParams | undefined {
  if (/^https?:\/\//i.test(text)) {
    const given = URL.parse(text)?.searchParams ?? new URLSearchParams()
    // Repeated ones stay, so that the OAuth client refuses them.
    const kept = [...given].filter(([name]) => ANSWERED.has(name))
    return kept.length === 0 ? undefined : new URLSearchParams(kept)
  }
  // A code may contain `#` (RFC 6749 appendix A.11); our states don't.
  const cut = text.lastIndexOf('#')
  return cut === -1 ? undefined : answerOf(text.slice(0, cut), text.slice(cut + 1))
}

function answerOf(code: string, state: string): URLSearchParams | undefined {
  return CODE.test(code) && STATE.test(state) ? new URLSearchParams({ code, state }) : undefined
}
