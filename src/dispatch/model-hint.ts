// Guesses the model of a body that nothing else reads. Circuits and pauses use it, to keep one
// model's failures from the others, and a wrong hint harms only the requests that carry it. So it
// searches only the two ends of a body, where the SDKs write the model.

const END_BYTES = 256
const MEMBER = Buffer.from('"model"')
const MAX_BLANKS = 4
const MAX_NAME_BYTES = 96
const [QUOTE, COLON, BLANK] = [0x22, 0x3a, 0x20]

export function modelHint(body: Uint8Array): string | undefined {
  const { byteLength } = body
  const named = findIn(body, 0, Math.min(END_BYTES, byteLength))
  if (named !== undefined || byteLength <= END_BYTES) return named
  return findIn(body, byteLength - END_BYTES, byteLength)
}

function findIn(body: Uint8Array, from: number, to: number): string | undefined {
  for (let at = from; at < to - MEMBER.length; at += 1) {
    if (body[at] !== QUOTE || !isMember(body, at)) continue
    let next = pastBlanks(body, at + MEMBER.length)
    if (body[next] !== COLON) continue
    next = pastBlanks(body, next + 1)
    if (body[next] === QUOTE) return nameAt(body, next + 1)
  }
  return undefined
}

function isMember(body: Uint8Array, at: number): boolean {
  for (let each = 1; each < MEMBER.length; each += 1) {
    if (body[at + each] !== MEMBER[each]) return false
  }
  return true
}

function pastBlanks(body: Uint8Array, from: number): number {
  let at = from
  while (body[at] === BLANK && at < from + MAX_BLANKS) at += 1
  return at
}

/** A name has no space, so that prose rarely matches, and no escape. */
function nameAt(body: Uint8Array, from: number): string | undefined {
  for (let at = from; at <= from + MAX_NAME_BYTES; at += 1) {
    const byte = body[at] ?? 0
    // A flat string: the circuit breaker uses it as a key, and a rope of single letters is slower to look up.
    if (byte === QUOTE) return at === from ? undefined : latin1(body, from, at)
    if (byte <= BLANK || byte > 0x7e || byte === 0x5c) return undefined
  }
  return undefined
}

const latin1 = (bytes: Uint8Array, from: number, to: number): string =>
  Buffer.prototype.latin1Slice.call(bytes, from, to)
