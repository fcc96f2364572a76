// Finds the credential of a request in its response: debug proxies and error pages repeat what they were
// sent, in any encoding. A part of a credential counts as the whole. It does not find encryption,
// compression inside a text, or encodings that nobody uses for an echo.

/** Each tells whether a text contains a part of the credential. */
export interface Echo {
  /** For one line, such as a header's value. */
  inValue(value: string): boolean
  /** For the body of a success, as it came: only the plain text, because every response pays for it. */
  inBytes(bytes: Uint8Array): boolean
  /** For a decoded body as latin1: undoes escapes, line breaks and several layers of encoding. */
  inBody(text: string): boolean
}

interface Spelling {
  readonly text: string
  /** A part of this length is no coincidence. */
  readonly least: number
}

/** 96 bits in base64. For a shorter credential, three quarters of it. */
const PART_LENGTH = 16
/** Values such as `EMPTY` or `none`, for servers without a key, are not secrets. */
const MIN_LENGTH = 8
/** The length of the pieces that are looked up: each long enough part contains one. */
const PIECE = 8
/**
 * All pieces of a JWT would take megabytes: of a long credential only some are kept, and a search costs
 * more.
 */
const LONG = 512
/** An escape within a text within a text. */
const MAX_LAYERS = 3

const NO_ECHO: Echo = { inValue: () => false, inBytes: () => false, inBody: () => false }

/** The values of `Authorization`, `x-api-key` or `api-key`, as they were sent. */
export function echoOf(sent: Readonly<Record<string, string>>): Echo {
  const header = sent['x-api-key'] ?? sent['api-key'] ?? sent['authorization']
  if (header === undefined) return NO_ECHO
  const known = lastEchoes.get(header)
  if (known) return known
  const echo = echoOfSecret(header.replace(/^Bearer /, ''))
  const [oldest] = lastEchoes.size >= MAX_ECHOES ? lastEchoes.keys() : []
  if (oldest !== undefined) lastEchoes.delete(oldest)
  lastEchoes.set(header, echo)
  return echo
}

/** Of several credentials that went out for one request, one after another. */
export function echoOfEither(a: Echo | undefined, b: Echo): Echo {
  if (!a || a === b) return b
  return {
    inValue: (value) => a.inValue(value) || b.inValue(value),
    inBytes: (bytes) => a.inBytes(bytes) || b.inBytes(bytes),
    inBody: (text) => a.inBody(text) || b.inBody(text),
  }
}

/**
 * A gate has a key for each upstream, and perhaps one access token after another. One costs 0.3 ms to make
 * and takes 350 KiB.
 */
const MAX_ECHOES = 16
const lastEchoes = new Map<string, Echo>()

export function echoOfSecret(secret: string): Echo {
  if (secret.length < MIN_LENGTH) return NO_ECHO
  const spellings = spellingsOf(secret)
  const least = Math.min(...spellings.map((each) => each.least))
  // Every part of `least` characters contains a whole piece that begins at a multiple of this.
  const step = least - PIECE + 1
  const isLong = secret.length > LONG
  const [secretStep, textStep] = isLong ? [step, 1] : [1, step]
  const pieces = new Map<string, { readonly spelling: Spelling; readonly at: number }[]>()
  for (const spelling of spellings) {
    for (let at = 0; at + PIECE <= spelling.text.length; at += secretStep) {
      const piece = spelling.text.slice(at, at + PIECE)
      const places = pieces.get(piece)
      if (places) places.push({ spelling, at })
      else pieces.set(piece, [{ spelling, at }])
    }
  }

  const holds = (text: string): boolean => {
    for (let at = 0; at + PIECE <= text.length; at += textStep) {
      for (const place of pieces.get(text.slice(at, at + PIECE)) ?? []) {
        if (commonLength(text, at, place.spelling.text, place.at) >= place.spelling.least)
          return true
      }
    }
    return false
  }
  const end = Buffer.from(secret.slice(-PART_LENGTH), 'latin1')
  return {
    inBytes: (bytes) =>
      bytes.byteLength >= end.length && Buffer.prototype.includes.call(bytes, end),
    inValue: (value) =>
      value.length >= least && (holds(value) || (ESCAPED.test(value) && holds(undone(value)))),
    inBody(text) {
      let layer = text
      for (let layers = 0; layers <= MAX_LAYERS; layers++) {
        // Base64 may be broken into lines, UTF-16 has NULs in between, and dumps of bytes have various
        // separators. Between two pieces of the plain key there may be quotes, commas and plus signs.
        if (holds(layer) || holds(layer.replace(/[\s\0]+/g, ''))) return true
        if (holds(layer.replace(/[^0-9A-Fa-f]+/g, '')) || holds(lettersOf(layer))) return true
        if (!ESCAPED.test(layer)) return false
        layer = undone(layer)
      }
      return false
    },
  }
}

