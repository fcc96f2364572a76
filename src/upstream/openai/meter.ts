// What an answer of OpenAI's API says that it used, by its route.

import type { AnswerHeaders } from '../../http1/fields.ts'
import { batchResultsMeter } from '../reading/batch-results.ts'
import { madeMeter } from '../reading/made.ts'
import { openAiUsageMeter } from '../reading/openai-usage.ts'
import type { Kept } from '../reading/kept.ts'
import { NO_USAGE } from '../reading/tally.ts'
import { batchUsage, OUTPUT } from './batch.ts'
import type { Asked, Upstream, UsageMeter } from '../upstream.ts'

const FREE: UsageMeter = { end: () => NO_USAGE }
const SILENT: UsageMeter = { end: () => undefined }
const MODERATIONS = '/v1/moderations'
const CHAT = '/v1/chat/completions'
const RESPONSES = '/v1/responses'
const CONVERSATIONS = '/v1/conversations'
const KEPT = /^\/v1\/(?:responses|conversations)\/./
/** What was made before is ended, and what would be made is counted. */
const MAKES_NOTHING = /^\/v1\/responses\/(?:[^/]+\/cancel|input_tokens)$/
/** What makes something, and what tells which files were written. */
const MADE: Readonly<Record<string, RegExp>> = {
  POST: /^\/v1\/(?:files|uploads(?:\/[^/]+\/(?:parts|complete))?|batches(?:\/[^/]+\/cancel)?|vector_stores(?:\/[^/]+\/file_batches)?|containers(?:\/[^/]+\/files)?|fine_tuning\/jobs(?:\/[^/]+\/(?:cancel|pause|resume))?)$/,
  GET: /^\/v1\/(?:batches|fine_tuning\/jobs)\/[^/]+$/,
}
const CONTENT = /^\/v1\/files\/([^/]+)\/content$/
/** What uses no tokens of its own: the rest of those routes. */
const OBJECTS = /^\/v1\/(?:files|uploads|batches|vector_stores|containers|fine_tuning)(?:\/|$)/
/** What streams there is sound or picture. */
const NO_TEXT = /^\/v1\/(?:images\/|audio\/speech$)/

/** `keepsChats`: chats can be asked for again. */
export const openAiMeter =
  (keepsChats: boolean): Upstream['meter'] =>
  (asked, status, headers, kept) =>
    meterOf(asked, status, headers, keeps(asked.path, keepsChats) ? kept : undefined)

const keeps = (path: string, keepsChats: boolean): boolean =>
  path.startsWith(RESPONSES) ||
  path.startsWith(CONVERSATIONS) ||
  (keepsChats && path === CHAT) ||
  OBJECTS.test(path)

function meterOf(
  { method, path }: Pick<Asked, 'method' | 'path'>,
  status: number,
  headers: AnswerHeaders,
  kept?: Kept,
): UsageMeter {
  if (OBJECTS.test(path)) {
    const isMade = status < 300 && MADE[method]?.test(path) === true
    if (isMade) return madeMeter(headers, kept, batchUsage)
    const [, id] = (method === 'GET' && status === 200 && CONTENT.exec(path)) || []
    return id === undefined ? FREE : batchResultsMeter(headers, { id, isFile: true }, OUTPUT)
  }
  // What was made in the background, and the items of what was asked, are told there alone.
  if (method === 'GET' && KEPT.test(path)) return status < 300 ? keeping(headers, kept) : FREE
  if (method !== 'POST' || path === MODERATIONS || MAKES_NOTHING.test(path)) return FREE
  if (path.startsWith(`${CHAT}/`)) return FREE
  if (path.startsWith(CONVERSATIONS)) return status < 300 ? keeping(headers, kept) : FREE
  if (status >= 300) return SILENT
  const { 'content-type': type, 'content-encoding': coding } = headers
  return openAiUsageMeter(type, coding, !NO_TEXT.test(path), kept) ?? SILENT
}

/** Reads what is kept, and nothing else. */
function keeping(headers: AnswerHeaders, kept: Kept | undefined): UsageMeter {
  const { 'content-type': type, 'content-encoding': coding } = headers
  const meter = openAiUsageMeter(type, coding, false, kept)
  if (!meter) return FREE
  return {
    push: (chunk, now) => meter.push(chunk, now),
    end(trailers, isComplete) {
      meter.end(trailers, isComplete)
      return NO_USAGE
    },
  }
}
