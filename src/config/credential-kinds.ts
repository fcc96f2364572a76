// The kinds of settings that are credentials: our own secrets, those that others made, and what belongs to
// them. Pure, like kinds.ts.

import { Secret } from '../secret.ts'
import { type Guessable, guessable } from './guessable.ts'
import { type Kind, LIST, type NotRead, TEXT, value, wrong } from './kinds.ts'

/** Placeholders of documentation; no provider issues them. */
const PLACEHOLDER =
  /^<.*>$|\.{3}|^(?:your|insert|paste)[-_ ]|change[-_ ]?me\b|replace[-_ ]?(?:me|this|with)/i

/** RFC 6749 appendix A.1, without the space. */
export const clientId: Kind<string> = {
  placeholder: '<id>',
  shape: TEXT,
  read: (text) =>
    /^[\x21-\x7e]{1,256}$/.test(text) && !PLACEHOLDER.test(text)
      ? value(text)
      : wrong('is not a client id', "give it as the provider's registration shows it"),
}

/** RFC 6749 §3.3: words of visible ASCII except `"` and `\`, separated by one space. */
export const scopes: Kind<string> = {
  placeholder: '<scope ...>',
  shape: TEXT,
  read: (text) =>
    /^[!#-[\]-~]+(?: [!#-[\]-~]+)*$/.test(text)
      ? value(text)
      : wrong('is not a list of scopes', 'give words with one space between them'),
}

/** A credential that somebody else issued, and that is sent in a header. */
export const headerSecret: Kind<Secret> = {
  placeholder: '<secret>',
  shape: TEXT,
  read: (text) => {
    if (PLACEHOLDER.test(text)) {
      return wrong('is a placeholder, and no key', 'give the key as its provider shows it')
    }
    return /^[\x21-\x7e]+$/.test(text)
      ? value(new Secret(text))
      : wrong('has characters that no header can carry', 'check for a stray line break or space')
  },
}

const MAKE_ONE = 'make one with: openssl rand -hex 32'
const GUESSABLE: Readonly<Record<Guessable, NotRead>> = {
  command: wrong(
    'is a command, and not what it prints',
    'run it, and give its output: openssl rand -hex 32',
  ),
  placeholder: wrong('is a placeholder, and no secret', MAKE_ONE),
  repeated: wrong('is a pattern that can be guessed', MAKE_ONE),
}

/** A 32-byte key as 64 hexadecimal digits. */
export const hexKey: Kind<Secret> = {
  placeholder: '<64 hex>',
  shape: TEXT,
  read: (text) => {
    const how = guessable(text)
    if (how !== undefined && how !== 'repeated') return GUESSABLE[how]
    if (!/^[0-9a-fA-F]{64}$/.test(text)) return wrong('is not 32 bytes in hexadecimal', MAKE_ONE)
    return how === undefined ? value(new Secret(text)) : GUESSABLE[how]
  },
}

const MIN_SECRET_BYTES = 32

/** Our own secret for signing, sealing or comparing: at least 32 bytes that nobody can guess. */
export const longSecret: Kind<Secret> = {
  placeholder: '<secret>',
  shape: TEXT,
  read: (text) => {
    const how = guessable(text)
    if (how !== undefined && how !== 'repeated') return GUESSABLE[how]
    if (Buffer.byteLength(text) < MIN_SECRET_BYTES || !/^[\x21-\x7e]+$/.test(text)) {
      return wrong('is not 32 bytes or more of printable ASCII', MAKE_ONE)
    }
    return how === undefined ? value(new Secret(text)) : GUESSABLE[how]
  },
}

/** Several, separated by commas, so that a rotation refuses nobody. */
export const secretList: Kind<readonly Secret[]> = listOfSecrets(longSecret, '<secret,...>')

export const hexKeyList: Kind<readonly Secret[]> = listOfSecrets(hexKey, '<64 hex,...>')

function listOfSecrets(of: Kind<Secret>, placeholder: string): Kind<readonly Secret[]> {
  return {
    placeholder,
    shape: LIST,
    read: (text) => {
      const secrets = text.split(',').map((each) => of.read(each.trim()))
      const bad = secrets.find((each) => !each.ok)
      if (bad && !bad.ok) return bad
      return value(secrets.flatMap((each) => (each.ok ? [each.value] : [])))
    },
  }
}

/** Generates a secret that nobody else has. */
export const OWN_SECRETS: ReadonlySet<Kind<unknown>> = new Set([
  hexKey,
  hexKeyList,
  longSecret,
  secretList,
])
