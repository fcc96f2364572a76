// What a batch of OpenAI's API says that it used: itself, since September 2025, or by the file that it wrote.

import { objectIn } from '../reading/json-object.ts'
import { OpenAiCounts } from '../reading/openai-counts.ts'
import type { ResultsReader } from '../reading/batch-results.ts'
import type { MeteredUsage } from '../reading/tally.ts'

type JsonObject = Readonly<Record<string, unknown>>

const ENDED: ReadonlySet<unknown> = new Set(['completed', 'expired', 'cancelled', 'failed'])
const BATCH = ['service_tier:batch']

/** Of a batch that has ended. */
export function batchUsage(batch: JsonObject): MeteredUsage | undefined {
  const { object, id, status, usage, model } = batch
  if (object !== 'batch' || typeof id !== 'string' || !ENDED.has(status)) return undefined
  if (!objectIn(usage)) return undefined
  const counts = new OpenAiCounts()
  counts.noteAnswer({ usage, model })
  const said = counts.result(true, undefined)
  if (said.state === 'unknown') return undefined
  const completed = objectIn(batch['request_counts'])?.['completed']
  const requests = typeof completed === 'number' && completed > 0 ? { requests: completed } : {}
  return { ...said, ...requests, priceClasses: BATCH, resultsOf: { id, isFile: false } }
}

/** Of the file with a batch's output. */
export const OUTPUT: ResultsReader = {
  begins: /^\{\s?"id":\s?"batch_req/,
  usageIn(line) {
    const body = objectIn(objectIn(line['response'])?.['body'])
    if (!body?.['usage']) return undefined
    const counts = new OpenAiCounts()
    counts.noteAnswer(body)
    return counts.result(true, undefined)
  },
}
