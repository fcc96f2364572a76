// The most that a request can cost: its own model, those that stand in for it or advise it, and the
// tools that the API runs. What is reserved is never more than the models can read and write.
//
// Not bounded by it, because no body says it: how often the API's own loop reads a prompt again for a
// server tool, advice beyond the assumed calls, and the few characters that a tokenizer's
// normalization makes longer. A token of text stands for at least a byte, and JSON never writes it in
// fewer.

import type { Advisor, Costly, Fallback } from '../upstream/costly.ts'
import { type Price, type Prices, type RequestFacts, worstCase } from './prices.ts'

/** An image is cut into patches of 28 pixels; the API scales it down to 4,784 of them at the most. */
export const MAX_IMAGE_TOKENS = 4800
/** Of a model whose table says nothing: the largest there is. */
const LARGEST_WINDOW = 1_000_000
/** A container is billed while it runs, five minutes at the least; a request ends before that. */
const CODE_EXECUTION_MS = 3_600_000

/** Of an advisor that has no limit of its own; advice is 700 tokens, 1,800 with what it thought. */
const ASSUMED_CALLS = 3
const ASSUMED_ADVICE_TOKENS = 16_384

export type MostCost =
  | { readonly ok: true; readonly microUsd: number }
  /** `what` is undefined where the model itself has no price. */
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
  const promptFor = (price: Price): number => promptTokensOf(costly, price)
  const times = costly.compacts ? 2 : 1
  const own = (price: Price): RequestFacts => ({
    promptTokens: promptFor(price),
    maxTokens,
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

function promptTokensOf({ textBytes, images, refers }: Costly, price: Price): number {
  if (refers) return price.contextTokens ?? LARGEST_WINDOW
  return textBytes + images * MAX_IMAGE_TOKENS
}

const isSpeed = (priceClass: string): boolean => priceClass.startsWith('speed:')
const withoutSpeed = (priceClasses: readonly string[]): string[] =>
  priceClasses.filter((each) => !isSpeed(each))

/** A fallback is fast where the request is and its model can be. */
const speedFor = ({ multipliers }: Price, priceClasses: readonly string[]): string[] =>
  priceClasses.filter((each) => isSpeed(each) && multipliers.has(each))
