// What an upstream keeps of an answer under the operator's key, by the ids that later requests can name.

import { objectIn } from './json-object.ts'

/** Told of each while the answer passes, for a second connection may name it before its end. */
export interface Kept {
  keeps(id: string): void
}

type JsonObject = Readonly<Record<string, unknown>>

/** As a path can name it. */
const ID = /^[A-Za-z0-9][A-Za-z0-9_-]{7,127}$/
/** An answer has tens. Beyond, nothing is noted, and so it is nobody's. */
const MAX_ITEMS = 1000

/**
 * `holder`: an answer, or the response in an event. `store: false` keeps no response; its items are
 * told all the same, for clients send back what the API's own tools did as it came, with its ids.
 */
export function tellKept(holder: JsonObject, kept: Kept): void {
  const { object } = holder
  const isKept =
    object === 'conversation' ||
    object === 'chat.completion' ||
    object === 'chat.completion.chunk' ||
    (object === 'response' && holder['store'] !== false)
  if (isKept) tell(holder['id'], kept)
  // Of a conversation, those that were added.
  const isPage = object === 'list' && 'first_id' in holder
  const items = isPage ? holder['data'] : holder['output']
  if (!Array.isArray(items)) return
  for (const item of items.slice(0, MAX_ITEMS)) tellKeptItem(item, kept)
}

export function tellKeptItem(item: unknown, kept: Kept): void {
  const { id, container_id: container } = objectIn(item) ?? {}
  tell(id, kept)
  tell(container, kept)
}

/** As the API writes it; further inside, an id may be in what the caller said. */
const HEAD = /^\s*\{\s*"id":\s*"([\w-]+)",\s*"object":\s*"response"/

/** Of a response too large to be held, with pictures in it. */
export function tellKeptHead(head: string, kept: Kept): void {
  tell(HEAD.exec(head)?.[1], kept)
}

function tell(id: unknown, kept: Kept): void {
  if (typeof id === 'string' && ID.test(id)) kept.keeps(id)
}
