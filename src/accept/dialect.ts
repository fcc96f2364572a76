// Guesses from a client's headers which API it speaks. Only the form of errors depends on it.

import type { Dialect } from '../refusal.ts'

/** Headers that only clients of this API send. */
const OWN: readonly (readonly [Dialect, readonly string[]])[] = [
  ['anthropic', ['anthropic-version', 'anthropic-beta', 'x-api-key']],
  ['openai', ['openai-organization', 'openai-project', 'openai-beta', 'api-key']],
]
/** One generator makes the SDKs of both; only their names differ. */
const ANTHROPIC_AGENT = /^(?:async)?anthropic|^claude/i
const OPENAI_AGENT = /^(?:async)?openai/i

/** Undefined if the headers don't tell. */
export function dialectOf(headers: Headers): Dialect | undefined {
  for (const [dialect, names] of OWN) {
    if (names.some((name) => headers.has(name))) return dialect
  }
  const agent = headers.get('user-agent') ?? ''
  if (ANTHROPIC_AGENT.test(agent)) return 'anthropic'
  if (OPENAI_AGENT.test(agent)) return 'openai'
  return undefined
}
