// What a request in Anthropic's dialect is taken to cost, at Anthropic's and at another server.

import { expect, test } from 'bun:test'
import { anthropicApi } from '../../src/upstream/anthropic/api.ts'

test('attack: no tokens at all only fill a cache at Anthropic, and may be no bound elsewhere', () => {
  const bound = (url: string, maxTokens: number): unknown => {
    const { costOf } = anthropicApi({ baseUrl: new URL(url), maxBodyBytes: 1000 })
    const body = { model: 'm', max_tokens: maxTokens, messages: [] }
    const found = costOf('/v1/messages', Buffer.from(JSON.stringify(body)))
    return found.ok && [found.value.maxTokens, found.value.isBoundByModel === true]
  }
  expect(bound('https://api.anthropic.com', 0)).toEqual([0, false])
  for (const url of ['http://127.0.0.1:11434', 'https://anthropic.com.example.com']) {
    expect([bound(url, 0), bound(url, 7)]).toEqual([
      [undefined, true],
      [7, false],
    ])
  }
})
