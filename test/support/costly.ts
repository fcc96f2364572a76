// What a request may cost, for tests of limits: a plain one, in everything that a test does not say.

import type { Costly } from '../../src/upstream/costly.ts'

export const costly = (over: Partial<Costly> = {}): Costly => ({
  model: 'm',
  maxTokens: undefined,
  free: false,
  textBytes: 0,
  images: 0,
  refers: false,
  cacheWrite: 'none',
  priceClasses: [],
  serverTools: {},
  runsCode: false,
  compacts: false,
  fallbacks: [],
  advisors: [],
  models: [],
  unknown: [],
  ...over,
})
