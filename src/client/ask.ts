// One request to a gate, bounded in time and size, and the problem it ends in if it fails. Redirects
// are not followed (they would carry the token elsewhere), and no word of a response reaches an error
// message.

import type { Problem } from './api.ts'

const MAX_ANSWER_BYTES = 65_536

export interface GateAnswer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
}

/** Rejects if there is no response, or an endless one: `problemOf` says which. */
export async function ask(
  base: string,
  path: string,
  init: RequestInit,
  timeoutMs: number,
): Promise<GateAnswer> {
  const abort = new AbortController()
  const timer = setTimeout(() => abort.abort(), timeoutMs)
  // An option of Bun's: otherwise HTTP_PROXY would send a loopback request, and the token in it, to
  // the proxy.
  const direct = base.startsWith('http:') ? { proxy: false } : {}
  try {
    const { signal } = abort
    const options: RequestInit = { ...init, ...direct, signal, redirect: 'manual' }
    const response = await fetch(base + path, options)
    const text = await readBounded(response)
    return { status: response.status, headers: response.headers, text }
  } finally {
    clearTimeout(timer)
    abort.abort()
  }
}

class TooLarge extends Error {}

async function readBounded(response: Response): Promise<string> {
  if (!response.body) return ''
  const decoder = new TextDecoder()
  const reader = response.body.getReader()
  let text = ''
  let bytes = 0
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return text + decoder.decode()
    bytes += value.byteLength
    if (bytes > MAX_ANSWER_BYTES) throw new TooLarge()
    text += decoder.decode(value, { stream: true })
  }
}

const MESSAGES = {
  unreachable: 'the gate cannot be reached',
  timeout: 'the gate did not answer in time',
  unhealthy: 'the gate is unhealthy',
  redirected: 'the gate answered with a redirect, which is not followed',
  invalid_answer: 'the gate gave an invalid answer',
  rate_limited: 'the gate asks to try again later',
  enrollment_refused: 'the gate does not enrol this device: it needs a new enrolment',
  storage_failed: 'the token cannot be kept: the storage failed',
  busy: 'another process is renewing the token, and takes too long',
  stopped: 'the client was stopped',
} as const satisfies Record<Problem['code'], string>

export function problem(
  code: Problem['code'],
  more: Omit<Problem, 'code' | 'message'> & { readonly message?: string } = {},
): Problem {
  return { code, message: MESSAGES[code], ...more }
}

export function badStatus({ status, headers }: GateAnswer): Problem {
  const retryAfter = headers.get('retry-after') ?? ''
  const later = /^\d{1,9}$/.test(retryAfter) ? { retryAfterSeconds: Number(retryAfter) } : {}
  // 0 is the status of a manual redirect in a fetch that is built for browsers.
  if (status === 0 || (status >= 300 && status < 400)) return problem('redirected', { status })
  if (status === 429) return problem('rate_limited', { status, ...later })
  return problem('unhealthy', { status, ...later })
}

export function problemOf(error: unknown): Problem {
  if (error instanceof TooLarge) return problem('invalid_answer')
  const aborted = error instanceof Error && error.name === 'AbortError'
  return problem(aborted ? 'timeout' : 'unreachable')
}
