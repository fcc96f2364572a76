// What an upstream's event tells of what was used. Most events carry a piece of an answer, and of these
// only their length is looked at. Pure.

import { objectIn, parseObject } from '../upstream/reading/json-object.ts'
import { OpenAiCounts } from '../upstream/reading/openai-counts.ts'
import { type MeteredUsage, NO_USAGE } from '../upstream/reading/tally.ts'

export type ServerEvent =
  | { readonly kind: 'piece' | 'other' }
  | { readonly kind: 'created'; readonly id: string }
  | { readonly kind: 'done'; readonly id: string; readonly usage: MeteredUsage | undefined }
  | { readonly kind: 'transcribed'; readonly usage: MeteredUsage | undefined }
  /** `transcribes`: the model of its transcriptions, undefined for none. */
  | {
      readonly kind: 'session'
      readonly model: string | undefined
      readonly transcribes: string | undefined
    }
  /** `eventId`: of the client's event that it is about. */
  | { readonly kind: 'error'; readonly eventId: string | undefined; readonly code: unknown }

const PIECE: ServerEvent = { kind: 'piece' }
const OTHER: ServerEvent = { kind: 'other' }

/** Most servers write the type first. */
const DELTA = '.delta"'
const HEAD_CHARS = 400
/** JSON strings escape their quotes, so that none of these is part of a text. */
const TELLING =
  /"(?:response\.(?:created|done)|session\.(?:created|updated)|transcription_session\.(?:created|updated)|conversation\.item\.input_audio_transcription\.completed|error)"/

export function readServerEvent(text: string): ServerEvent {
  // All of it is searched: what a client has named may stand before the event's own type.
  if (!TELLING.test(text)) return text.slice(0, HEAD_CHARS).includes(DELTA) ? PIECE : OTHER
  const event = parseObject(text)
  if (!event) return OTHER
  const response = objectIn(event['response'])
  switch (event['type']) {
    case 'response.created':
      return { kind: 'created', id: idOf(response) }
    case 'response.done':
      return { kind: 'done', id: idOf(response), usage: usageOf(event, response) }
    case 'conversation.item.input_audio_transcription.completed':
      return { kind: 'transcribed', usage: usageOf(event, undefined) }
    case 'session.created':
    case 'session.updated':
    case 'transcription_session.created':
    case 'transcription_session.updated':
      return sessionOf(objectIn(event['session']))
    case 'error': {
      const error = objectIn(event['error'])
      return { kind: 'error', eventId: textIn(error?.['event_id']), code: error?.['code'] }
    }
    default:
      return OTHER
  }
}

const textIn = (value: unknown): string | undefined =>
  typeof value === 'string' ? value : undefined

const idOf = (response: Readonly<Record<string, unknown>> | undefined): string =>
  textIn(response?.['id']) ?? ''

function sessionOf(session: Readonly<Record<string, unknown>> | undefined): ServerEvent {
  const audio = objectIn(objectIn(session?.['audio'])?.['input'])
  const transcription =
    objectIn(audio?.['transcription']) ?? objectIn(session?.['input_audio_transcription'])
  return {
    kind: 'session',
    model: textIn(session?.['model']),
    transcribes: textIn(transcription?.['model']),
  }
}

/** Undefined where nothing is said. */
function usageOf(
  event: Readonly<Record<string, unknown>>,
  response: Readonly<Record<string, unknown>> | undefined,
): MeteredUsage | undefined {
  const usage = objectIn(response?.['usage'] ?? event['usage'])
  const isStopped = response?.['status'] === 'cancelled' || response?.['status'] === 'failed'
  // What was cancelled before it began has used nothing, and says so.
  if (usage?.['total_tokens'] === 0 && isStopped) return NO_USAGE
  const counts = new OpenAiCounts()
  counts.noteAnswer(event)
  const found = counts.result(true, undefined)
  return found.state === 'unknown' && found.sawError === undefined ? undefined : found
}
