// The errors of the Anthropic stand-in, in the shape of Anthropic's API.

import type { WholeAnswer } from '../answer.ts'

const STATUS = {
  invalid_request_error: 400,
  authentication_error: 401,
  not_found_error: 404,
  request_too_large: 413,
  api_error: 500,
} as const

export type ErrorType = keyof typeof STATUS

/** It appears in the header `request-id` and in the body. */
export function errorAnswer(type: ErrorType, message: string, requestId: string): WholeAnswer {
  const body = { type: 'error', error: { type, message }, request_id: requestId }
  return {
    kind: 'whole',
    status: STATUS[type],
    contentType: 'application/json',
    body: JSON.stringify(body),
  }
}

export type Refuse = (type: ErrorType, message: string) => WholeAnswer
