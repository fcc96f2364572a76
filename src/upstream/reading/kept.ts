// The objects of a response that an upstream stores under the operator's key, by the ids that later
// requests can name.

import { objectIn } from './json-object.ts'

/** Called for each id while the response passes, because another connection may use it before the end. */
export interface Kept {
  keeps(id: string, as?: KeptAs): void
}

/** `lasting`: it stays until it is deleted. `results`: so does a file that a batch wrote, which says what it used. */
export type KeptAs = 'lasting' | 'results'

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
  if (Array.isArray(holder['choices'])) for (const each of holder['choices']) tellSound(each, kept)
  // The items that were added to a conversation.
  const isPage = object === 'list' && 'first_id' in holder
  const items = isPage ? holder['data'] : holder['output']
  if (!Array.isArray(items)) return
  for (const item of items.slice(0, MAX_ITEMS)) tellKeptItem(item, kept)
}

/** What a chat has said can be named in the next. */
function tellSound(choice: unknown, kept: Kept): void {
  const { message, delta } = objectIn(choice) ?? {}
  const said = objectIn(message) ?? objectIn(delta)
  tell(objectIn(said?.['audio'])?.['id'], kept)
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

function tell(id: unknown, kept: Kept, as?: KeptAs): void {
  if (typeof id === 'string' && ID.test(id)) kept.keeps(id, as)
}

/** By `object` in OpenAI's API, by `type` in Anthropic's. */
const LASTING: ReadonlySet<unknown> = new Set([
  'file',
  'upload',
  'upload.part',
  'batch',
  'message_batch',
  'vector_store',
  'vector_store.files_batch',
  'container',
  'container.file',
  'fine_tuning.job',
])

/**
 * `made`: what a request made, or a batch or a job of the caller's own, which names the files that it
 * has written. Never the content of a file, which may say anything.
 */
export function tellMade(made: JsonObject, kept: Kept): void {
  if (!LASTING.has(made['object'] ?? made['type'])) return
  const { result_files: written, file, usage } = made
  const files = [made['error_file_id'], objectIn(file)?.['id']]
  if (Array.isArray(written)) files.push(...written.slice(0, MAX_ITEMS))
  for (const id of [made['id'], ...files]) tell(id, kept, 'lasting')
  // Newer batches say themselves what they used.
  tell(made['output_file_id'], kept, objectIn(usage) ? 'lasting' : 'results')
}

/** Of Anthropic's API: the container that a message runs code in, and the files that the code has written. */
export function tellMessage({ container, content }: JsonObject, kept: Kept): void {
  tell(objectIn(container)?.['id'], kept)
  if (!Array.isArray(content)) return
  for (const block of content.slice(0, MAX_ITEMS)) tellBlock(block, kept)
}

export function tellBlock(block: unknown, kept: Kept): void {
  const { type, content } = objectIn(block) ?? {}
  if (typeof type !== 'string' || !type.endsWith('code_execution_tool_result')) return
  const outputs = objectIn(content)?.['content']
  if (!Array.isArray(outputs)) return
  for (const each of outputs.slice(0, MAX_ITEMS)) tell(objectIn(each)?.['file_id'], kept, 'lasting')
}
