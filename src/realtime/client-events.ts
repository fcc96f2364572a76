// What a client's event asks for, as far as a limit of its caller depends on it. An event that two readers
// could read differently, or of a type that nobody here knows, is refused where there is such a limit.
// Pure.

import { type JsonObject, parseStrictObject } from '../token/strict-json.ts'
import { MODEL_MEMBER } from '../upstream/reading/members.ts'
import { fold } from '../upstream/reading/outline.ts'

export interface ClientEvent {
  readonly type: string
  readonly eventId: string | undefined
  /** `session.model`. */
  readonly sessionModel: string | undefined
  /** Every other model that it names: of a transcription. */
  readonly models: readonly string[]
  /** What may run a model or cost something, and nobody here knows. */
  readonly unknown: string | undefined
}

const TYPES: ReadonlySet<string> = new Set([
  'session.update',
  'transcription_session.update',
  'input_audio_buffer.append',
  'input_audio_buffer.commit',
  'input_audio_buffer.clear',
  'output_audio_buffer.clear',
  'conversation.item.create',
  'conversation.item.retrieve',
  'conversation.item.truncate',
  'conversation.item.delete',
  'response.create',
  'response.cancel',
])

/** Schemas of the caller's own tools, and names that the caller chooses. Texts are not looked into at all. */
const OPAQUE: ReadonlySet<string> = new Set(['parameters', 'metadata', 'headers'])

/** By far the most: nothing else is in it. */
const AUDIO =
  /^\{(?:"event_id":"([^"\\]{0,512})",)?"type":"input_audio_buffer\.append",(?:"event_id":"([^"\\]{0,512})",)?"audio":"[\w+/=-]*"\}$/
const MAX_DEPTH = 64
const MAX_EVENT_ID = 512

/** Undefined if it cannot be read in one way. */
export function readClientEvent(text: string): ClientEvent | undefined {
  const audio = AUDIO.exec(text)
  if (audio) return { ...APPEND, eventId: audio[1] ?? audio[2] }
  const event = parseStrictObject(text.startsWith('\ufeff') ? text.slice(1) : text)
  if (!event) return undefined
  const type = event['type']
  if (typeof type !== 'string' || repeats(event, 'type') || repeats(event, 'session')) {
    return undefined
  }
  const found: Found = { models: [], unknown: TYPES.has(type) ? undefined : 'an unknown event' }
  const { session } = event as { readonly session?: JsonObject | null }
  const own = isObject(session) ? session : undefined
  if (own && repeats(own, 'model')) return undefined
  const sessionModel = own?.['model']
  const rest = own ? { ...event, session: without(own, 'model') } : event
  if (!gather(rest, found, 0)) return undefined
  if (sessionModel !== undefined && typeof sessionModel !== 'string') return undefined
  const id = event['event_id']
  return {
    type,
    eventId: typeof id === 'string' && id.length <= MAX_EVENT_ID ? id : undefined,
    sessionModel,
    models: found.models,
    unknown: found.unknown,
  }
}

const APPEND: ClientEvent = {
  type: 'input_audio_buffer.append',
  eventId: undefined,
  sessionModel: undefined,
  models: [],
  unknown: undefined,
}

interface Found {
  readonly models: string[]
  unknown: string | undefined
}

const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const repeats = (of: JsonObject, name: string): boolean =>
  Object.keys(of).some((each) => each !== name && fold(each) === name)

const without = (of: JsonObject, name: string): JsonObject =>
  Object.fromEntries(Object.entries(of).filter(([each]) => each !== name))

/** False if it is too deep. */
function gather(value: unknown, found: Found, depth: number): boolean {
  if (typeof value !== 'object' || value === null) return true
  if (depth > MAX_DEPTH) return false
  if (Array.isArray(value)) return value.every((each) => gather(each, found, depth + 1))
  return Object.entries(value).every(([name, member]) => {
    const known = fold(name)
    if (OPAQUE.has(known)) return true
    if (MODEL_MEMBER.test(known)) return named(member, found)
    // A stored prompt may name a model of its own.
    if (known === 'prompt' && isObject(member)) found.unknown ??= 'a stored prompt'
    return gather(member, found, depth + 1)
  })
}

function named(value: unknown, { models }: Found): boolean {
  if (value === null || value === undefined) return true
  const all: readonly unknown[] = Array.isArray(value) ? value : [value]
  return all.every((each) => {
    if (typeof each !== 'string') return false
    models.push(each)
    return true
  })
}
