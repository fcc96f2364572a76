// A model's name comes from a stranger, and what is told of money is told exactly.

import Anthropic from '@anthropic-ai/sdk'
import { describe, expect, test } from 'bun:test'
import OpenAI from 'openai'
import {
  modelNotAllowed,
  modelNotPriced,
  overspent,
  type SpendOverrun,
} from '../../src/budget/refusals.ts'
import { type Dialect, type Refusal, refusalResponse } from '../../src/refusal.ts'

async function said(refusal: Refusal, dialect: Dialect = 'anthropic') {
  const response = refusalResponse(refusal, { headers: new Headers(), dialect, requestId: 'r' })
  const { error } = (await response.json()) as { error: { message: string } }
  return { status: response.status, headers: response.headers, error, message: error.message }
}

describe('a model that is not allowed', () => {
  test('is worded in each dialect, with the allowed models', async () => {
    const refusal = modelNotAllowed('claude-opus-9', ['claude-haiku-*', 'claude-opus-4-6'])
    expect((await said(refusal)).error).toEqual({
      type: 'not_found_error',
      message: 'model: claude-opus-9 (this token may use claude-haiku-*, claude-opus-4-6)',
    } as never)
    expect((await said(refusal, 'openai')).error).toEqual({
      message:
        'The model `claude-opus-9` does not exist or you do not have access to it; ' +
        'this token may use claude-haiku-*, claude-opus-4-6',
      type: 'invalid_request_error',
      code: 'model_not_found',
      param: null,
    } as never)
  })

  test("is the OpenAI client's and the Anthropic client's own error for an unknown model", async () => {
    const answering = (dialect: Dialect) => ({
      apiKey: 'k',
      baseURL: 'http://127.0.0.1:1',
      maxRetries: 0,
      fetch: async () =>
        refusalResponse(modelNotAllowed('m-1', ['n-*']), {
          headers: new Headers(),
          dialect,
          requestId: 'r',
        }),
    })
    const messages = [{ role: 'user', content: 'a' }] as const
    const asked = { model: 'm-1', max_tokens: 1, messages: [...messages] }
    const thrown = (error: unknown): unknown => error
    const openai = await new OpenAI(answering('openai')).chat.completions
      .create(asked)
      .catch(thrown)
    expect(openai).toBeInstanceOf(OpenAI.NotFoundError)
    expect(openai).toMatchObject({ status: 404, code: 'model_not_found' })
    const anthropic = await new Anthropic(answering('anthropic')).messages
      .create(asked)
      .catch(thrown)
    expect(anthropic).toBeInstanceOf(Anthropic.NotFoundError)
  })

  test('has its name cut and made printable, and a long list counted', async () => {
    const hostile = `claude\r\n\u001b[31m\u202e"<script>${'x'.repeat(100_000)}`
    const list = Array.from({ length: 500 }, (_, at) => `m${at}-${'y'.repeat(300)}`)
    for (const dialect of ['openai', 'anthropic'] as const) {
      const { message } = await said(modelNotAllowed(hostile, list), dialect)
      expect(message).not.toMatch(/[^\x20-\x7e…]/)
      expect(message.length).toBeLessThan(2000)
      expect(message).toContain('and 488 more')
    }
    expect((await said(modelNotPriced(hostile))).message).not.toMatch(/[^\x20-\x7e…]/)
  })
})

test('a model without a price is named', async () => {
  expect(await said(modelNotPriced('gpt-x'))).toMatchObject({
    status: 400,
    message: 'gpt-x has no price at this gate, so a token with a spend cap cannot use it',
  })
})

describe('a cost that is refused names both amounts', () => {
  const over: SpendOverrun = {
    reason: 'exceeds_cap',
    whose: 'device',
    period: 'month',
    amount: 6_210_001,
    cap: 5_000_000,
    spent: 0,
    reserved: 0,
    retryAfterSeconds: 864_000,
  }
  const NOW = Date.UTC(2026, 10, 21)

  test('has no Retry-After if waiting does not help', async () => {
    const { status, headers, error } = await said(overspent(over, NOW))
    expect(status).toBe(429)
    expect(error).toEqual({
      type: 'billing_error',
      message:
        "this request may cost up to $6.22, which is more than the device's $5.00 a month; " +
        'lower max_tokens or send less',
    } as never)
    expect(headers.get('retry-after')).toBeNull()
    expect(headers.get('x-should-retry')).toBe('false')
  })

  test('with the day on which the month ends', async () => {
    const refusal = overspent(
      { ...over, reason: 'cap_reached', whose: 'organisation', amount: 75_000, spent: 4_999_999 },
      NOW,
    )
    const { headers, message } = await said(refusal)
    expect(message).toBe(
      "this request may cost up to $0.0750, and $0.000001 is left of the organisation's $5.00 a month until 2026-12-01",
    )
    expect(headers.get('retry-after')).toBe('864000')
  })

  test('with the reservations of others, which free again', async () => {
    const refusal = overspent(
      { ...over, reason: 'reserved', amount: 1_000_000, reserved: 4_500_000, retryAfterSeconds: 5 },
      NOW,
    )
    const { headers, message } = await said(refusal)
    expect(message).toBe(
      "this request may cost up to $1.00, and $0.50 of the device's $5.00 a month is free while requests under way hold $4.50",
    )
    expect([headers.get('retry-after'), headers.get('x-should-retry')]).toEqual(['5', 'true'])
  })
})
