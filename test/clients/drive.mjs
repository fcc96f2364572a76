// Each client in turn against one gate: `node drive.mjs URL USER_TOKEN DEVICE_TOKEN`, from a folder in
// which the packages are installed. Not part of the suite, because the packages are large.

import { createAnthropic } from '@ai-sdk/anthropic'
import { createOpenAI } from '@ai-sdk/openai'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { ChatAnthropic } from '@langchain/anthropic'
import { ChatOpenAI } from '@langchain/openai'
import { generateText, stepCountIs, streamText, tool } from 'ai'
import assert from 'node:assert/strict'
import { z } from 'zod'

const [gate, user, device] = process.argv.slice(2)
const baseURL = `${gate}/v1`
const MODEL = 'gpt-4o-mini'
const CLAUDE = 'claude-haiku-4-5'
const prompt = 'Say hello.'
let failures = 0

async function shows(fact, run) {
  try {
    await run()
    console.log(`ok  ${fact}`)
  } catch (error) {
    failures += 1
    console.log(`no  ${fact}: ${error}`)
  }
}

const openai = createOpenAI({ baseURL, apiKey: user })
const compatible = createOpenAICompatible({
  name: 'postern',
  baseURL,
  apiKey: user,
  includeUsage: true,
})
const models = {
  'openai-compatible': compatible(MODEL),
  'openai, chat': openai.chat(MODEL),
  'openai, responses': openai(MODEL),
  anthropic: createAnthropic({ baseURL, apiKey: device })(CLAUDE),
}
for (const [name, model] of Object.entries(models)) {
  const asked = { model, prompt, maxOutputTokens: 100, maxRetries: 0 }
  await shows(`Vercel AI SDK (${name}): a text with its usage`, async () => {
    const { text, usage } = await generateText(asked)
    assert.match(text, /Say hello/)
    assert(usage.inputTokens > 0 && usage.outputTokens > 0)
  })
  await shows(`Vercel AI SDK (${name}): a stream with its usage`, async () => {
    const { textStream, usage } = streamText(asked)
    const parts = await Array.fromAsync(textStream)
    assert.match(parts.join(''), /Say hello/)
    assert(parts.length > 3)
    assert((await usage).outputTokens > 0)
  })
}
await shows('Vercel AI SDK: a tool is called and its result sent back', async () => {
  const weather = tool({
    description: 'weather of a city',
    inputSchema: z.object({ city: z.string() }),
    execute: () => 'sunny in Bern',
  })
  const { text } = await generateText({
    model: compatible(MODEL),
    prompt,
    tools: { weather },
    stopWhen: stepCountIs(3),
    maxRetries: 0,
  })
  assert.match(text, /sunny in Bern/)
})
await shows('Vercel AI SDK: an aborted stream ends', async () => {
  const { signal, abort } = abortable()
  const { textStream } = streamText({ model: compatible(MODEL), prompt, abortSignal: signal })
  for await (const _ of textStream) abort()
  assert(signal.aborted)
})
await shows('Vercel AI SDK: a wrong token is 401', async () => {
  const wrong = createOpenAI({ baseURL, apiKey: 'pk_wrong' }).chat(MODEL)
  await assert.rejects(generateText({ model: wrong, prompt, maxRetries: 0 }), { statusCode: 401 })
})

const chat = { model: MODEL, apiKey: user, configuration: { baseURL }, maxRetries: 0 }
const chains = {
  'openai, chat': new ChatOpenAI(chat),
  'openai, responses': new ChatOpenAI({ ...chat, useResponsesApi: true }),
  anthropic: new ChatAnthropic({ model: CLAUDE, apiKey: device, anthropicApiUrl: gate }),
}
for (const [name, chain] of Object.entries(chains)) {
  await shows(`LangChain (${name}): a text with its usage`, async () => {
    const { text, usage_metadata: usage } = await chain.invoke(prompt)
    assert.match(text, /Say hello/)
    assert(usage.output_tokens > 0)
  })
  await shows(`LangChain (${name}): a stream with its usage`, async () => {
    let whole
    for await (const chunk of await chain.stream(prompt)) whole = whole?.concat(chunk) ?? chunk
    assert.match(whole.text, /Say hello/)
    assert(whole.usage_metadata.output_tokens > 0)
  })
}
process.exitCode = failures === 0 ? 0 : 1

function abortable() {
  const controller = new AbortController()
  return { signal: controller.signal, abort: () => controller.abort() }
}
