// What an upstream's error says in words, for a caller whom it concerns: read whole within bounds,
// and only as the text of `error.message`, so that nothing else of the answer passes. Words that hold
// any part of the secret that was sent are not words.

import { decoding } from './decoding.ts'
import type { Answer } from './transport.ts'

const MAX_ERROR_BYTES = 16_384
const MAX_WORDS = 2000
const READ_TIMEOUT_MS = 5000
/** So long a part of a secret is no chance: 96 bits in base64. */
const PART_LENGTH = 16

/** Undefined where there are none to pass on. */
export async function errorText(
  answer: Pick<Answer, 'headers' | 'body'>,
  secret: string,
): Promise<string | undefined> {
  const words = wordsOf(await bodyOf(answer))
  return words === undefined || holdsPartOf(words, secret) ? undefined : words
}

/** Decoded; '' where it is too long, too slow, cut, or of a coding that is not known. */
function bodyOf({ headers, body }: Pick<Answer, 'headers' | 'body'>): Promise<string> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    let bytes = 0
    const end = (text: string): void => {
      clearTimeout(timer)
      decoder?.close?.()
      resolve(text)
    }
    const fail = (): void => end('')
    const timer = setTimeout(fail, READ_TIMEOUT_MS)
    const decoder = decoding(headers['content-encoding'], {
      push(decoded) {
        bytes += decoded.byteLength
        if (bytes > MAX_ERROR_BYTES) fail()
        else chunks.push(Buffer.from(decoded))
      },
    })
    if (!decoder) return fail()
    body.listen({
      onData: (chunk) => decoder.push(chunk),
      onEnd(how) {
        if (how === 'complete') end(Buffer.concat(chunks).toString('utf8'))
        else fail()
      },
    })
  })
}

function wordsOf(text: string): string | undefined {
  try {
    const { error } = JSON.parse(text) as { error?: { message?: unknown } }
    const words = error?.message
    return typeof words === 'string' &&
      /^[^\p{Cc}\p{Cf}]+$/u.test(words) &&
      words.length <= MAX_WORDS
      ? words
      : undefined
  } catch {
    return undefined
  }
}

function holdsPartOf(text: string, secret: string): boolean {
  if (secret === '') return true
  const length = Math.min(PART_LENGTH, secret.length)
  for (let at = 0; at + length <= secret.length; at += 1) {
    if (text.includes(secret.slice(at, at + length))) return true
  }
  return false
}
