// The objects of a response that an upstream stores under the operator's key, by the ids that later
// requests can name.

import { objectIn } from './json-object.ts'

/** Called for each id while the response passes, because another connection may use it before the end. */
export interface Kept {
  keeps(id: string): void
}

type JsonObject = Readonly<Record<string, unknown>>

/** The form of an id in a path. */
const ID = /^[A-Za-z0-9][A-Za-z0-9_-]{7,127}$/
/** A response has tens. Ids beyond this number are not recorded, so they belong to nobody. */
const MAX_ITEMS = 1000

/**
 * `holder`: a body, or the response in an event. With `store: false` no response is stored; its items are
 * reported anyway, because clients send back the calls of the API's own tools with their ids.
 */
export function tellKept(holder: JsonObject, kept: Kept): void {
  const { object } = holder
  const isKept =
    object === 'conversation' ||
    object === 'chat.completion' ||
    object === 'chat.completion.chunk' ||
    (object === 'response' && holder['store'] !== false)
  if (isKept) tell(holder['id'], kept)
  // The items that were added to a conversation.
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

/** As the API writes it. An id deeper inside may be the caller's own text. */
const HEAD = /^\s*\{\s*"id":\s*"([\w-]+)",\s*"object":\s*"response"/

/** For a response with images that is too large to be held. */
export function tellKeptHead(head: string, kept: Kept): void {
  tell(HEAD.exec(head)?.[1], kept)
}

function tell(id: unknown, kept: Kept): void {
  if (typeof id === 'string' && ID.test(id)) kept.keeps(id)
}
