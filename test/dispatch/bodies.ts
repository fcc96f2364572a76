// Bodies of requests, and what is read of them.

import { expect, test } from 'bun:test'
import {
  type MaxTokensMember,
  readRequestFields,
  type RequestFields,
  type UnreadableRequest,
} from '../../src/upstream/anthropic/request-fields.ts'
import type { Random } from '../support/random.ts'

export const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)

/** All that limits are decided by. */
export function readAll(
  body: string | Uint8Array,
  member?: MaxTokensMember,
): RequestFields | UnreadableRequest {
  const read = readRequestFields(typeof body === 'string' ? bytesOf(body) : body, member)
  return read.ok ? read.value : read.reason
}

/** The three that every body may have. */
export function read(
  body: string | Uint8Array,
  member?: MaxTokensMember,
): Pick<RequestFields, 'model' | 'maxTokens' | 'stream'> | UnreadableRequest {
  const all = readAll(body, member)
  if (typeof all === 'string') return all
  const { model, maxTokens, stream } = all
  return { model, maxTokens, stream }
}

export const claude = { model: 'claude-haiku-4-5', maxTokens: undefined, stream: false } as const
export const MODEL = '"model":"claude-haiku-4-5"'

/** A test for each of the bodies. */
export function refusesEach(cases: Partial<Record<UnreadableRequest, readonly string[]>>): void {
  for (const [reason, bodies] of Object.entries(cases)) {
    for (const body of bodies) {
      test(`${reason}: ${JSON.stringify(body.slice(0, 60))}`, () =>
        expect(read(body)).toBe(reason as UnreadableRequest))
    }
  }
}

export const parses = (text: string): boolean => {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

const WORDS = [
  'a',
  'b',
  '"',
  '\\',
  ':',
  '{',
  '}',
  ',',
  '[',
  'é',
  '\u2028',
  '\n',
  '',
  '日',
  '\u{1f600}',
]

function tree(random: Random, depth: number): unknown {
  const kind = random.int(depth === 0 ? 3 : 5)
  if (kind === 0) return random.pick([0, -1, 1.5, 1e21, -2.5e-9, 12345])
  if (kind === 1) return random.pick(WORDS) + random.pick(WORDS)
  if (kind === 2) return random.pick([true, false, null])
  const items = Array.from({ length: random.int(4) }, () => tree(random, depth - 1))
  if (kind === 3) return items
  return Object.fromEntries(items.map((item, at) => [random.pick(WORDS) + at, item]))
}

/** A request as it might be sent, its members in any order. */
export function document(random: Random): object {
  const members: [string, unknown][] = [
    ['model', `claude-${random.int(10)}`],
    ...(random.int(2) === 0 ? [['max_tokens', 1 + random.int(100_000)] as [string, unknown]] : []),
    ...(random.int(2) === 0 ? [['stream', random.int(2) === 0] as [string, unknown]] : []),
    ['messages', tree(random, 4)],
    [`x${random.int(9)}`, tree(random, 2)],
  ]
  return Object.fromEntries(members.toSorted(() => random.int(3) - 1))
}
