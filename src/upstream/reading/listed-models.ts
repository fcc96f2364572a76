// Reads the models in an upstream's `GET /v1/models`, in either dialect.

import { type Decision, granted, type Refusal, refused } from '../../refusal.ts'
import { afterSpace, afterValue, TOO_DEEP } from './json-grammar.ts'

export interface ListedModel {
  readonly id: string
}

type ModelList = Readonly<Record<string, unknown>> & { readonly data: readonly unknown[] }

/** For a body with a complete list. */
export function modelsIn(body: Uint8Array): Decision<readonly ListedModel[]> {
  const list = modelListIn(body)
  if (!list) return unreadable('list of models cannot be read')
  if (list['has_more'] === true) return unreadable('list of models is too long')
  return granted(list.data.filter(isModel))
}

/** Its first byte. */
const BYTE_ORDER_MARK = 0xef

export function modelListIn(body: Uint8Array): ModelList | undefined {
  // What is nested much deeper cannot be written again, and trying that takes seconds.
  const mark = body[0] === BYTE_ORDER_MARK ? 3 : 0
  if (afterValue(body, afterSpace(body, mark)) === TOO_DEEP) return undefined
  try {
    const list: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body))
    return typeof list === 'object' && list !== null && 'data' in list && Array.isArray(list.data)
      ? (list as ModelList)
      : undefined
  } catch {
    return undefined
  }
}

export const isModel = (each: unknown): each is ListedModel =>
  typeof each === 'object' && each !== null && 'id' in each && typeof each.id === 'string'

export const unreadable = (reason: string): Refusal =>
  refused('upstream_invalid', {
    reason,
    message: `the upstream's ${reason}, so this gate cannot tell what this token may use of it`,
  })
