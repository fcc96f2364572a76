// What names a conversation over all of its requests: its caller, and how it began. Each request repeats
// all that was said before, so that what comes before the first answer never changes.

import { callersObject } from './caller-json.ts'

/** Undefined where nothing of it can be read, or a request is no part of a conversation. */
export function conversationOf(identity: string, body: Uint8Array): string | undefined {
  const said = callersObject(body)
  if (!said) return undefined
  const { messages, input = messages, prompt_cache_key: key } = said
  // Said by the caller for this very purpose.
  if (typeof key === 'string') return named(identity, key)
  if (typeof input === 'string') return named(identity, input)
  if (!Array.isArray(input)) return undefined
  const first = input.findIndex((each) => (each as { role?: unknown } | null)?.role === 'user')
  return named(identity, JSON.stringify(input.slice(0, first + 1)))
}

const named = (identity: string, begun: string): string => `${identity} ${Bun.hash(begun)}`
