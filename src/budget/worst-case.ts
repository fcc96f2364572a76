// The most that a request can cost: its own model, models that replace or advise it, and tools that
// the API runs. Never more is reserved than the models can read and write.
//
// Some costs it cannot bound, because no body reveals them: how often the API's own loop rereads a
// prompt for a server tool, advice beyond the assumed calls, and the few characters that a tokenizer's
// normalization makes longer. A token of text stands for at least one byte, and JSON never writes it
// in fewer.

import type { Advisor, Costly, Fallback } from '../upstream/costly.ts'
import { type Price, type Prices, type RequestFacts, worstCase } from './prices.ts'

/** An image is split into patches of 28 pixels; the API scales it down to at most 4,784 of them. */
export const MAX_IMAGE_TOKENS = 4800
/** For a model whose table gives no window: the largest there is. */
const LARGEST_WINDOW = 1_000_000
/** A container is billed while it runs, five minutes at least; a request ends before this time. */
const CODE_EXECUTION_MS = 3_600_000

/** For an advisor without limits; advice takes 700 tokens, 1,800 with its thinking. */
const ASSUMED_CALLS = 3
const ASSUMED_ADVICE_TOKENS = 16_384

export type MostCost =
  | { readonly ok: true; readonly microUsd: number }
  /** `what` is undefined if the model itself has no price. */
  | { readonly ok: false; readonly model: string; readonly what: string | undefined }

export function mostOf(costly: Costly, maxTokens: number, prices: Prices): MostCost {
  let total = 0
  for (const { model, factsFor } of runsOf(costly, maxTokens)) {
    const price = prices.priceOf(model)
    if (!price) return { ok: false, model, what: undefined }
    const { facts, times } = factsFor(price)
    const worst = worstCase(price, facts)
    if (!worst.ok) return { ok: false, model, what: worst.unpriced }
    total = Math.min(Number.MAX_SAFE_INTEGER, total + worst.microUsd * times)
  }
  return { ok: true, microUsd: total }
}

interface ModelRun {
  readonly model: string
  factsFor(price: Price): { readonly facts: RequestFacts; readonly times: number }
}

function runsOf(costly: Costly, maxTokens: number): ModelRun[] {
  const { cacheWrite, priceClasses, fallbacks, advisors, models } = costly
  const { answers = 1, media = [], prompts = 1 } = costly
  const promptFor = (price: Price): number => promptTokensOf(costly, price)
  const times = costly.compacts ? 2 : 1
  const own = (price: Price): RequestFacts => ({
    promptTokens: promptFor(price),
    prompts,
    maxTokens,
    answers,
    media,
    cacheWrite,
    priceClasses,
  })
  const main = (price: Price): RequestFacts => ({
    ...own(price),
    serverTools: costly.serverTools,
    ...(costly.runsCode && { codeExecutionMs: CODE_EXECUTION_MS }),
  })
  const fallback = (price: Price, { maxTokens: most, priceClasses: classes }: Fallback) => ({
    ...own(price),
    maxTokens: most ?? maxTokens,
    priceClasses: [...withoutSpeed(priceClasses), ...(classes ?? speedFor(price, priceClasses))],
  })
  const advisor = (price: Price, given: Advisor): RequestFacts => ({
    promptTokens: promptFor(price) + maxTokens,
    maxTokens: given.maxTokens ?? ASSUMED_ADVICE_TOKENS,
    cacheWrite: given.cacheWrite,
    priceClasses: withoutSpeed(priceClasses),
  })
  return [
    { model: costly.model, factsFor: (price) => ({ facts: main(price), times }) },
    ...fallbacks.map((each) => ({
      model: each.model,
      factsFor: (price: Price) => ({ facts: fallback(price, each), times }),
    })),
    ...advisors.map((each) => ({
      model: each.model,
      factsFor: (price: Price) => ({
        facts: advisor(price, each),
        times: each.maxUses ?? ASSUMED_CALLS,
      }),
    })),
    ...models.map((model) => ({
      model,
      factsFor: (price: Price) => ({ facts: own(price), times }),
    })),
  ]
}

function promptTokensOf(costly: Costly, price: Price): number {
  const { textBytes, images, imageTokens = MAX_IMAGE_TOKENS, refers } = costly
  if (refers) return price.contextTokens ?? LARGEST_WINDOW
  return textBytes + images * imageTokens
}

const isSpeed = (priceClass: string): boolean => priceClass.startsWith('speed:')
const withoutSpeed = (priceClasses: readonly string[]): string[] =>
  priceClasses.filter((each) => !isSpeed(each))

/** A fallback is fast if the request is fast and its model can be. */
const speedFor = ({ multipliers }: Price, priceClasses: readonly string[]): string[] =>
  priceClasses.filter((each) => isSpeed(each) && multipliers.has(each))
