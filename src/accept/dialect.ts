// Which API a caller speaks, told by what its client sends. It decides nothing but words.

import type { Dialect } from '../refusal.ts'

/** Headers that the clients of one API send, and those of the other don't. */
const OWN: readonly (readonly [Dialect, readonly string[]])[] = [
  ['anthropic', ['anthropic-version', 'anthropic-beta', 'x-api-key']],
  ['openai', ['openai-organization', 'openai-project', 'openai-beta', 'api-key']],
]
/** SDKs of both are made by one generator, and differ in their names alone. */
const ANTHROPIC_AGENT = /^(?:async)?anthropic|^claude/i
const OPENAI_AGENT = /^(?:async)?openai/i

/** Undefined where nothing tells. */
export function dialectOf(headers: Headers): Dialect | undefined {
  for (const [dialect, names] of OWN) {
    if (names.some((name) => headers.has(name))) return dialect
  }
  const agent = headers.get('user-agent') ?? ''
  if (ANTHROPIC_AGENT.test(agent)) return 'anthropic'
  if (OPENAI_AGENT.test(agent)) return 'openai'
  return undefined
}
