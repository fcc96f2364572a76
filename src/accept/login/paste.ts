// What somebody brought back from the authorization server's page: `code#state`, the two apart, or
// the address that the browser was left at. It is taken apart here, and believed nowhere.

import { parseStrictObject } from '../../token/strict-json.ts'

/** Codes are some hundred characters long; nobody's is this long. */
const MAX_PASTE_LENGTH = 4096
/** RFC 6749 appendix A.11. */
const CODE = /^[\x20-\x7e]+$/
const STATE = /^[A-Za-z0-9_-]+$/
/** The parameters of an answer (RFC 6749 §4.1.2, RFC 9207 §2); all others stay behind. */
const ANSWERED = new Set(['code', 'state', 'iss', 'error'])

/** From the body of a form or of JSON; undefined where nothing in it can be an answer. */
export function pastedAnswer(body: string, isForm: boolean): URLSearchParams | undefined {
  const { code, state } = isForm ? formFields(body) : (parseStrictObject(body) ?? {})
  if (typeof code !== 'string' || code.length > MAX_PASTE_LENGTH) return undefined
  if (state === undefined) return joinedAnswer(code.trim())
  if (typeof state !== 'string' || state.length > MAX_PASTE_LENGTH) return undefined
  return answerOf(code.trim(), state.trim())
}

function formFields(body: string): { code?: unknown; state?: unknown } {
  const form = new URLSearchParams(body)
  const only = (name: string): unknown => {
    const all = form.getAll(name)
    return all.length < 2 ? all[0] : null
  }
  return { code: only('code'), state: only('state') }
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