function spellingsOf(secret: string): Spelling[] {
  const length = Math.min(PART_LENGTH, Math.max(MIN_LENGTH, Math.ceil(secret.length * 0.75)))
  const spellings: Spelling[] = [{ text: secret, least: length }]
  const letters = lettersOf(secret)
  if (letters.length > MIN_LENGTH) {
    const least = Math.min(PART_LENGTH, Math.max(MIN_LENGTH, Math.ceil(letters.length * 0.75)))
    spellings.push({ text: letters, least })
  }
  const bytes = Buffer.from(secret, 'latin1')
  // After `Bearer ` or a user name, it may begin inside a group of three bytes.
  for (const before of [0, 1, 2]) {
    const text = Buffer.concat([Buffer.alloc(before), bytes]).toString('base64')
    // The characters at both ends also contain bits of their neighbours.
    const own = text.slice(
      before === 0 ? 0 : before + 1,
      Math.floor(((before + bytes.length) * 8) / 6),
    )
    const least = Math.min(own.length, Math.floor((length * 4) / 3) - 1)
    spellings.push({ text: own, least })
    spellings.push({ text: own.replaceAll('+', '-').replaceAll('/', '_'), least })
  }
  const hex = bytes.toString('hex')
  spellings.push({ text: hex, least: length * 2 }, { text: hex.toUpperCase(), least: length * 2 })
  return spellings
}

/** A text without case and punctuation. */
const lettersOf = (text: string): string => text.replace(/[^A-Za-z0-9]+/g, '').toLowerCase()

function commonLength(a: string, aAt: number, b: string, bAt: number): number {
  let before = 0
  while (aAt > before && bAt > before && a[aAt - before - 1] === b[bAt - before - 1]) before++
  let after = 0
  while (aAt + after < a.length && bAt + after < b.length && a[aAt + after] === b[bAt + after])
    after++
  return before + after
}

const ESCAPED = /[\\%&]/

/** Undoes one layer of escapes: of JSON and JavaScript, of URLs, and of HTML. */
function undone(text: string): string {
  return text
    .replace(/\\(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|([^]))/g, (_, unicode, hex, char) =>
      char === undefined ? fromCode(unicode ?? hex, 16) : (BLANKS[String(char)] ?? String(char)),
    )
    .replace(/%([0-9A-Fa-f]{2})/g, (_, hex) => fromCode(hex, 16))
    .replace(
      /&(?:#(\d{1,7})|#[xX]([0-9A-Fa-f]{1,6})|(amp|quot|lt|gt|apos|nbsp));?/g,
      (_, dec, hex, name) =>
        name === undefined
          ? fromCode(dec ?? hex, dec === undefined ? 16 : 10)
          : (NAMED[String(name)] ?? ''),
    )
}

const BLANKS: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', b: ' ', f: ' ' }
const NAMED: Readonly<Record<string, string>> = {
  amp: '&',
  quot: '"',
  lt: '<',
  gt: '>',
  apos: "'",
  nbsp: ' ',
}

const fromCode = (digits: string, base: number): string =>
  String.fromCharCode(Number.parseInt(digits, base) & 0xffff)
