// Whether somebody could guess a secret: a placeholder from documentation, a command that was pasted instead
// of run, a repeating pattern. 32 random bytes in hex, base64 or base64url always pass. The result names the
// reason and repeats nothing of the text.

/** Placeholders of documentation, and what people type to get past a check. */
const PLACEHOLDERS: readonly RegExp[] = [
  /\b(?:your|my|our|some|insert|put|paste|the)[-_ .].*(?:secret|token|password|key\b)/i,
  /(?:secret|token|password|key).*\bhere\b/i,
  /\bgoes[-_ ]here\b|\bat[-_ ]least\b|\b\d+[-_ ]?(?:bits?|bytes?|chars?|characters?)\b/i,
  /change[-_ ]?(?:me|this|it)|replace[-_ ]?(?:me|this|with|it)|placeholder|example|insecure/i,
  /super[-_ ]?secret|top[-_ ]?secret|secret[-_ ]?(?:key|token|string|value)\b|not[-_ ]?(?:a[-_ ]?)?secret/i,
  /pass(?:word|phrase)|correct[-_ ]?horse|qwerty|letmein/i,
  /<.*>|\.{3}/,
]

/** A command that was not run: an .env file keeps `$(openssl rand -hex 32)` as text. */
const COMMAND = /\bopenssl\b|\brand\b.*-(?:hex|base64)|\$[({]|`|\/dev\/u?random|\buuidgen\b/i

const RANDOM_RUN =
  /[0-9a-fA-F]{32,}|(?=[a-zA-Z+/]*\d)(?=[a-z\d+/]*[A-Z])(?=[A-Z\d+/]*[a-z])[\w+/]{40,}/

/** 32 random bytes have more distinct characters in every encoding; decimal digits have ten. */
const MIN_DISTINCT = 9
const MIN_DISTINCT_DIGITS = 6
/** Catches `12345678…`, and four bytes in hex that repeat. */
const MAX_PERIOD = 8
/** The highest share of characters that equal the one a period before; a random text has about 0.1. */
const MAX_REPEATED = 0.9
/** The highest share of neighbours that are equal or adjacent; a random text has about 0.25. */
const MAX_IN_ORDER = 0.9

export type Guessable = 'command' | 'placeholder' | 'repeated'

export function guessable(text: string): Guessable | undefined {
  if (COMMAND.test(text)) return 'command'
  if (isPlaceholder(text)) return 'placeholder'
  return isPattern(text) ? 'repeated' : undefined
}

/** A name before random digits does no harm: `my-gate-key-8f02…`. */
function isPlaceholder(text: string): boolean {
  const random = RANDOM_RUN.exec(text)?.[0]
  if (random !== undefined && !isPattern(random)) return false
  return PLACEHOLDERS.some((each) => each.test(text))
}

function isPattern(text: string): boolean {
  const least = /^\d+$/.test(text) ? MIN_DISTINCT_DIGITS : MIN_DISTINCT
  return new Set(text).size < least || repeats(text) || isInOrder(text)
}

function repeats(text: string): boolean {
  const longest = Math.min(MAX_PERIOD, Math.floor(text.length / 2))
  for (let period = 1; period <= longest; period += 1) {
    const allowed = (text.length - period) * (1 - MAX_REPEATED)
    let others = 0
    // A random text passes after a few characters.
    for (let at = period; at < text.length && others < allowed; at += 1) {
      if (text.charCodeAt(at) !== text.charCodeAt(at - period)) others += 1
    }
    if (others < allowed) return true
  }
  return false
}

/** Catches `abcdefgh…` and `000011112222…`. */
function isInOrder(text: string): boolean {
  let inOrder = 0
  for (let at = 1; at < text.length; at += 1) {
    const step = text.charCodeAt(at) - text.charCodeAt(at - 1)
    if (step >= -1 && step <= 1) inOrder += 1
  }
  return inOrder > (text.length - 1) * MAX_IN_ORDER
}
