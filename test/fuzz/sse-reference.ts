// WHATWG HTML §9.2.6 over whole text, written as it reads, and what Anthropic's events then say of
// usage. It knows nothing of chunks, and shares nothing with the reader that it is held against.

import type { Random } from '../support/random.ts'
import { chance } from './fuzz.ts'

export type Said = readonly ['event' | 'lost', name: string, data: string]

export interface Block {
  /** What the standard dispatches. */
  readonly event: Said | undefined
  readonly mayBeLost: boolean
}

export function byTheStandard(
  bytes: Uint8Array,
  wanted: readonly string[],
  maxBytes: number,
): Block[] {
  const text = new TextDecoder('utf-8').decode(bytes)
  const lines = text.split(/\r\n|\r|\n/)
  // Bytes of each line as they came, for the bound: latin1 has one character for each.
  const raw = Buffer.from(bytes)
    .toString('latin1')
    .replace(/^\xef\xbb\xbf/, '')
    .split(/\r\n|\r|\n/)
  lines.pop()
  const blocks: Block[] = []
  let [name, data] = ['', undefined as string | undefined]
  let [dataBytes, mayBeLost] = [0, false]
  for (const [index, line] of lines.entries()) {
    const size = raw[index]?.length ?? 0
    if (line === '') {
      const type = name === '' ? 'message' : name
      const dispatched = data !== undefined && wanted.includes(type)
      blocks.push({ event: dispatched ? ['event', type, data ?? ''] : undefined, mayBeLost })
      ;[name, data, dataBytes, mayBeLost] = ['', undefined, 0, false]
      continue
    }
    const colon = line.indexOf(':')
    const field = colon === -1 ? line : line.slice(0, colon)
    const value = colon === -1 ? '' : line.slice(colon + 1).replace(/^ /, '')
    if (/^[de]/.test(line) && size > maxBytes) mayBeLost = true
    if (line.startsWith('d') && name !== '' && !wanted.includes(name)) mayBeLost = true
    if (field === 'event') name = value
    if (field !== 'data') continue
    dataBytes += size
    if (dataBytes > maxBytes) mayBeLost = true
    data = data === undefined ? value : `${data}\n${value}`
  }
  return blocks
}

const LINE_ENDS = ['\n', '\n', '\r\n', '\r']

const COUNTS = ['input_tokens', 'output_tokens', 'cache_read_input_tokens'] as const

/** Events of a message in an order that no upstream would choose, some of them broken. */
export function messageOf(random: Random): string {
  const usage = (): object =>
    Object.fromEntries(
      COUNTS.flatMap((name) => (chance(random, 0.7) ? [[name, random.int(1000)] as const] : [])),
    )
  const events: readonly (() => [string, object])[] = [
    () => ['message_start', { message: { model: 'claude-haiku-4-5', usage: usage() } }],
    () => ['content_block_delta', { delta: { text: '"message_stop"' } }],
    () => ['message_delta', { usage: usage() }],
    () => ['message_stop', {}],
    () => ['ping', {}],
  ]
  let text = ''
  for (let count = random.int(9); count > 0; count -= 1) {
    const [name, more] = random.pick(events)()
    const json = JSON.stringify({ type: name, ...more })
    const data = chance(random, 0.05) ? json.slice(0, random.int(json.length)) : json
    text += `event: ${chance(random, 0.05) ? 'message_stop' : name}${random.pick(LINE_ENDS)}`
    text += `data: ${data}${random.pick(['\n\n', '\r\n\r\n', '\r\r'])}`
  }
  return text
}

export interface Fold {
  readonly state: 'exact' | 'partial' | 'unknown'
  readonly inputTokens: number
  readonly outputTokens: number
  readonly cacheReadTokens: number
}

/** What a message's events say: of each count the largest. Nothing in them is worth a token. */
export function foldOf(text: string): Fold {
  const said: Partial<Record<(typeof COUNTS)[number], number>> = {}
  let [final, stopped, doubted] = [false, false, false]
  const wanted = ['message_start', 'message_delta', 'message_stop', 'error']
  for (const { event } of byTheStandard(Buffer.from(text), wanted, Infinity)) {
    if (!event) continue
    const [, name, data] = event
    let json: { type?: unknown; message?: { usage?: object }; usage?: object } = {}
    try {
      json = JSON.parse(data)
    } catch {
      // Then its type is not the name either.
    }
    if (json.type !== name) {
      doubted = true
      continue
    }
    const usage = name === 'message_start' ? json.message?.usage : json.usage
    if (usage && 'output_tokens' in usage) final ||= name === 'message_delta'
    for (const [count, value] of Object.entries(usage ?? {}) as [
      (typeof COUNTS)[number],
      number,
    ][]) {
      said[count] = Math.max(said[count] ?? 0, value)
    }
    if (name === 'message_stop') stopped = true
  }
  const { input_tokens: input = 0, cache_read_input_tokens: read = 0 } = said
  // No prompt is empty.
  const exact = stopped && final && input + read > 0 && !doubted
  return {
    state: exact ? 'exact' : Object.values(said).some((count) => count > 0) ? 'partial' : 'unknown',
    inputTokens: said.input_tokens ?? 0,
    outputTokens: said.output_tokens ?? 0,
    cacheReadTokens: said.cache_read_input_tokens ?? 0,
  }
}
