// What a batch used, from its results: each request at its own model, counted once, and only what a batch
// wrote.

import { describe, expect, test } from 'bun:test'
import { batchCounts } from '../../src/stored/results.ts'
import type { Owner } from '../../src/stored/owners.ts'
import { granted, refused } from '../../src/refusal.ts'
import { RESULTS } from '../../src/upstream/anthropic/usage.ts'
import { batchUsage, OUTPUT } from '../../src/upstream/openai/batch.ts'
import { batchResultsMeter, type ResultsReader } from '../../src/upstream/reading/batch-results.ts'
import { piecesOf } from '../upstream/pieces.ts'
import { seeded } from '../support/random.ts'

const OF = { id: 'file-1', isFile: true }
const lines = (...each: readonly object[]): Buffer =>
  Buffer.from(each.map((line) => `${JSON.stringify(line)}\n`).join(''))
const output = (model: string, prompt: number, completion: number) => ({
  id: 'batch_req_1',
  custom_id: 'a',
  response: {
    status_code: 200,
    body: { model, choices: [], usage: { prompt_tokens: prompt, completion_tokens: completion } },
  },
})
const failed = { id: 'batch_req_2', custom_id: 'b', response: null, error: { code: 'x' } }
const succeeded = (model: string, input: number) => ({
  custom_id: 'a',
  result: {
    type: 'succeeded',
    message: { model, usage: { input_tokens: input, output_tokens: 2, service_tier: 'batch' } },
  },
})

function read(pieces: readonly Uint8Array[], reader: ResultsReader, isComplete = true) {
  const meter = batchResultsMeter({}, OF, reader)
  for (const piece of pieces) meter.push?.(piece, 0)
  return meter.end({}, isComplete)
}

test(
  'each line counts at its model, in whatever pieces they come',
  seeded((random) => {
    const bytes = lines(output('a', 10, 1), failed, output('b', 20, 2), output('a', 30, 3))
    for (let round = 0; round < 50; round += 1) {
      expect(read(piecesOf(bytes, random), OUTPUT)).toMatchObject({
        state: 'exact',
        model: 'a',
        inputTokens: 40,
        outputTokens: 4,
        requests: 2,
        others: [{ model: 'b', inputTokens: 20, outputTokens: 2, requests: 1 }],
        priceClasses: ['service_tier:batch'],
        resultsOf: OF,
      })
    }
    const messages = lines(succeeded('m', 5), { custom_id: 'b', result: { type: 'errored' } })
    expect(read(piecesOf(messages, random), RESULTS)).toMatchObject({ model: 'm', inputTokens: 5 })
  }),
)

test('results that are not read to the end count for nothing, and so does other content', () => {
  const bytes = lines(output('a', 10, 1))
  for (const usage of [
    read([bytes], OUTPUT, false),
    read([], OUTPUT),
    read([Buffer.from('PNG\n'.repeat(100))], OUTPUT),
    read([lines({ other: 1, ...output('a', 1, 1) }, output('a', 10, 1))], OUTPUT),
  ]) {
    expect([usage?.state, usage?.inputTokens, usage?.resultsOf]).toEqual(['exact', 0, undefined])
  }
  // The last line may have no end.
  expect(read([bytes.subarray(0, -1)], OUTPUT)?.inputTokens).toBe(10)
})

test('a line too long to be held, or that cannot be read, leaves a lower bound', () => {
  const long = { ...output('a', 10, 1), pad: 'x'.repeat(9 * 1024 * 1024) }
  expect(read([lines(output('a', 1, 1), long, output('a', 2, 1))], OUTPUT)).toMatchObject({
    state: 'partial',
    inputTokens: 3,
  })
  const broken = Buffer.concat([lines(output('a', 1, 1)), Buffer.from('{"id":\n')])
  expect(read([broken], OUTPUT)).toMatchObject({ state: 'partial', inputTokens: 1 })
})

test('a batch that says itself what it used is counted when it has ended', () => {
  const batch = {
    id: 'batch_1',
    object: 'batch',
    status: 'completed',
    model: 'gpt-4o',
    request_counts: { total: 3, completed: 2, failed: 1 },
    usage: {
      input_tokens: 100,
      output_tokens: 5,
      input_tokens_details: { cached_tokens: 40 },
      output_tokens_details: { reasoning_tokens: 1 },
      total_tokens: 105,
    },
  }
  expect(batchUsage(batch)).toMatchObject({
    state: 'exact',
    model: 'gpt-4o',
    inputTokens: 60,
    cacheReadTokens: 40,
    outputTokens: 5,
    requests: 2,
    resultsOf: { id: 'batch_1', isFile: false },
  })
  for (const other of [{ status: 'in_progress' }, { usage: undefined }, { object: 'file' }]) {
    expect(batchUsage({ ...batch, ...other })).toBeUndefined()
  }
})

describe('counted', () => {
  const ANNA = { identity: 'a', upstream: 'openai' }
  const counting = (fails = false) => {
    const noted = new Map<string, Owner>()
    return batchCounts({
      note: (id, owner) => void noted.set(id, owner),
      ownerOf: (id) => (fails ? refused('database_unavailable') : granted(noted.get(id))),
    })
  }
  const batch = { id: 'msgbatch_1', isFile: false }
  test('once', () => {
    const counts = counting()
    expect([1, 2, 3].map(() => counts.isFirst(batch, ANNA, 0))).toEqual([true, false, false])
  })
  test('not at all where its most was charged when it began', () => {
    const counts = counting()
    counts.charged(batch.id, ANNA, 0)
    expect(counts.isFirst(batch, ANNA, 0)).toBe(false)
  })
  test('attack: a file that its caller uploaded counts for nothing, whatever it says', () => {
    const counts = counting()
    expect(counts.isFirst(OF, ANNA, 0)).toBe(false)
    counts.written(OF.id, ANNA, 0)
    expect([1, 2].map(() => counts.isFirst(OF, ANNA, 0))).toEqual([true, false])
    expect(counting(true).isFirst(OF, ANNA, 0)).toBe(false)
  })
})
