// The most that one response of a session can cost: no event reveals how long the conversation is.

import type { Costly } from '../upstream/costly.ts'

/** `transcribes`: the model that writes down what is heard. */
export const costOfOne = (model: string, transcribes?: string): Costly => ({
  model,
  maxTokens: undefined,
  isBoundByModel: true,
  free: false,
  textBytes: 0,
  images: 0,
  media: ['audio', 'image'],
  refers: true,
  cacheWrite: 'none',
  priceClasses: [],
  serverTools: {},
  runsCode: false,
  compacts: false,
  fallbacks: [],
  advisors: [],
  models: transcribes === undefined ? [] : [transcribes],
  unknown: [],
})
