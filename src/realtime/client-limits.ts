// Whether a client's event may go to its upstream, where its caller is limited in models, spending or rate.

import type { Admitted } from '../admit/admitted.ts'
import type { Budget } from '../budget/budget.ts'
import { modelNotAllowed, unknownCost } from '../budget/refusals.ts'
import { type Refusal, refused } from '../refusal.ts'
import { allowedModel } from '../token/model-pattern.ts'
import { instant } from '../turn/instant.ts'
import { type ClientEvent, readClientEvent } from './client-events.ts'
import type { ResponseCharges } from './response-charges.ts'

export interface ClientLimitsParts {
  readonly budget: Pick<Budget, 'spend'>
  /** Whether a cap, or a list of models, limits this caller. */
  needsEvents(admitted: Admitted): boolean
}

export interface LimitedSession {
  readonly model: string | undefined
  /** It is for this model alone. */
  readonly isBound: boolean
  /** What its upstream serves; undefined is every model. */
  readonly served: readonly string[] | undefined
  readonly charges: ResponseCharges
}

export interface RefusedEvent {
  readonly refusal: Refusal
  readonly eventId: string | undefined
}

/** Undefined for an event that may pass. */
export type CheckEvent = (
  text: string,
  admitted: Admitted,
  session: LimitedSession,
) => RefusedEvent | undefined

export function clientLimits({ budget, needsEvents }: ClientLimitsParts): CheckEvent {
  const check = (
    event: ClientEvent,
    admitted: Admitted,
    { model, isBound, served, charges }: LimitedSession,
    isRead: boolean,
  ): Refusal | undefined => {
    const { type, eventId, sessionModel, models, unknown } = event
    const { policy } = admitted
    if ((isRead || isBound) && sessionModel !== undefined && sessionModel !== model) {
      return ANOTHER_MODEL
    }
    if (isRead) {
      if (unknown !== undefined) return unknownCost(unknown)
      for (const each of models) {
        for (const patterns of [policy.models, served]) {
          if (patterns && !allowedModel(each, patterns)) return modelNotAllowed(each, patterns)
        }
      }
      const [transcribes, ...others] = models
      if (others.some((each) => each !== transcribes)) return unknownCost('several models')
      if (transcribes !== undefined) {
        const priced = charges.transcribesBy(transcribes, admitted)
        if (!priced.ok) return priced
      }
    }
    if (type !== 'response.create') return undefined
    const told = { at: instant(), headers: new Headers(), dialect: 'openai' } as const
    const spent = budget.spend(admitted, told)
    if (!spent.ok) return spent
    const room = charges.ask(eventId, admitted)
    return room.ok ? undefined : room
  }

  return (text, admitted, session) => {
    const isRead = needsEvents(admitted) || session.served !== undefined
    const { person, organisation } = admitted.policy
    if (!isRead && !session.isBound && !person.rate && !organisation.rate) return undefined
    const event = readClientEvent(text)
    if (!event) return { refusal: AMBIGUOUS, eventId: undefined }
    const refusal = check(event, admitted, session, isRead)
    return refusal && { refusal, eventId: event.eventId }
  }
}

const AMBIGUOUS = refused('ambiguous_body', {
  message: 'the event is not a JSON object that every parser reads the same way',
})
const ANOTHER_MODEL = refused('model_not_allowed', {
  message: 'the model of a session cannot be changed; open another connection with that model',
})
