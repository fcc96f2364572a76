// The body of `POST /v1/realtime/client_secrets`, as OpenAI's API has it. Pure.

import { type Decision, granted, refused } from '../../refusal.ts'
import { type JsonObject, parseStrictObject } from '../../token/strict-json.ts'

export interface SecretRequest {
  readonly lifetimeSeconds: number
  readonly model: string | undefined
  /** As it was sent, for the answer. */
  readonly session: JsonObject
  /** The event that brings about what the session shall be; undefined if nothing was said of that. */
  readonly opening: string | undefined
}

const [MIN_SECONDS, MAX_SECONDS, USUAL_SECONDS] = [10, 7200, 600]
/** The model is in the query of the connection. */
const NOT_UPDATED: ReadonlySet<string> = new Set(['model', 'object', 'id', 'expires_at'])

export function secretRequest(body: Uint8Array): Decision<SecretRequest> {
  const asked = body.length === 0 ? {} : parseStrictObject(Buffer.from(body).toString('utf8'))
  if (!asked) return refused('ambiguous_body')
  const { session = {}, expires_after: after = {} } = asked
  if (!isObject(session)) return wrong('session must be an object')
  if (!isObject(after)) return wrong('expires_after must be an object')
  const { seconds = USUAL_SECONDS, anchor = 'created_at' } = after
  if (anchor !== 'created_at') return wrong('expires_after.anchor must be created_at')
  if (!isLifetime(seconds)) {
    return wrong(
      `expires_after.seconds must be a whole number from ${MIN_SECONDS} to ${MAX_SECONDS}`,
    )
  }
  const { model, type = 'realtime' } = session
  if (model !== undefined && typeof model !== 'string') return refused('invalid_model')
  if (type !== 'realtime' && type !== 'transcription') {
    return wrong('session.type must be realtime or transcription')
  }
  const settings = Object.entries(session).filter(([name]) => !NOT_UPDATED.has(name))
  const isSaid = settings.some(([name]) => name !== 'type')
  const update = { type: 'session.update', session: { ...Object.fromEntries(settings), type } }
  return granted({
    lifetimeSeconds: seconds,
    model,
    session: { ...session, type },
    opening: isSaid ? JSON.stringify(update) : undefined,
  })
}

const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const isLifetime = (value: unknown): value is number =>
  typeof value === 'number' &&
  Number.isInteger(value) &&
  value >= MIN_SECONDS &&
  value <= MAX_SECONDS

const wrong = (message: string): Decision<never> =>
  refused('bad_request', { message, reason: 'client secret' })
